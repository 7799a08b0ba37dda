"""What tests of several packages share."""

import numpy as np
import pytest
import xarray as xr

from diffusion import recording


def single_tensor(distance, times, *, batch_size=64, seed=0, rate=0.1, **more):
    """A recording of one tensor whose distance is given, at a constant rate under the √M rule."""
    times = np.asarray(times)
    values = {
        "iteration": times,
        "tensor": ["w"],
        "tensor_size": [100],
        "distance_sq": np.asarray(distance)[:, None] ** 2,
        "weight_sq": np.full((times.size, 1), 100.0),
        "overlap": np.full((times.size, 1), 100.0),
        "learning_rate": np.full(times.size, rate),
        "learning_rate_sum": rate * times,
        "run": f"b{batch_size}-s{seed}",
        "batch_size": batch_size,
        "seed": seed,
        "scaling": "sqrt",
        **more,
    }
    return xr.Dataset.from_dict(recording.pack(values))


@pytest.fixture(scope="session")
def single():
    """The function that makes a recording of one tensor."""
    return single_tensor
