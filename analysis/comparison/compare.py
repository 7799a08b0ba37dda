"""Laws of growth compared on recordings, arm by arm: which survive, and how far each is off.

Seeds are the sample, and every arm answers for itself. A law survives where the confidence set
holds it, and how far it is off is told of the forecasts from the latest origins, with its shapes
fitted to what came before.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.growth import LEAST_SEEDS, thinned
from ultraslow.analysis.intervals import Interval, t_interval
from ultraslow.analysis.runs import constant_rate, total_distance
from ultraslow.analysis.runs.arms import called
from ultraslow.analysis.text import percent, plural, signed_percent

from .confidence_set import confidence_set
from .forecast import (
    DECADE,
    HALF_DECADE,
    LEAST_DECADES,
    LEAST_FITTED,
    forecasts,
    latest,
    rolling_origin,
)
from .laws import CANDIDATES

Array = NDArray[np.float64]

LOGARITHM, LATE_LOGARITHM = "log", "log with onset"
_WHOLE = 0.9  # of the iterations that others reach: a run that diverges before is left out
_GAP = 0.1  # decades, half of what the distance at a target is averaged over
# Ballistic motion takes a distance as many times farther as there are more iterations.
_DIVERGING = 10.0
_UNKNOWN = Interval(math.nan, -math.inf, math.inf)


@dataclass(frozen=True)
class LawFound:
    """One law on the runs of one arm.

    Attributes:
        law: its name.
        survives: whether it is in the confidence set; None where nothing tells.
        p_value: the smallest error at which it leaves the set; NaN where nothing tells.
        decade: forecast over actual distance less 1 a decade ahead, mean over seeds.
        half_decade: the same half a decade ahead.
    """

    law: str
    survives: bool | None
    p_value: float
    decade: Interval
    half_decade: Interval


@dataclass(frozen=True)
class ArmLaws:
    """The laws on the runs of one arm.

    Attributes:
        arm: its name, in words.
        batch_size: M, samples.
        runs: names of the runs that entered.
        first: first iteration that all of them recorded at a constant rate.
        last: last one.
        laws: those that survive first, of these the one that is least off.
        tolerance: share of the distance by which forecasts may be off; 0 where laws survive
            without.
        reason: what is missing; empty where nothing is.
        left_out: runs with gaps or that diverge, which three others or more speak without.
    """

    arm: str
    batch_size: int
    runs: tuple[str, ...]
    first: int
    last: int
    laws: tuple[LawFound, ...]
    tolerance: float
    reason: str
    left_out: tuple[str, ...] = ()

    @property
    def surviving(self) -> tuple[str, ...]:
        """Laws that survive."""
        return tuple(found.law for found in self.laws if found.survives)


def arm_compared(name: str, runs: Mapping[str, xr.Dataset], *, level: float) -> ArmLaws:
    """The laws on runs that differ by seed only.

    Arguments:
        name: of the arm.
        runs: recordings by node name.
        level: confidence level.

    Returns:
        What was found; without laws where the runs are too short.
    """
    curves = {node: curve for node, run in runs.items() if (curve := _known(run)).size}
    every, curves = curves, _whole(runs, curves)
    gone = every.keys() - curves.keys()
    times, values = _shared(curves)
    ends = (int(times[0]), int(times[-1])) if times.size else (0, 0)
    size = int(next(iter(runs.values()))["batch_size"].values)
    left_out = tuple(sorted(called(runs[node]) for node in gone))
    blank = ArmLaws(name, size, tuple(curves), *ends, (), 0.0, "", left_out)
    asked = forecasts(times)
    if not asked:
        return replace(blank, reason=_too_short(times))
    last = latest(asked)
    off = rolling_origin(times, values, asked=tuple(last.values()))
    ahead = {law: dict(zip(last, missed.T, strict=True)) for law, missed in off.items()}
    laws = [_found(law, missed, level=level) for law, missed in ahead.items()]
    if len(curves) < LEAST_SEEDS:
        few = f"{plural(len(curves), 'seed')}: laws are told apart by {LEAST_SEEDS} or more"
        return replace(blank, laws=_ordered(laws), reason=few)
    chosen = confidence_set(times, values, level=level)
    kept = set(chosen.surviving)
    laws = [
        replace(own, survives=own.law in kept, p_value=chosen.p_values[own.law]) for own in laws
    ]
    return replace(blank, laws=_ordered(laws), tolerance=chosen.tolerance)


def _too_short(times: Array) -> str:
    span = math.log10(times[-1] / times[0]) if times.size else 0.0
    return (
        f"{plural(times.size, 'record')} over {span:.1f} decades of iterations at a constant "
        f"rate: forecasts need {LEAST_DECADES:g} decades and {LEAST_FITTED} records before them"
    )


def _found(law: str, off: Mapping[float, Array], *, level: float) -> LawFound:
    ahead = {
        span: t_interval(off[span], level=level) if span in off else _UNKNOWN
        for span in (DECADE, HALF_DECADE)
    }
    return LawFound(law, None, math.nan, ahead[DECADE], ahead[HALF_DECADE])


def _ordered(laws: Sequence[LawFound]) -> tuple[LawFound, ...]:
    """Those that survive first, of these the one that is least off."""

    def place(found: LawFound) -> tuple[bool, float]:
        shown = found.half_decade if math.isnan(found.decade.value) else found.decade
        return not found.survives, abs(shown.value)

    return tuple(sorted(laws, key=place))


def _known(run: xr.Dataset) -> xr.DataArray:
    """Finite distances over the phase of constant rate, until the run diverges."""
    stretch = constant_rate(run).iteration
    curve = total_distance(run).sel(iteration=stretch)
    curve = curve[np.isfinite(curve.values)]
    good = curve.values > 0
    clock = curve["iteration"].values
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        speed = curve.values[1:] / curve.values[:-1] / (clock[1:] / clock[:-1])
    good[1:] &= ~(speed > _DIVERGING)
    ended = int(np.argmin(good)) if not good.all() else good.size
    return curve[:ended]


def _whole(
    runs: Mapping[str, xr.Dataset], curves: Mapping[str, xr.DataArray]
) -> dict[str, xr.DataArray]:
    """The curves without gaps that do not diverge before others, where these are enough."""
    ends = {node: float(curve["iteration"][-1]) for node, curve in curves.items()}
    last = sorted(ends.values(), reverse=True)[:LEAST_SEEDS][-1] if ends else 0.0
    kept = {
        node: curve
        for node, curve in curves.items()
        if ends[node] >= _WHOLE * last and not _has_gap(runs[node], curve)
    }
    return kept if len(kept) >= LEAST_SEEDS else dict(curves)


def _has_gap(run: xr.Dataset, curve: xr.DataArray) -> bool:
    """Whether distances are lost over a stretch as long as those that forecasts are held to."""
    at, known = run.variables["iteration"].values, curve["iteration"].values
    inside = np.isin(at[np.searchsorted(at, known[0]) : np.searchsorted(at, known[-1]) + 1], known)
    lost = np.diff(np.flatnonzero(inside)) > 1
    return bool((np.diff(np.log10(known))[lost] > _GAP).any())


def _shared(curves: Mapping[str, xr.DataArray]) -> tuple[Array, Array]:
    """Iterations `(time,)` within all curves, those of the sparsest one, and d `(run, time)`.

    Curves recorded at others are interpolated in ln t.
    """
    if not curves:
        return np.empty(0), np.empty((0, 0))
    clocks = [curve["iteration"].values.astype(float) for curve in curves.values()]
    first, last = max(clock[0] for clock in clocks), min(clock[-1] for clock in clocks)
    inside = [clock[(clock >= first) & (clock <= last)] for clock in clocks]
    times = min(inside, key=len)
    times = times[thinned(times)] if times.size else times
    rows = [
        np.interp(np.log(times), np.log(clock), curve.values)
        for clock, curve in zip(clocks, curves.values(), strict=True)
    ]
    return times, np.array(rows)


def as_dataset(found: Sequence[ArmLaws], *, level: float) -> xr.Dataset:
    """What was found as a Dataset, as `compare_laws` gives it."""
    by_law = [{own.law: own for own in arm.laws} for arm in found]
    variables: dict[str, tuple[tuple[str, ...], Any, dict[str, str]]] = {}
    for name, (meaning, read) in _COLUMNS.items():
        blank = read(LawFound("", None, math.nan, _UNKNOWN, _UNKNOWN))
        rows = [
            [read(own[law.name]) if law.name in own else blank for law in CANDIDATES]
            for own in by_law
        ]
        shape = (len(found), len(CANDIDATES))
        variables[name] = ("arm", "law"), np.reshape(rows, shape), {"long_name": meaning}
    for name, meaning in _OF_ARMS.items():
        values = [len(arm.runs) if name == "seeds" else getattr(arm, name) for arm in found]
        variables[name] = ("arm",), np.asarray(values), {"long_name": meaning}
    coords = {"arm": [arm.arm for arm in found], "law": [law.name for law in CANDIDATES]}
    return xr.Dataset(variables, coords, {"level": level})


_COLUMNS: Mapping[str, tuple[str, Callable[[LawFound], float | bool]]] = {
    "survives": (
        "whether the law is in the confidence set; nothing is excluded where nothing tells",
        lambda own: own.survives is not False,
    ),
    "p_value": ("smallest error at which it leaves the set", lambda own: own.p_value),
    "decade": (
        "forecast over actual distance less 1 a decade ahead, mean over seeds",
        lambda own: own.decade.value,
    ),
    "decade_low": ("lower end of its interval", lambda own: own.decade.low),
    "decade_high": ("upper end of its interval", lambda own: own.decade.high),
    "half_decade": (
        "forecast over actual distance less 1 half a decade ahead, mean over seeds",
        lambda own: own.half_decade.value,
    ),
    "half_decade_low": ("lower end of its interval", lambda own: own.half_decade.low),
    "half_decade_high": ("upper end of its interval", lambda own: own.half_decade.high),
}
_OF_ARMS = {
    "batch_size": "samples in an update",
    "seeds": "runs that entered",
    "first": "first iteration that they recorded at a constant rate",
    "last": "last iteration that they recorded at a constant rate",
    "tolerance": "share of the distance within which the surviving laws hold; 0: no need of it",
    "reason": "what is missing",
}


def off_ends(off: Interval) -> str:
    """The interval of how far a forecast is off, in percent; empty where nothing bounds it.

    >>> off_ends(Interval(-0.6, -0.62, -0.58)), off_ends(Interval(-0.6, -math.inf, math.inf))
    ('[−62%, −58%]', '')
    """
    return off.ends(signed_percent) if math.isfinite(off.high - off.low) else ""


def in_words(found: ArmLaws) -> str:
    """Whether a logarithm survives in an arm, which other laws do, and how far it is off.

    >>> off = Interval(-0.06, -0.1, -0.02)
    >>> laws = (("log with onset", True), ("power", True), ("log", False), ("N5 separable", False))
    >>> found = tuple(LawFound(law, kept, 0.1, off, off) for law, kept in laws)
    >>> told = in_words(ArmLaws("batch size 64", 64, ("a", "b", "c"), 1, 1500, found, 0.0, ""))
    >>> told.split("; ")[1]
    '1 of 2 other laws survives: power'
    """
    if not found.laws:
        return found.reason
    logarithms = _logarithms(found)
    if found.laws[0].survives is None:
        return f"{found.reason}; {logarithms}"
    names = found.surviving
    if not names:
        most = percent(found.tolerance)
        return f"no law survives, even to within {most} of the distance; {logarithms}"
    lead = ""
    if found.tolerance:
        lead = (
            f"no law forecasts as well as seeds differ, and to within {percent(found.tolerance)} "
        )
    others = [law for law in names if law not in (LOGARITHM, LATE_LOGARITHM)]
    rest = f"{len(others)} of {len(found.laws) - 2} other laws survive"
    rest += f"{'s' if len(others) == 1 else ''}: {', '.join(others)}"
    return f"{lead}{logarithms}; {rest if others else 'no other law survives'}"


def _logarithms(found: ArmLaws) -> str:
    """Which logarithm survives, and by how much both are off."""
    span = "half a decade" if math.isnan(found.laws[0].decade.value) else "a decade"
    off = {
        own.law: own.half_decade if math.isnan(own.decade.value) else own.decade
        for own in found.laws
    }
    told = {
        law: f"{signed_percent(one.value)} {off_ends(one)}".strip() for law, one in off.items()
    }
    plain, late = told[LOGARITHM], told[LATE_LOGARITHM]
    if found.laws[0].survives is None:
        return f"{span} ahead log is off by {plain}, with an onset by {late}"
    if LOGARITHM in found.surviving:
        return f"log survives, {span} ahead off by {plain}"
    if LATE_LOGARITHM in found.surviving:
        return (
            f"log survives with an onset, {span} ahead off by {late}, and without one does not, "
            f"off by {plain}"
        )
    return f"no logarithm survives: {span} ahead log is off by {plain}, with an onset by {late}"
