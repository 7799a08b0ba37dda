"""Distances with the laws fitted to them as the report draws them, on iterations and on Ση."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.growth import growth_curve
from ultraslow.analysis.runs import SUMMED_RATE, followed, total_distance
from ultraslow.analysis.study import Study

from .data import Band, Curve, curve_of

Array = NDArray[np.float64]

BEHIND = 3  # of each other batch size; more cannot be read
MOST_COVERED = 0.5  # of a panel; dots under more grey than that are not read


@dataclass(frozen=True)
class Panel:
    """Distances of one batch size of a set of equal runs, with the laws fitted to them.

    Attributes:
        batch_size: M.
        part: name of the set, where there are several; else empty.
        curves: of its runs.
        behind: some of the other runs, to set them against.
        laws: fitted to its runs; those that would cover the panel without their bands.
        wide: the number of laws without.
    """

    batch_size: int
    part: str
    curves: Sequence[Curve]
    behind: Sequence[Curve]
    laws: Sequence[Band]
    wide: int = 0


def distances(runs: dict[str, xr.Dataset]) -> list[Curve]:
    """Total distance of each run."""
    return [curve_of(run, total_distance(run)) for run in runs.values()]


def distance_panels(study: Study) -> list[Panel]:
    """Distances against iterations, and the laws fitted over the constant learning rate."""
    parts = _parts(study)
    curves = {
        node: replace(curve_of(run, total_distance(run)), part=parts[node])
        for node, run in study.runs.items()
    }
    return _panels(curves, laws(study.fits))


def rate_panels(study: Study) -> list[Panel]:
    """Distances against Ση and the laws fitted to them, of the runs whose rate changes."""
    parts, fits = _parts(study), study.rate_fits
    curves: dict[str, Curve] = {}
    on_rate: dict[str, Band] = {}
    for node in [] if fits is None else fits["node"].values.tolist():
        if fits is None or not np.isfinite(float(fits["exponent"].sel(node=node))):
            continue
        distance = followed(study.runs[node], SUMMED_RATE)[0]
        readings = distance[SUMMED_RATE].values
        known = np.isfinite(distance.values) & np.isfinite(readings) & (readings > 0)
        size = int(study.runs[node]["batch_size"].values)
        curves[node] = Curve(size, readings[known], distance.values[known], parts[node])
        first, last = readings[known][[0, -1]].tolist()
        on_rate[node] = _law(fits.sel(node=node), np.geomspace(first, last, 60), on_clock=True)
    return _panels(curves, on_rate)


def _parts(study: Study) -> dict[str, str]:
    """The set of equal runs of each run, where there are several sets; else empty."""
    if len(study.sets) < 2:
        return dict.fromkeys(study.runs, "")
    named = {node: name for name, part in study.sets.items() for node in part.runs}
    return {node: named.get(node, "other rungs") for node in study.runs}


def _panels(curves: Mapping[str, Curve], laws: Mapping[str, Band]) -> list[Panel]:
    """Curves and laws by run as one panel a batch size and set, in their order."""
    own: dict[tuple[int, str], list[str]] = {}
    for node, curve in curves.items():
        own.setdefault((curve.batch_size, curve.part), []).append(node)
    top = distance_top(list(curves.values()), list(laws.values()))
    found = []
    for (size, part), nodes in sorted(own.items(), key=lambda item: item[0][0]):
        fitted = [laws[node] for node in nodes if node in laws]
        shown = uncovered(fitted, top)
        wide = sum(one is not law for one, law in zip(shown, fitted, strict=True))
        front, behind = parted(list(curves.values()), size, part)
        found.append(Panel(size, part, front, behind, shown, wide))
    return found


def uncovered(laws: Sequence[Band], top: float) -> list[Band]:
    """Laws without the bands that would cover more than half of a panel, the widest first.

    Arguments:
        laws: drawn over each other, over a logarithmic axis of the time.
        top: of the panel; its foot is 0.

    Returns:
        The laws; bands that are left out are NaN.
    """
    found = list(laws)
    areas = [float(np.mean(_height(law, top))) for law in laws]
    for place in np.argsort(areas)[::-1]:
        if _covered([law for law in found if np.isfinite(law.low).any()], top) <= MOST_COVERED:
            break
        nothing = np.full_like(found[place].low, math.nan)
        found[place] = replace(found[place], low=nothing, high=nothing)
    return found


def _height(law: Band, top: float) -> Array:
    """What a band takes of a panel's height at each time."""
    return (np.clip(law.high, 0, top) - np.clip(law.low, 0, top)) / top


def _covered(laws: Sequence[Band], top: float) -> float:
    """The share of a panel under bands, where all of them lie."""
    if not laws:
        return 0.0
    first = min(float(law.iteration[0]) for law in laws)
    last = max(float(law.iteration[-1]) for law in laws)
    times, heights = np.geomspace(first, last, 80), np.linspace(0, top, 80)[:, None]
    under = np.zeros((80, 80), dtype=bool)
    for law in laws:
        ends = [
            np.interp(np.log(times), np.log(law.iteration), end, left=math.nan, right=math.nan)
            for end in (law.low, law.high)
        ]
        under |= (heights >= ends[0]) & (heights <= ends[1])
    return float(under.mean())


def parted(
    curves: Sequence[Curve], batch_size: int, part: str = ""
) -> tuple[list[Curve], list[Curve]]:
    """Curves of one batch size of a set, and up to `BEHIND` of each other size behind them."""
    own: list[Curve] = []
    behind: dict[int, list[Curve]] = {}
    for curve in curves:
        if (curve.batch_size, curve.part) == (batch_size, part):
            own.append(curve)
        else:
            behind.setdefault(curve.batch_size, []).append(curve)
    return own, [curve for members in behind.values() for curve in members[:BEHIND]]


def distance_top(curves: Sequence[Curve], laws: Sequence[Band]) -> float:
    """Upper limit of all distance panels, so that they can be compared by eye.

    Bands may reach far beyond the data; they are cut where they would press the curves flat.
    """
    measured = _highest([curve.value for curve in curves])
    fitted = _highest([law.high for law in laws])
    return 1.03 * max(measured, min(fitted, 1.3 * measured)) or 1.0


def _highest(arrays: Sequence[Array]) -> float:
    """The highest finite value, 0 where there is none."""
    return max(
        (float(array[np.isfinite(array)].max(initial=0.0)) for array in arrays), default=0.0
    )


def laws(fits: xr.Dataset) -> dict[str, Band]:
    """The fitted law of each run that has one, over the iterations it was fitted to."""
    found = {}
    for node in fits["node"].values.tolist():
        fit = fits.sel(node=node)
        if np.isfinite(float(fit["exponent"])):
            found[node] = _law(fit, np.geomspace(float(fit["first"]), float(fit["last"]), 60))
    return found


def _law(fit: xr.Dataset, times: Array, *, on_clock: bool = False) -> Band:
    """A law at some iterations, or at readings of the clock that it is on."""
    clock = times if on_clock else None
    curve = growth_curve(fit, times, level=fit.attrs["level"], clock=clock)
    return Band(times, *(curve[name].values for name in ("distance", "low", "high")))
