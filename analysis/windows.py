"""What the first time used does to the exponent: a scan over windows, and their average.

Within one phase p̂ may still depend on where the fit begins, when the early curve follows another
law than the later one; the scan shows it, and the average weighs the windows instead of picking
one.
"""

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from .growth import fit_growth, fitted_noise, growth_curve
from .noise_models import covariance
from .replication import standard_errors

Array = NDArray[np.float64]

_PARAMETERS = 4  # of the growth family


def start_scan(
    distance: xr.DataArray,
    starts: ArrayLike,
    *,
    level: float = 0.95,
    onset: float | None = None,
    calibrate: bool = True,
    draws: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Growth fits of the same series from several first iterations on.

    The fits share their records, so that their intervals are not independent; and a start chosen
    for its p̂ is no longer covered by its interval.

    Arguments:
        distance: as for `growth.fit_growth`.
        starts: first iterations, shape (start,), in any order.
        level: confidence level of each interval.
        onset: as for `growth.fit_growth`.
        calibrate: as for `growth.fit_growth`.
        draws: likewise.
        seed: likewise.

    Returns:
        The fits along a dimension `start`; starts that leave too few records say so in `status`.

    Raises:
        ValueError: without a start.
    """
    first = np.atleast_1d(np.asarray(starts, dtype=np.float64))
    if first.ndim != 1 or first.size == 0:
        raise ValueError(f"starts: found shape {first.shape}, expected (start,)")
    parts = [
        fit_growth(
            distance.isel(iteration=np.asarray(distance["iteration"] >= start)),
            level=level,
            onset=onset,
            calibrate=calibrate,
            draws=draws,
            seed=seed,
        )
        for start in first
    ]
    return xr.concat(parts, dim="start", combine_attrs="override").assign_coords(start=first)


@dataclass(frozen=True)
class WindowAverage:
    """Exponent averaged over the windows of a scan.

    Attributes:
        exponent: the average.
        low: lower end of its interval.
        high: upper end.
        weights: of the windows, shape (start,); 0 where one was not fitted or is unbounded.
        reason: why there is no average, or empty.
    """

    exponent: float
    low: float
    high: float
    weights: Array
    reason: str


def average(distance: xr.DataArray, scan: xr.Dataset, *, level: float = 0.95) -> WindowAverage:
    """Average of the exponent over windows that begin at different times.

    p̄ = Σ w_i p̂_i, var = Σ w_i [se_i² + (p̂_i − p̄)²], w_i ∝ exp(−½ χ_i² − k − N_i), with N_i the
    records that window i leaves out, χ_i² its residual sum of squares in the metric of the noise
    of the shortest window (its standard deviation taken to be constant), and k the number of
    parameters, the same for all. A window that begins
    in an early regime of another law fits badly and has no weight; among those that fit, longer
    ones have more.

    References:
        Jay and Neil (2021), Phys. Rev. D 103, 114502: the weights, with the data cut counted as
        parameters. Cited from memory and not compared with the text.

    Arguments:
        distance: d of one series over `iteration`, as given to `start_scan`.
        scan: what that returned for it.
        level: confidence level.

    Returns:
        The average; NaN, with an unbounded interval and a reason, where no window has a bounded
        interval.

    Raises:
        ValueError: when `distance` or `scan` is of several series.
    """
    if distance.dims != ("iteration",) or scan["exponent"].dims != ("start",):
        raise ValueError(
            f"distance, scan: found dimensions {distance.dims} and {scan['exponent'].dims}, "
            "expected those of one series, ('iteration',) and ('start',)"
        )
    errors = standard_errors(scan).values
    usable = np.isfinite(errors) & np.isfinite(scan["exponent"].values)
    if not usable.any():
        nothing = np.zeros(errors.size)
        return WindowAverage(np.nan, -np.inf, np.inf, nothing, "no window has a bounded interval")
    cost = np.where(usable, _costs(distance, scan, usable), np.inf)
    weights = np.exp(-(cost - cost.min()))
    weights /= weights.sum()
    exponents = np.where(usable, scan["exponent"].values, 0.0)
    mean = float(weights @ exponents)
    spread = weights @ (np.where(usable, errors, 0.0) ** 2 + (exponents - mean) ** 2)
    half = float(norm.ppf((1 + level) / 2) * np.sqrt(spread))
    return WindowAverage(mean, mean - half, mean + half, weights, "")


def _costs(distance: xr.DataArray, scan: xr.Dataset, usable: NDArray[np.bool_]) -> Array:
    """½ χ² + N of each window."""
    known = distance.isel(
        iteration=np.isfinite(distance.values) & (distance["iteration"] > 0).values
    )
    times = known["iteration"].values.astype(np.float64)
    last = int(np.where(usable, scan["start"].values, -np.inf).argmax())
    noise = fitted_noise(scan.isel(start=last))
    if noise is None:
        raise ValueError("scan: the last usable window has no noise model")
    # A standard deviation that changes within the shortest window must not be carried far beyond
    # it.
    shape = covariance(replace(noise, power=0.0), times)
    costs = np.full(usable.size, np.inf)
    squares = np.zeros(usable.size)
    for row in np.flatnonzero(usable):
        used = times >= float(scan["start"][row])
        curve = growth_curve(scan.isel(start=row), times[used])["distance"].values
        root = np.linalg.cholesky(shape[np.ix_(used, used)])
        white = np.linalg.solve(root, known.values[used] - curve)
        squares[row] = float(white @ white)
        costs[row] = float((~used).sum())
    left = times.size - costs[last] - _PARAMETERS
    variance = max(squares[last], 1e-300) / max(left, 1.0)
    return costs + 0.5 * squares / variance
