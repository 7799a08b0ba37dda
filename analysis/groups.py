"""Exponents of groups of tensors: the whole distance may hide tensors that grow by another law.

Groups are the first tensor, which the published code of Hoffer et al. (2017) records, then tensors
whose length a normalization makes irrelevant, where recordings know them, and all others.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .curves import Arm, arms
from .fits import fit_tensors
from .grounds import SEEDS
from .replication import across_runs
from .text import interval, rounded
from .usable_fits import DISQUALIFYING

FIRST, INVARIANT, OTHERS = "first tensor", "scale-invariant tensors", "other tensors"


def group_exponents(runs: Mapping[str, xr.Dataset], *, level: float) -> tuple[str, ...]:
    """In words, the mean exponent of each group of tensors in each arm with enough seeds.

    Arguments:
        runs: recordings by node name.
        level: confidence level.

    Returns:
        One phrase an arm of `SEEDS` runs or more; none where runs have a single tensor.
    """
    members = {arm: names for arm, names in arms(dict(runs)).items() if len(names) >= SEEDS}
    chosen = {name: grouped(runs[name]) for names in members.values() for name in names}
    if max((run.sizes["tensor"] for run in chosen.values()), default=0) < 2:
        return ()
    fits = fit_tensors(chosen, level=level, intervals=False)
    known = fits["exponent"].where(~fits["status"].isin(DISQUALIFYING))
    return tuple(
        _phrase(arm, known.sel(node=names), level=level) for arm, names in members.items()
    )


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


def _phrase(arm: Arm, exponents: xr.DataArray, *, level: float) -> str:
    groups: Sequence[str] = exponents["tensor"].values.tolist()
    parts = [_part(group, exponents.sel(tensor=group).values, level=level) for group in groups]
    return f"p by tensors at {arm}: {', '.join(parts)}"


def _part(group: str, exponents: NDArray[np.float64], *, level: float) -> str:
    found = across_runs(exponents, level=level)
    if found.runs < SEEDS:
        return f"{group} not estimated"
    return f"{group} {rounded(found.mean)} {interval(found.low, found.high, show=rounded)}"
