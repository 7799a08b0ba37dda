"""Growth fits of many series recorded at the same times, as arrays.

The numpy core beneath `growth.fit_growth`: likelihood surface, maximum, interval, parameters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from ultraslow.diffusion.laws import growth_regressor

from .critical_values import CriticalValues, ratio
from .interval import (
    Surface,
    constrained,
    interval,
    residual_scale,
    signal,
    standard_error,
    surface,
)
from .likelihood import EXPONENT_HIGH, EXPONENT_LOW, Frame, moments, tangent
from .maximum import Lattice, Point
from .noise_models import covariance

Array = NDArray[np.float64]

POWER = 0.8  # probability with which `detectable` would be told from 0


@dataclass(frozen=True)
class GridFit:
    """Fits of the series of one time grid, each field of shape (series,) unless said otherwise.

    Attributes:
        exponent: p̂.
        low: lower end of its interval, −inf where unbounded.
        high: upper end, +inf where unbounded.
        offset: a, the distance at t + τ = 1 iteration.
        slope: b.
        onset: τ, iterations.
        model: index into the frame's noise menu.
        sigma: σ, unit of the distance.
        signal: slope over its standard error at the maximum.
        critical: critical value of the likelihood ratio at p̂.
        log_ratio: likelihood ratio of p = 0.
        log_p_value: its p-value.
        detectable: smallest |p| that would be told from 0.
        parameters: covariance of (a, b, p, τ), shape (series, 4, 4), asymptotic.
    """

    exponent: Array
    low: Array
    high: Array
    offset: Array
    slope: Array
    onset: Array
    model: NDArray[np.intp]
    sigma: Array
    signal: Array
    critical: Array
    log_ratio: Array
    log_p_value: Array
    detectable: Array
    parameters: Array


def fit_grid(
    frame: Frame, grid: Lattice, values: Array, *, level: float, source: CriticalValues
) -> GridFit:
    """Fits of many series recorded at the same times.

    Arguments:
        frame: shared quantities of the time grid.
        grid: its lattice.
        values: d, shape (series, time), finite and not constant.
        level: confidence level of the intervals.
        source: where critical values come from.

    Returns:
        The fits.
    """
    # The likelihood has no unit; scaling keeps its guards against rounding in range.
    scale = values.std(axis=1)
    at = surface(frame, grid, moments(frame, values / scale[:, None]))
    at, at_log = constrained(at, np.zeros(values.shape[0]))
    low, high = interval(at, lambda part, point: source.critical(part, point, level))
    critical = source.critical(at, at.peak, level)
    offset, slope = linear_parameters(frame, at.peak, values)
    sigma = residual_scale(at, at.peak) * scale
    return GridFit(
        exponent=at.peak.exponent,
        low=low,
        high=high,
        offset=offset,
        slope=slope,
        onset=np.maximum(np.exp(at.peak.shift) - frame.basis.times[0], 0.0),
        model=at.peak.model,
        sigma=sigma,
        signal=signal(at, at.peak),
        critical=critical,
        log_ratio=ratio(at, at_log),
        log_p_value=source.p_value(at, at_log),
        detectable=detectable(at, critical, level=level),
        parameters=parameter_covariance(frame, at.peak, slope, sigma),
    )


def detectable(at: Surface, critical: Array, *, level: float) -> Array:
    """Smallest |p| that a log law would be told from, with probability `POWER`.

    (z_{(1+level)/2} + z_{POWER}) · se(p̂) · (c/χ²)^½, with c the critical value at the fit. It
    takes the resolution of the exponent to be the same at the fit and at the log law.

    Arguments:
        at: the surfaces.
        critical: c, shape (series,).
        level: confidence level.

    Returns:
        |p|, shape (series,); inf where the curve carries no information on p.
    """
    quantiles = norm.ppf((1 + level) / 2) + norm.ppf(POWER)
    return quantiles * standard_error(at, at.peak) * np.sqrt(critical / chi2.ppf(level, 1))


def linear_parameters(frame: Frame, point: Point, values: Array) -> tuple[Array, Array]:
    """Generalized-least-squares a and b, with time in iterations.

    Arguments:
        frame: shared quantities of the time grid.
        point: (p, τ) and noise model of each series.
        values: d, shape (series, time).

    Returns:
        a and b of d = a + b [(t + τ)^p − 1]/p, each of shape (series,).
    """
    offset, slope = np.empty(values.shape[0]), np.empty(values.shape[0])
    times = frame.basis.times
    for model in np.unique(point.model):
        rows = np.flatnonzero(point.model == model)
        root = np.linalg.cholesky(covariance(frame.models[model], times))
        curve = growth_regressor(
            frame.basis.log_time(point.shift[rows]), point.exponent[rows, None]
        )
        white = np.linalg.solve(
            root, np.concatenate([np.ones((1, times.size)), curve, values[rows]]).T
        )
        ones, curves, data = white[:, 0], white[:, 1 : 1 + rows.size], white[:, 1 + rows.size :]
        weight = ones @ ones
        mean_curve, mean_data = ones @ curves / weight, ones @ data / weight
        centred = curves - np.outer(ones, mean_curve)
        b = np.sum(centred * data, axis=0) / np.sum(centred**2, axis=0)
        offset[rows], slope[rows] = mean_data - b * mean_curve, b
    return to_iterations(offset, slope, point.exponent, unit=frame.basis.unit)


def to_iterations(
    offset: Array, slope: Array, exponent: Array, *, unit: float
) -> tuple[Array, Array]:
    """Offset a and slope b for time in iterations, from those for time in another unit T.

    b → b T^{−p}, a → a − b T^{−p} (T^p − 1)/p.
    """
    scaled = slope * unit**-exponent
    return offset - scaled * growth_regressor(
        np.log(np.full_like(exponent, unit)), exponent
    ), scaled


def gradients(log_time: Array, exponent: Array, slope: Array) -> Array:
    """Derivatives of d in (a, b, p, τ).

    Arguments:
        log_time: ln(t + τ), shape (series, time).
        exponent: p, shape (series,).
        slope: b, shape (series,).

    Returns:
        The derivatives, shape (series, time, 4).
    """
    curves, b = tangent(log_time, exponent[:, None]), slope[:, None]
    ones = np.ones_like(log_time)
    return np.stack([ones, curves.curve, b * curves.exponent, b * curves.onset], axis=-1)


def parameter_covariance(frame: Frame, point: Point, slope: Array, sigma: Array) -> Array:
    """Asymptotic covariance of (a, b, p, τ), σ²(J'C⁻¹J)⁺.

    An exponent or onset at the edge of its range counts as known.

    Arguments:
        frame: shared quantities of the time grid.
        point: the maxima.
        slope: b, shape (series,).
        sigma: σ, shape (series,).

    Returns:
        Covariances, shape (series, 4, 4).
    """
    times = frame.basis.times
    onset = np.exp(point.shift) - times[0]
    low, high = frame.basis.shift_low, frame.basis.shift_high
    free_onset = (point.shift > low + 1e-9) & (point.shift < high - 1e-9)
    free_exponent = (point.exponent > EXPONENT_LOW) & (point.exponent < EXPONENT_HIGH)
    result = np.empty((slope.size, 4, 4))
    for model in np.unique(point.model):
        rows = np.flatnonzero(point.model == model)
        inverse = np.linalg.inv(np.linalg.cholesky(covariance(frame.models[model], times)))
        log_time = np.log(times + onset[rows, None])
        design = inverse @ gradients(log_time, point.exponent[rows], slope[rows])
        design[..., 2] *= free_exponent[rows, None]
        design[..., 3] *= free_onset[rows, None]
        length = np.linalg.norm(design, axis=1, keepdims=True)
        length[length == 0] = 1.0
        unit = design / length
        inside = np.linalg.pinv(unit.transpose(0, 2, 1) @ unit, rcond=1e-12, hermitian=True)
        result[rows] = inside / (length * length.transpose(0, 2, 1))
    return result * (sigma**2)[:, None, None]
