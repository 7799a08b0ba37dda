"""P4: the spread of loss differences grows like r^γ with γ = 1 up to the distances travelled.

For any differentiable loss the spread over random directions is ∝ r at small r. Beyond

    r× = 2·|∇L|·√N/|tr H|,

where the mean difference overtakes the spread, γ = 1 is a finding; below it, only γ ≠ 1 is. The
spread at each radius is taken over directions, which are the sample within a run; the evaluation
noise is subtracted, and radii where it is more than half the spread are left out.
"""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from diffusion.structure import structure

Array = NDArray[np.float64]

# Directions that are drawn at random; those of a trajectory are where the run went.
RANDOM = ("isotropic", "filter", "noise")
TRAJECTORY = "trajectory"
# Radii for a slope, and how far apart the outermost have to be.
RADII, FACTOR = 3, 3.0
DIRECTIONS = 4
# Below twice the evaluation noise a spread is mostly that noise.
NOISE = 2.0


@dataclass(frozen=True)
class Scan:
    """Loss differences around one record.

    Attributes:
        iteration: of the record.
        radius: r, increasing, shape (radius,).
        difference: ΔL, shape (radius, direction), finite.
        noise: standard deviation of a difference at r = 0.
    """

    iteration: int
    radius: Array
    difference: Array
    noise: float

    def spread(self) -> Array:
        """Standard deviation over directions without the noise; NaN where that dominates."""
        deviation = structure(self.difference).standard_deviation
        clear = deviation > NOISE * self.noise
        variance = np.where(clear, deviation**2 - self.noise**2, np.nan)
        return np.sqrt(variance)

    def crossover(self) -> float:
        """Smallest radius from which on the mean exceeds the spread; inf where it never does."""
        found = structure(self.difference)
        beyond = np.abs(found.mean) - 2 * found.mean_error > found.standard_deviation
        last_below = np.flatnonzero(~beyond)
        first = int(last_below[-1]) + 1 if last_below.size else 0
        return float(self.radius[first]) if first < self.radius.size else math.inf

    def falling(self, low: float) -> float:
        """Share of steps from one radius to the next beyond `low` along which the loss falls."""
        inside = self.radius >= low
        steps = np.diff(self.difference[inside], axis=0)
        clear = np.abs(steps) > NOISE * math.sqrt(2) * self.noise
        return float((steps[clear] < 0).mean()) if clear.any() else math.nan


def scans(run: xr.Dataset, ensemble: str, *, reach: float) -> list[Scan]:
    """The landscape scans of one kind of direction, up to a radius.

    Arguments:
        run: a recording.
        ensemble: name of the kind of direction.
        reach: largest radius to use, the distance that was travelled.

    Returns:
        One scan a record where the loss was measured along `DIRECTIONS` directions or more. A
        record has one or two directions along the trajectory; those of all records make one scan.
    """
    if "loss_difference" not in run or ensemble not in run["ensemble"].values.tolist():
        return []
    named = [name for name in ("loss_difference", "difference_noise") if name in run]
    chosen = run[named].sel(ensemble=ensemble).sortby("radius")
    inside = (chosen["radius"].values > 0) & (chosen["radius"].values <= reach * (1 + 1e-9))
    near = chosen.isel(radius=np.flatnonzero(inside))
    values = near["loss_difference"].transpose("iteration", "radius", "direction").values
    rows = np.flatnonzero(np.isfinite(values).any(axis=(1, 2)))
    at, noise = near["iteration"].values[rows].tolist(), _noise(near)[rows]
    if ensemble == TRAJECTORY and rows.size:
        pooled = np.concatenate(list(values[rows]), axis=1)
        found = [_scan(at[-1], near["radius"].values, pooled, float(noise.mean()))]
    else:
        measured = zip(at, values[rows], noise.tolist(), strict=True)
        found = [_scan(when, near["radius"].values, part, own) for when, part, own in measured]
    return [scan for scan in found if scan is not None]


def _scan(iteration: int, radius: Array, values: Array, noise: float) -> Scan | None:
    """A scan without the directions that were not measured, up to where the first diverges.

    Beyond that radius, leaving out the direction that diverged would leave out the steepest.
    """
    measured = values[:, np.isfinite(values).any(axis=0)]
    finite = np.isfinite(measured).all(axis=1)
    last = int(finite.argmin()) if not finite.all() else finite.size
    if measured.shape[1] < DIRECTIONS or not last:
        return None
    return Scan(iteration, radius[:last], measured[:last], noise)


def _noise(chosen: xr.Dataset) -> Array:
    if "difference_noise" not in chosen:
        return np.zeros(chosen.sizes["iteration"])
    return np.nan_to_num(chosen["difference_noise"].values)


def exponent(scan: Scan, *, low: float = 0.0) -> float:
    """γ of one scan: least-squares slope of ln std(ΔL) over ln r from a radius on.

    Arguments:
        scan: the loss differences.
        low: smallest radius to use.

    Returns:
        γ; NaN with fewer than `RADII` usable radii, or less than a factor `FACTOR` between them.
    """
    spread = scan.spread()
    used = (scan.radius >= low) & np.isfinite(spread) & (spread > 0)
    radius = scan.radius[used]
    if radius.size < RADII or radius[-1] < FACTOR * radius[0]:
        return math.nan
    clock = np.log(radius) - np.log(radius).mean()
    return float(clock @ np.log(spread[used]) / (clock @ clock))


def outer_half(scan: Scan) -> float:
    """From here on radii lie in the outer half in ln r, or within the outer factor `FACTOR`."""
    largest = float(scan.radius[-1])
    return min(math.sqrt(float(scan.radius[0]) * largest), largest / FACTOR) * (1 - 1e-9)
