"""The best learning rate of each batch size, and the noise scale that their curve tells.

One step of SGD on a quadratic loss lowers it most at ε_opt(M) = ε_max/(1 + B_noise/M)
(`diffusion.scaling.optimal_learning_rate`). Its inverse is the hyperbola of `hyperbola`, with
1/ε_max for S_min and B_noise for M_crit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.text import first_of, number, p_value, percent

from .hyperbola import MISFIT, OFF_CURVE, SIZES, Hyperbola, profile_hyperbola

Array = NDArray[np.float64]

_EQUAL = 1e-6  # of a logarithm: rates that differ by less are equal
_ON_GRID = 1e-3  # of a step of a grid


@dataclass(frozen=True)
class BestRates:
    """What the best learning rates of several batch sizes say of the noise scale.

    Attributes:
        noise_scale: B_noise, samples, of `n` batch sizes or rates; NaN where there is none, or a
            bound only.
        largest_rate: ε_max; NaN where it is not known.
        rates: the geometric mean of the best rates by batch size.
        status: `ok`, `unchecked` whether the form fits, `unbounded`, `misfit` or `missing`.
        reason: why it is not `ok`; empty otherwise.
        notes: what to know of it, in sentences.
        basis: what the interval comes from (`Hyperbola.basis`).
        departure: largest relative departure of a best rate from the curve.
    """

    noise_scale: Interval = Interval(math.nan, math.nan, math.nan)
    largest_rate: float = math.nan
    rates: Mapping[float, float] | None = None
    status: str = "missing"
    reason: str = ""
    notes: tuple[str, ...] = ()
    basis: str = OFF_CURVE
    departure: float = math.nan

    @property
    def answers(self) -> bool:
        """Whether it has an interval, or a bound."""
        return not math.isnan(self.noise_scale.low)

    def record(self) -> dict[str, Any]:
        """As files hold it: a flat record."""
        return {
            "estimate": self.noise_scale.value,
            "low": self.noise_scale.low,
            "high": self.noise_scale.high,
            "largest_rate": self.largest_rate,
            "rates": dict(self.rates or {}),
            "basis": self.basis,
            "departure": self.departure,
            "status": self.status,
            "reason": self.reason,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        size = self.noise_scale
        if not self.answers:
            return f"no noise scale of best learning rates: {self.reason}"
        if not math.isnan(size.value):
            return f"noise scale of the best rates {number(size.value)} {size.ends(number)}"
        bound = f"larger than {number(size.low)}"
        if not size.low:
            bound = f"smaller than {number(size.high)}"
        return f"noise scale of the best rates {bound}"


def best_rates(
    rates: Mapping[float, float | Sequence[float]],
    *,
    step: float = 1.0,
    notes: Sequence[str] = (),
    level: float = 0.95,
) -> BestRates:
    """The noise scale and the largest rate that measured best learning rates tell.

    ln ε_opt = ln ε_max − ln(1 + B_noise/M) by least squares; for the interval see
    `hyperbola.profile_hyperbola`. Rates that were tried in steps of a factor g are rounded, by
    which several sizes may lie off the curve alike: the variance is (ln g)²/12 at least. A grid
    shows in best rates that are equal, or powers of one step apart.

    Arguments:
        rates: ε_opt by batch size, samples: one rate, or one of each repeated search.
        step: g, the largest ratio of neighbours among the rates tried; 1 where it is not known.
        notes: to be told before others.
        level: confidence level.

    Returns:
        The estimate, or the status `missing` with the reason.

    >>> print(best_rates({m: 0.4 / (1 + 100 / m) for m in (16, 64, 256, 1024)}))
    noise scale of the best rates 100 [100, 100]
    """
    known = {size: np.atleast_1d(rates[size]).astype(np.float64) for size in sorted(rates)}
    if len(known) < SIZES:
        listed = ", ".join(map(str, known)) or "none"
        reason = f"best rates of {SIZES} batch sizes are needed, and there are {listed}"
        return BestRates(reason=reason, notes=tuple(notes))
    logs = [-np.log(values) for values in known.values()]
    means = np.array([float(one.mean()) for one in logs])
    between = math.log(step) if step > 1 else _grid(means)
    fit = profile_hyperbola(
        np.array(list(known), dtype=np.float64), logs, level=level, least=between**2 / 12
    )
    best = dict(zip(known, np.exp(-means).tolist(), strict=True))
    power = _as_power(np.log(list(known)), -means, fit.departure)
    return _judged(fit, BestRates(rates=best, notes=(*notes, *power)))


def _as_power(sizes: Array, rates: Array, departure: float) -> tuple[str, ...]:
    """A note on a power of M to which best rates lie nearer by half; logarithms are given."""
    power, offset = np.polyfit(sizes, rates, 1)
    off = float(np.abs(np.expm1(rates - power * sizes - offset)).max())
    if not off < departure / 2:
        return ()
    return (
        f"a power of M describes the best rates better: M^{number(power, 2)}, off by "
        f"{percent(off)} at most where the form is off by {percent(departure)}",
    )


def _grid(logs: Array) -> float:
    """The step of a grid that logarithms lie on; 0 where they lie on none."""
    gaps = np.diff(np.sort(logs))
    steps = gaps[gaps > _EQUAL]
    if not steps.size:
        return 0.0
    whole = steps / steps.min()
    even = steps.size > 1 and bool(np.all(np.abs(whole - np.round(whole)) < _ON_GRID))
    return float(steps.min()) if even or steps.size < gaps.size else 0.0


def _judged(fit: Hyperbola, found: BestRates) -> BestRates:
    """The result with its status: whether the form fits and bounds its noise scale."""
    found = replace(found, basis=fit.basis, departure=fit.departure)
    if fit.beyond < MISFIT:
        grow = (
            "fall with the batch size"
            if math.isfinite(fit.fewest_steps)
            else "grow faster than the batch size"
        )
        p = f"p = {p_value(fit.beyond)}".replace("= <", "<")
        reason = f"the best rates {grow}, which the form does not ({p})"
        return replace(found, status="misfit", reason=reason)
    found = replace(found, noise_scale=fit.critical, largest_rate=1 / fit.fewest_steps)
    sides = ["below"] * (not fit.critical.low) + ["above"] * math.isinf(fit.critical.high)
    doubts = {
        "misfit": _misfit(fit),
        "unbounded": f"the batch sizes do not bound it {' or '.join(sides)}" if sides else "",
        "unchecked": (
            f"whether the best rates follow the form could not be checked: {SIZES} batch sizes, "
            f"{SIZES + 1} needed"
            if math.isnan(fit.misfit)
            else ""
        ),
    }
    status = next((name for name, doubt in doubts.items() if doubt), "ok")
    return replace(found, status=status, reason="; ".join(filter(None, doubts.values())))


def _misfit(fit: Hyperbola) -> str:
    if not fit.misfit < MISFIT:
        return ""
    return (
        f"the best rates bend otherwise than ε_max/(1 + B/M) (p = {number(fit.misfit, 2)}), from "
        f"which they depart by {percent(fit.departure)} at most"
    )


def tuned_rates(
    tried: Mapping[float, Sequence[float]], best: Mapping[float, float], *, level: float
) -> BestRates:
    """The noise scale that the best of rates tell, of those that lower and higher ones enclose.

    Arguments:
        tried: learning rates that were run, by batch size, whether or not they reached a target.
        best: the best of them by batch size; sizes without one are left out.
        level: confidence level.

    Returns:
        The estimate (`best_rates`), with what was left out among the notes.
    """
    kept = {
        size: rate for size, rate in best.items() if min(tried[size]) < rate < max(tried[size])
    }
    edge = [str(size) for size in best if size not in kept]
    notes = []
    if edge:
        listed = first_of(edge, 6)
        sizes = "batch size" if len(edge) == 1 else "batch sizes"
        notes.append(
            f"the best rate lies at the edge of those tried at {sizes} {listed}, left out"
        )
    gaps = [
        above / below
        for size in kept
        for below, above in zip(sorted(tried[size]), sorted(tried[size])[1:], strict=False)
    ]
    if gaps:
        notes.append(f"rates were tried {number(max(gaps))} times apart at most")
    return best_rates(kept, step=max(gaps, default=1.0), notes=notes, level=level)
