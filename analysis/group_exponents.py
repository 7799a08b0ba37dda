"""Exponents of groups of tensors: the whole distance may hide tensors that grow by another law."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .curves import Arm, arms
from .fits import fit_tensors
from .grounds import SEEDS
from .groups import grouped
from .replication import across_runs
from .text import interval, rounded
from .usable_fits import DISQUALIFYING


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


def _phrase(arm: Arm, exponents: xr.DataArray, *, level: float) -> str:
    groups: Sequence[str] = exponents["tensor"].values.tolist()
    parts = [_part(group, exponents.sel(tensor=group).values, level=level) for group in groups]
    return f"p by tensors at {arm}: {', '.join(parts)}"


def _part(group: str, exponents: NDArray[np.float64], *, level: float) -> str:
    found = across_runs(exponents, level=level)
    if found.runs < SEEDS:
        return f"{group} not estimated"
    return f"{group} {rounded(found.mean)} {interval(found.low, found.high, show=rounded)}"
