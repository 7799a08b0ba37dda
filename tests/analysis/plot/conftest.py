"""Studies of simulated recordings, and axes to draw on."""

import pytest
import xarray as xr
from matplotlib.figure import Figure

from ultraslow.analysis.study import Study


@pytest.fixture(scope="session")
def study(make):
    """Two batch sizes of three seeds under √M, and one arm at the fixed rate."""
    records = [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 1000]
    runs = {}
    for scaling, size, rate in (("sqrt", 64, 0.01), ("sqrt", 256, 0.02), ("fixed", 256, 0.01)):
        for seed in range(3):
            name = f"{scaling}-b{size}-s{seed}"
            runs[name] = make(
                run=name,
                batch_size=size,
                seed=seed,
                scaling=scaling,
                rate=rate,
                last=1000,
                records=records,
                slope=1.0 + size / 256,
                exponent=0.3,
            )
    return Study(runs)


@pytest.fixture(scope="session")
def tree(study):
    """The recordings of that study as `load` would give them."""
    return xr.DataTree.from_dict(dict(study.runs))


@pytest.fixture
def axes():
    """A pair of axes of a figure of 540 × 330 pixels."""
    return Figure(figsize=(540 / 96, 330 / 96), dpi=96).add_axes((0.1, 0.15, 0.7, 0.7))
