"""Groups of tensors of a run, which may grow by other laws than the whole.

Groups are the first tensor, which the published code of Hoffer et al. (2017) records, then tensors
whose length a normalization makes irrelevant, where recordings know them, and all others.
"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

FIRST, INVARIANT, OTHERS = "first tensor", "scale-invariant tensors", "other tensors"


def grouped(run: xr.Dataset) -> xr.Dataset:
    """The recording with groups in place of tensors; of the variables, what a fit needs.

    d_group² = Σ_{tensor in group} ‖w_t − w_0‖²

    Arguments:
        run: a recording.

    Returns:
        The recording along `tensor`, whose names are those of the groups that have a tensor.
    """
    places = group_places(run)
    squares = run["distance_sq"].transpose("iteration", "tensor").values
    summed = np.stack([squares[:, found].sum(axis=1) for found in places.values()], axis=1)
    rates = [name for name in ("learning_rate", "learning_rate_sum") if name in run]
    kept = run[rates].drop_dims("tensor", errors="ignore")
    return kept.assign(distance_sq=(("iteration", "tensor"), summed), tensor=list(places))


def group_places(run: xr.Dataset) -> dict[str, NDArray[np.int64]]:
    """Places along `tensor` of each group's tensors, for the groups that have a tensor."""
    later = np.arange(1, run.sizes["tensor"])
    known = "scale_invariant" in run
    irrelevant = run["scale_invariant"].values[1:] == 1 if known else np.zeros(later.size, bool)
    found = {FIRST: np.array([0]), INVARIANT: later[irrelevant], OTHERS: later[~irrelevant]}
    return {group: places for group, places in found.items() if places.size}
