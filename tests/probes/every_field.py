"""A recording with all declared fields, those of other dimensions than tensors among them."""

import numpy as np
import xarray as xr

from ultraslow.diffusion.recording.contract import pack
from ultraslow.diffusion.recording.fields import FIELDS

SIZES = {
    "tensor": 3,
    "component": 16,
    "metric": 2,
    "ensemble": 4,
    "direction": 5,
    "radius": 6,
    "fraction": 7,
}
_SIZE = 2  # of a dimension that is declared some day
NAMES = {
    "tensor": ["conv.weight", "linear.weight", "linear.bias"],
    "metric": ["loss", "accuracy"],
    "ensemble": ["isotropic", "filter", "noise", "trajectory"],
    "run": "everything",
}


# Iterations of some segments, and of all of them.
PARTS = [(0,), (1, 2, 5), (7, 9, 10), (12, 15)]
ALL = [iteration for part in PARTS for iteration in part]


def every_field(*iterations, due=5):
    """Records at the given iterations; evaluation and landscape at multiples of `due`."""
    sizes = {"iteration": len(iterations), **SIZES}
    values = {
        field.name: _values(field, [sizes.get(dim, _SIZE) for dim in field.dims], iterations)
        for field in FIELDS.values()
    }
    values["scale_invariant"] = np.array([1, 1, 0])
    off = np.array(iterations) % due != 0
    for name in ("held_out", "loss_difference", "center_loss", "difference_noise", "line_loss"):
        values[name][off] = np.nan
    return xr.Dataset.from_dict(pack(values, {"landscape_mode": "train"}))


def _values(field, shape, iterations):
    """A value of its own for each record, so that no two records can be exchanged unseen."""
    if field.name == "iteration":
        return np.array(iterations)
    if field.dtype == "str":
        return NAMES.get(field.name, field.name)
    counted = 1.0 + np.arange(np.prod(shape, dtype=int)).reshape(shape)
    if field.dims[:1] == ("iteration",):
        step = 1000.0 * np.array(iterations).reshape(-1, *[1] * (len(shape) - 1))
        counted = step + counted[:1]
    return counted.astype(int) if field.dtype == "i8" else counted / 7
