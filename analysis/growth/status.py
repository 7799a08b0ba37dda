"""How series are fitted, of what, and the status of every fit, with the reason in words.

A series that cannot be fitted, or whose fit should not be leaned on, says so; it is neither an
exception nor a silent NaN. The status is the gravest thing found, the reason names all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import check_level
from ultraslow.analysis.text import percent, plural

Array = NDArray[np.float64]

# From the gravest to the lightest.
STATUSES = (
    "nonfinite",
    "too_few_points",
    "weak_signal",
    "rate_changed",
    "two_phases",
    "saturated",
    "p_unbounded",
    "onset_edge",
    "noise_nonstationary",
    "ok",
)

LEAST_RECORDS = 8  # four parameters of the curve and a noise model, from fewer, would be a guess
LEAST_RATIO = 10.0  # of last to first iteration
MOST_MISSING = 0.2  # share of records that may be NaN or infinite
WEAK_SIGNAL = 4.0  # slope over its error, below which p is close to unidentified
EXTREME = 1e150  # squares of larger values overflow, and those of smaller inverses vanish
ROUNDING = 1e6  # slope over its error, above which the residuals are rounding and not noise
_LATEST = 100.0  # iterations of a known onset over the last recorded one


# Called with the number of series fitted since the last call and the number of all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Settings:
    """How series are fitted.

    Attributes:
        level: confidence level.
        onset: τ where it is known, iterations, or None to fit it.
        calibrate: whether critical values are simulated.
        draws: simulated series per critical value.
        seed: of the simulations.
        progress: called with the number of series fitted since the last call and of all, or None.
        threads: that series are dealt out to; None for as many as processors.
        phases: whether exponents of the phases of curves that change are fitted.
        shipped: whether critical values that come with the package are taken, where they do.
    """

    level: float = 0.95
    onset: float | None = None
    calibrate: bool = True
    draws: int = 1000
    seed: int = 0
    progress: Progress | None = None
    threads: int | None = None
    phases: bool = True
    shipped: bool = True


class Assessment(NamedTuple):
    """Status and reason of one series."""

    status: str
    reason: str


def gravest(findings: list[Assessment]) -> Assessment:
    """The gravest status, with all reasons.

    >>> gravest([Assessment("onset_edge", "late"), Assessment("weak_signal", "flat")])
    Assessment(status='weak_signal', reason='flat; late')
    """
    if not findings:
        return Assessment("ok", "")
    ordered = sorted(findings, key=lambda finding: STATUSES.index(finding.status))
    return Assessment(ordered[0].status, "; ".join(finding.reason for finding in ordered))


def unfit(times: Array, values: Array, of: str = "iterations") -> Assessment | None:
    """Why a series cannot be fitted at all, or None.

    Arguments:
        times: t > 0, shape (time,), iterations or readings of another clock.
        values: d, shape (time,), possibly NaN or infinite.
        of: what the times are, in words.

    Returns:
        The finding.
    """
    finite = np.isfinite(values)
    missing = values.size - int(finite.sum())
    if missing > MOST_MISSING * values.size:
        text = f"{missing} of {values.size} records are NaN or infinite"
        return Assessment("nonfinite", text)
    kept = times[finite]
    if kept.size < LEAST_RECORDS:
        records = plural(kept.size, "record")
        text = f"{records} after iteration 0, at least {LEAST_RECORDS} are needed"
        return Assessment("too_few_points", text)
    if kept[-1] < LEAST_RATIO * kept[0]:
        text = f"records span {of} {kept[0]:g} to {kept[-1]:g}, less than one decade"
        return Assessment("too_few_points", text)
    largest = np.abs(values[finite]).max()
    if largest > EXTREME:
        return Assessment("nonfinite", f"values reach {largest:.3g}, too large to be squared")
    if np.ptp(values[finite]) <= max(1e-12 * largest, 1 / EXTREME):
        return Assessment("weak_signal", "the series is constant")
    return None


def check_curve(times: Array, values: Array | None = None) -> None:
    """Refuse what no curve can be fitted to.

    Arguments:
        times: t, shape (time,), iterations.
        values: d, shape (time,), if there is a curve.

    Raises:
        ValueError: when times are not positive and increasing, or values are not finite numbers of
            the same shape.
    """
    if times.ndim != 1 or times.size == 0:
        raise ValueError(f"times: found shape {times.shape}, expected (time,)")
    if not (np.isfinite(times).all() and times[0] > 0 and np.all(np.diff(times) > 0)):
        raise ValueError("times: expected positive values that increase")
    if values is None:
        return
    if values.shape != times.shape:
        raise ValueError(f"values: found shape {values.shape}, expected {times.shape}")
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise ValueError(f"values: found {count} that are not finite, expected none")


def check_fit(
    distance: xr.DataArray, settings: Settings, learning_rate: xr.DataArray | None = None
) -> None:
    """Refuse what no growth fit can be made of.

    Arguments:
        distance: d, with dimension `iteration`.
        settings: of the fit.
        learning_rate: over `iteration`, and over dimensions of `distance`.

    Raises:
        TypeError: when `distance` is no `xarray.DataArray` of real numbers, or `learning_rate` is
            none.
        ValueError: when `distance` has no usable `iteration` coordinate, `learning_rate` is not
            given at its iterations, or a setting is out of range.
    """
    _check_distance(distance)
    times = distance["iteration"].values
    _check_settings(settings, float(times[-1]) if times.size else None)
    if learning_rate is not None:
        _check_learning_rate(learning_rate, distance)


def _check_distance(distance: xr.DataArray) -> None:
    if not isinstance(distance, xr.DataArray):
        raise TypeError(f"distance: found {type(distance).__name__}, expected xarray.DataArray")
    if distance.dtype.kind not in "fiu":
        raise TypeError(f"distance: found values of type {distance.dtype}, expected real numbers")
    if "iteration" not in distance.dims or "iteration" not in distance.coords:
        found = ", ".join(map(str, distance.dims)) or "none"
        raise ValueError(
            f"distance: found dimensions {found}, expected `iteration` with its values"
        )
    if distance["iteration"].dtype.kind not in "fiu":
        kind = distance["iteration"].dtype
        raise TypeError(f"distance: found `iteration` of type {kind}, expected numbers")
    times = np.asarray(distance["iteration"].values, dtype=np.float64)
    if not np.all(np.isfinite(times)) or np.any(times < 0):
        raise ValueError("distance: `iteration` holds values that are negative or not finite")
    falls = np.flatnonzero(np.diff(times) <= 0)
    if falls.size:
        before, after = times[falls[0]], times[falls[0] + 1]
        raise ValueError(
            f"distance: iteration {after:g} follows {before:g}, expected increasing iterations"
        )


def check_not_negative(distance: xr.DataArray) -> None:
    """Refuse a distance below 0.

    Arguments:
        distance: d, with dimension `iteration`; all its values are looked at.

    Raises:
        ValueError: with the first of them and where it is.
    """
    places = np.argwhere(distance.values < 0)
    if not places.size:
        return
    at = distance[tuple(places[0])]
    iteration = f"iteration {at['iteration'].item():g}"
    series = [f"{dim} {at[dim].item()}" for dim in distance.dims if dim in at.coords]
    where = ", ".join([*(one for one in series if not one.startswith("iteration ")), iteration])
    raise ValueError(f"distance: found {at.item():g} at {where}, expected 0 or more")


def _check_settings(settings: Settings, last: float | None) -> None:
    check_level(settings.level)
    if settings.onset is not None and not 0 <= settings.onset < np.inf:
        raise ValueError(f"onset: found {settings.onset}, expected a finite value of at least 0")
    if settings.onset is not None and last is not None and settings.onset > _LATEST * last:
        # t + τ would hardly change over the records, and neither would any member of the family.
        raise ValueError(
            f"onset: found {settings.onset:g}, expected at most {_LATEST:g} times the last "
            f"iteration, {last:g}"
        )
    if not isinstance(settings.draws, Integral) or settings.draws < 200:
        raise ValueError(f"draws: found {settings.draws}, expected a whole number of 200 or more")
    if not isinstance(settings.seed, Integral) or settings.seed < 0:
        raise ValueError(f"seed: found {settings.seed}, expected a whole number of 0 or more")


def _check_learning_rate(rate: xr.DataArray, distance: xr.DataArray) -> None:
    if not isinstance(rate, xr.DataArray):
        raise TypeError(
            f"learning_rate: found {type(rate).__name__}, expected xarray.DataArray over "
            "`iteration`, as run['learning_rate']; a constant rate needs none"
        )
    ordered = distance.transpose(..., "iteration")
    if set(rate.dims) - set(ordered.dims) or "iteration" not in rate.dims:
        found = ", ".join(map(str, rate.dims)) or "none"
        raise ValueError(
            f"learning_rate: found dimensions {found}, expected some of {ordered.dims}"
        )
    times = distance["iteration"].values
    if not np.isin(times[times > 0], rate["iteration"].values).all():
        raise ValueError("learning_rate: expected values at every iteration of distance")


LATEST = 0.98  # share of the largest onset allowed, from which the search has ended there


class FitOutcome(NamedTuple):
    """What the assessment of one fit looks at.

    Attributes:
        low: lower end of the interval of p.
        high: its upper end.
        slope: b.
        signal: slope over its error.
        late: whether an end is infinite as onsets up to the last iteration are not excluded.
        onset: τ, iterations.
        onset_high: the largest onset allowed, inf where the onset is given.
        wanders: whether the noise chosen is a random walk.
        missing: records left out because they are not finite.
        rate_change: description of a change of the learning rate, or empty.
        clock: what t is, in words.
        note: on the clock, or empty.
        departure: that the curve leaves the family, if so.
        rests: whether its last records lie where those before them do.
        spikes: their level and how far up spikes go from it, if any do.
        beside: what the law leaves of the range and what the closest law does, where it is far.
    """

    low: float
    high: float
    slope: float
    signal: float
    late: bool
    onset: float
    onset_high: float
    wanders: bool
    missing: int
    rate_change: str
    clock: str = "iterations"
    note: str = ""
    departure: Assessment | None = None
    rests: bool = False
    spikes: tuple[float, float] | None = None
    beside: tuple[float, float] | None = None


def assess(fit: FitOutcome) -> Assessment:
    """Status and reason of a fitted series.

    Arguments:
        fit: what is known of it.

    Returns:
        The assessment.
    """
    found = [finding for finding in _findings(fit) if finding is not None]
    status, reason = gravest(found)
    notes = [reason] if reason else []
    if fit.beside is not None and status not in ("two_phases", "weak_signal"):
        own, closest = (percent(share, 1) for share in fit.beside)
        notes.append(
            f"the fitted law lies {own} of the range beside the records (root mean square), where "
            f"the closest one leaves {closest}: noise that wanders explains how they differ"
        )
    if fit.slope < 0:
        notes.append("the series falls, its slope is negative")
    if fit.missing:
        notes.append(f"{fit.missing} records that are NaN or infinite were left out")
    if fit.note:
        notes.append(fit.note)
    return Assessment(status, "; ".join(notes))


def _findings(fit: FitOutcome) -> list[Assessment | None]:
    if fit.departure is not None:  # no end of an interval is about it, nor is its growth
        return [_rate(fit), fit.departure]
    weak = _weak(fit)
    if weak is not None:  # the rest follows: what does not grow has no exponent and no onset
        return [weak, _rate(fit)]
    return [_rate(fit), _saturated(fit) or _unbounded(fit), _edge(fit), _wandering(fit)]


def _weak(fit: FitOutcome) -> Assessment | None:
    if fit.signal >= WEAK_SIGNAL:
        return None
    far = f"growth is {fit.signal:.1f} standard errors from 0"
    text = f"{far}, too little to tell its shape"
    if fit.wanders:
        text = f"{far}, as the series wobbles like a random walk, which hides its shape"
    return Assessment("weak_signal", text)


def _rate(fit: FitOutcome) -> Assessment | None:
    return Assessment("rate_changed", fit.rate_change) if fit.rate_change else None


def _saturated(fit: FitOutcome) -> Assessment | None:
    """Growth that ends faster than any exponent considered: with p below 0 and open below."""
    if fit.late or not (np.isneginf(fit.low) and fit.high < 0 and fit.rests):
        return None
    found = "the distance comes to rest"
    if fit.spikes is not None:
        level, highest = fit.spikes
        found = f"but for spikes of up to {highest:.3g} the distance stays near {level:.3g}"
    text = f"{found}: p is below {fit.high:.2g}, and nothing bounds it below"
    return Assessment("saturated", text)


def _unbounded(fit: FitOutcome) -> Assessment | None:
    sides = [
        name for name, end in (("below", fit.low), ("above", fit.high)) if not np.isfinite(end)
    ]
    if not sides or (fit.late and len(sides) == 1):
        return None
    text = f"nothing bounds the exponent {' or '.join(sides)} within the range considered"
    return Assessment("p_unbounded", text)


def _edge(fit: FitOutcome) -> Assessment | None:
    if fit.late:
        side = "below" if np.isneginf(fit.low) else "above"
        if np.isneginf(fit.low) and np.isposinf(fit.high):
            side = "on either side: every law is straight up to its onset"
        last = "iteration" if fit.clock == "iterations" else f"reading of {fit.clock}"
        text = f"growth may have set in as late as the last {last}, and nothing then bounds the"
        return Assessment("onset_edge", f"{text} exponent {side}")
    if fit.onset < LATEST * fit.onset_high:
        return None
    latest = "iteration" if fit.clock == "iterations" else f"reading of {fit.clock}"
    text = f"the onset lies at the latest {latest} allowed, {fit.onset_high:.4g}"
    return Assessment("onset_edge", text)


def _wandering(fit: FitOutcome) -> Assessment | None:
    if not fit.wanders or fit.signal > ROUNDING:
        return None
    text = "the residuals wander like a random walk, and more records would not pin the slope down"
    return Assessment("noise_nonstationary", text)
