import numpy as np
import pytest
import xarray as xr

import analysis
from analysis.decay_sets import of_one_decay


def run(name, decay):
    found = xr.Dataset(coords={"run": name})
    return found if decay is None else found.assign_coords(weight_decay=decay)


@pytest.mark.parametrize(
    ("decays", "kept", "told"),
    [
        ([0.0, 0.0], [0, 1], ""),
        ([None, None], [0, 1], ""),
        (
            [5e-4, 0.0, 5e-4],
            [0, 2],
            "weight decay 0.0005; 1 recording of weight decay 0.0 is left",
        ),
        (
            [5e-4, 0.0],
            [1],
            "weight decay 0.0; 1 recording of weight decay 0.0005 is left out: r0.",
        ),
        ([10.0, 9.0], [1], "weight decay 9.0; 1 recording of weight decay 10.0"),
        ([None, 0.0], [1], "1 recording of weight decay unknown is left out: r0."),
        (
            [0.1, 0.2, 0.0, 0.0],
            [2, 3],
            "2 recordings of weight decay 0.1, 0.2 are left out: r0, r1.",
        ),
        ([1.0] * 4 + [0.0] * 5, [4, 5, 6, 7, 8], "are left out: r0, r1, r2, …."),
    ],
)
def test_the_decay_that_most_runs_have(decays, kept, told):
    runs = {f"n{i}": run(f"r{i}", decay) for i, decay in enumerate(decays)}
    found, left_out = of_one_decay(runs)
    assert list(found) == [f"n{i}" for i in kept]
    assert told in left_out
    assert bool(told) == bool(left_out)


def test_runs_with_decay_are_neither_copies_nor_in_the_verdicts(make, tree):
    runs = [
        make(run=f"b{size}-s{seed}", batch_size=size, seed=seed, weight_decay=0.0)
        for size in (64, 256)
        for seed in (0, 1)
    ]
    decayed = make(run="decayed", batch_size=64, seed=0, weight_decay=5e-4)
    alone, together = analysis.test(tree(*runs)), analysis.test(tree(*runs, decayed))
    assert "1 recording of weight decay 0.0005 is left out: decayed." in together.attrs["note"]
    assert "repeat" not in together.attrs["note"]
    np.testing.assert_array_equal(together["runs"], alone["runs"])
    np.testing.assert_array_equal(together["reason"], alone["reason"])
