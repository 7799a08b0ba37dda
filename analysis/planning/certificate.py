"""Certificate of a fit: what the procedure does at these times with this noise.

Series are simulated with the fitted noise under laws of known exponent, fitted by the very code
that fitted the data, and counted: how often a true log law is rejected, how often the interval
holds the truth, how often small powers are told from a logarithm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ultraslow.analysis.growth import (
    LEAST_RATIO,
    LEAST_RECORDS,
    NoiseModel,
    Settings,
    check_curve,
    fit_grid,
    simulate_noise,
    thinned,
    time_grid,
)
from ultraslow.diffusion.laws import growth_regressor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Certificate:
    """Simulated properties of the fit at given times and noise.

    Attributes:
        exponents: true p, shape (exponent,); the first is 0.
        rejected: share of series whose test rejects the log law, (exponent,): the size at p = 0,
            the power elsewhere.
        covered: share of intervals that hold the true p, (exponent,).
        unbounded: share of intervals unbounded on a side, (exponent,).
        spread: standard deviation of p̂, (exponent,).
        detectable: median over the series of p = 0 of the smallest |p| told from 0.
        formula: the same by `detectable_formula`.
        draws: simulated series a row.
        level: confidence level.
    """

    exponents: Array
    rejected: Array
    covered: Array
    unbounded: Array
    spread: Array
    detectable: float
    formula: float
    draws: int
    level: float

    @property
    def size(self) -> float:
        """Share of true log laws that are rejected."""
        return float(self.rejected[0])

    @property
    def error(self) -> float:
        """Standard error of a simulated share near 1 − level."""
        return float(np.sqrt(self.level * (1 - self.level) / self.draws))


def certify(
    times: Array,
    noise: NoiseModel,
    *,
    scale: float,
    exponents: Sequence[float] = (0.0, 0.05, 0.1),
    draws: int = 400,
    settings: Settings | None = None,
    rng: np.random.Generator,
) -> Certificate:
    """Simulated size, coverage and power of the fit.

    The laws have the onset that the settings give as known, and none where it is fitted. Of more
    than 120 records those are used that `fit_growth` would use.

    Arguments:
        times: t > 0, shape (time,), increasing, iterations.
        noise: the noise, for example that of a fit.
        scale: σ over the total growth d(t_last) − d(t_first).
        exponents: true p to simulate, the first of them 0.
        draws: series a row.
        settings: of the fits.
        rng: source of random numbers.

    Returns:
        The certificate.

    Raises:
        ValueError: when the first exponent is not 0, `scale` is not positive, there are fewer than
            two draws, or `times` are too few, span less than a decade or do not increase.
    """
    times = _usable(np.asarray(times, dtype=np.float64))
    if draws < 2:
        raise ValueError(f"draws: found {draws}, expected at least 2")
    if len(exponents) == 0 or exponents[0] != 0:
        raise ValueError(f"exponents: found {tuple(exponents)}, expected 0 in the first place")
    if not scale > 0:
        raise ValueError(f"scale: found {scale}, expected a positive number")
    used = settings or Settings()
    grid = time_grid(times, replace(used, shipped=False))  # what is certified is simulated
    fits = [
        fit_grid(
            grid,
            unit_growth(times, p, onset=used.onset or 0.0)
            + scale * simulate_noise(noise, times, draws, rng=rng),
        )
        for p in exponents
    ]
    true = np.asarray(exponents, dtype=np.float64)
    return Certificate(
        exponents=true,
        rejected=np.array([np.mean(fit.log_p_value < 1 - used.level) for fit in fits]),
        covered=np.array(
            [np.mean((f.low <= p) & (p <= f.high)) for f, p in zip(fits, true, strict=True)]
        ),
        unbounded=np.array([np.mean(~np.isfinite(fit.high - fit.low)) for fit in fits]),
        spread=np.array([fit.exponent.std(ddof=1) for fit in fits]),
        detectable=float(np.median(fits[0].detectable)),
        formula=detectable_formula(times, noise, scale=scale, level=used.level),
        draws=draws,
        level=used.level,
    )


def _usable(times: Array) -> Array:
    """The times that a fit would use."""
    check_curve(times)
    if times.size < LEAST_RECORDS or times[-1] < LEAST_RATIO * times[0]:
        raise ValueError(
            f"times: found {times.size} from {times[0]:g} to {times[-1]:g}, expected at least "
            f"{LEAST_RECORDS} over a factor of {LEAST_RATIO:g}"
        )
    return times[thinned(times)]


def unit_growth(times: Array, exponent: float, *, onset: float = 0.0) -> Array:
    """Member of the family that grows from 0 to 1 over the times.

    >>> unit_growth(np.array([1.0, 10.0, 100.0]), 0.0).tolist()
    [0.0, 0.5, 1.0]
    """
    curve = growth_regressor(np.log(times + onset), np.asarray(exponent))
    return (curve - curve[0]) / (curve[-1] - curve[0])


def detectable_formula(
    times: Array, noise: NoiseModel, *, scale: float, level: float = 0.95
) -> float:
    """Smallest |p| told from 0 with probability 0.8, for times even in ln t and a known onset.

    (z_{(1+level)/2} + z_{0.8}) · √720 (σ/D) / (Λ √n_eff), with D the total growth, Λ = ln(t_n/t_1)
    and n_eff = n (1 − ρ)/(1 + ρ), ρ the correlation of neighbouring records under `ar_log_t`.
    Under
    `ou_t`, where it differs from pair to pair, ρ counts as 0, and a changing standard deviation
    counts as constant. It follows from u ≈ L + pL²/2 near p = 0, L = ln t. Fitting the onset about
    doubles it, and it does not hold for random walks, whose ρ is not defined: there it is inf.

    Arguments:
        times: t, shape (time,), iterations.
        noise: the noise.
        scale: σ/D.
        level: confidence level of the test.

    Returns:
        |p|.
    """
    if noise.wanders:
        return np.inf
    log_range = np.log(times[-1] / times[0])
    spacing = log_range / (times.size - 1)
    rho = (1 - noise.nugget) * np.exp(-spacing / noise.length) if noise.kind == "ar_log_t" else 0.0
    effective = times.size * (1 - rho) / (1 + rho)
    error = np.sqrt(720) * scale / (log_range * np.sqrt(effective))
    return float((ndtri((1 + level) / 2) + ndtri(0.8)) * error)


def summary(certificate: Certificate) -> str:
    """The certificate in words, one line a figure.

    Arguments:
        certificate: as returned by `certify`.

    Returns:
        The text.
    """
    lines = [
        f"size of the {100 * (1 - certificate.level):.0f} % test of a log law: "
        f"{100 * certificate.size:.1f} % (± {100 * certificate.error:.1f})",
        *(
            f"p = {p:g}: interval holds it in {100 * c:.1f} % of series, log law rejected in "
            f"{100 * r:.1f} %"
            for p, c, r in zip(
                certificate.exponents, certificate.covered, certificate.rejected, strict=True
            )
        ),
        f"smallest |p| told from 0: {certificate.detectable:.3g}; "
        f"by the formula for a known onset {certificate.formula:.3g}",
    ]
    return "\n".join(lines)
