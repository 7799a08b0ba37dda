"""Random potentials with a known structure function D(r) = E[(V(x) − V(y))²], r = ‖x − y‖.

On a line: random walks and fractional Brownian motion, D(r) = c²·r^α with α = 2H, exact on the
sites. The module `fields` has potentials in d dimensions. The exponent lies in (0, 2): at α = 2 a
Gaussian field with stationary increments is a random linear function, without barriers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ultraslow.diffusion._validation import all_finite, count, in_range, indices, numbers, positive

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Structure:
    """A measured structure function with its standard error over independent potentials."""

    distance: Array
    value: Array
    standard_error: Array


def random_walk(
    reach: int, *, samples: int, rng: np.random.Generator, scale: float = 1.0
) -> Array:
    """Potentials with independent Gaussian steps: D(r) = scale²·r, the landscape of Sinai's walk.

    Arguments:
        reach: L; the sites are −L … L.
        samples: independent potentials.
        rng: source of randomness.
        scale: standard deviation of a step, in the unit of V.

    Returns:
        V `(sample, 2L + 1)`, zero at the middle site.

    References:
        Sinai (1982), Theory of Probability and its Applications 27, 256.

    >>> random_walk(2, samples=3, rng=np.random.default_rng(0)).shape
    (3, 5)
    """
    shape = (count(samples, "samples"), 2 * count(reach, "reach"))
    return _anchored(positive(scale, "scale") * rng.standard_normal(shape))


def fractional_brownian(
    reach: int, *, hurst: float, samples: int, rng: np.random.Generator, scale: float = 1.0
) -> Array:
    """Fractional Brownian potentials, D(r) = scale²·r^{2H}, exact on the sites.

    The steps are stationary with covariance ½·scale²·(|k+1|^{2H} − 2|k|^{2H} + |k−1|^{2H}); an FFT
    of their circulant embedding draws them.

    Arguments:
        reach: L; the sites are −L … L.
        hurst: H = α/2 in (0, 1).
        samples: independent potentials.
        rng: source of randomness.
        scale: standard deviation of a step, in the unit of V.

    Returns:
        V `(sample, 2L + 1)`, zero at the middle site.

    References:
        Davies and Harte (1987), Biometrika 74, 95, appendix; Oshanin, Rosso and Schehr (2013),
        Physical Review Letters 110, 100602, for walks on such potentials.

    >>> fractional_brownian(2, hurst=0.3, samples=3, rng=np.random.default_rng(0)).shape
    (3, 5)
    """
    in_range(hurst, "hurst", 0, 1)
    positive(scale, "scale")
    n = 2 * count(reach, "reach")
    k = np.arange(n + 1.0)
    covariance = 0.5 * ((k + 1) ** (2 * hurst) + np.abs(k - 1) ** (2 * hurst)) - k ** (2 * hurst)
    circulant = np.concatenate([covariance, covariance[-2:0:-1]])
    # The eigenvalues are not negative in exact arithmetic for any H.
    eigenvalues = np.maximum(np.fft.rfft(circulant).real, 0.0)
    white = rng.standard_normal((count(samples, "samples"), 2 * n))
    steps = np.fft.irfft(np.sqrt(eigenvalues) * np.fft.rfft(white, axis=1), 2 * n, axis=1)
    return _anchored(scale * steps[:, :n])


def potential_structure(potential: ArrayLike, lags: ArrayLike) -> Structure:
    """The structure function of potentials on a line, averaged over sites and samples.

    Arguments:
        potential: V `(sample, site)`, two samples or more.
        lags: r `(lag,)`, whole sites.

    Returns:
        D(r) at each lag and its standard error over samples.

    Raises:
        ValueError: for one sample only, no lag, or a lag outside the sites.
    """
    v = all_finite(potential, "potential")
    if v.ndim != 2 or len(v) < 2:
        raise ValueError(f"potential: found shape {v.shape}, expected (sample ≥ 2, site)")
    r = indices(lags, "lags", length=v.shape[1])
    if not r.size or r.min() < 1:
        found = "0" if r.size else "none"
        raise ValueError(f"lags: found {found}, expected values in [1, {v.shape[1] - 1}]")
    squares = np.stack([np.mean((v[:, k:] - v[:, :-k]) ** 2, axis=1) for k in r], axis=1)
    return over_samples(r.astype(np.float64), squares)


def over_samples(distance: Array, squares: Array) -> Structure:
    """The mean and its standard error over the first axis, `(sample, distance)`."""
    error = squares.std(axis=0, ddof=1) / np.sqrt(len(squares))
    return Structure(distance, squares.mean(axis=0), error)


def checked_potential(potential: ArrayLike) -> Array:
    """Potentials on a line that a walker can start in the middle of.

    Arguments:
        potential: V `(sample, site)` or `(site,)`, an odd number of sites.

    Returns:
        V `(sample, site)`.

    Raises:
        ValueError: for another shape, or values that are not finite.

    >>> checked_potential([0.0, 1.0, 0.5])
    array([[0. , 1. , 0.5]])
    """
    v = np.atleast_2d(numbers(potential, "potential"))
    if v.ndim != 2 or v.shape[0] < 1 or v.shape[1] < 3 or v.shape[1] % 2 == 0:
        raise ValueError(f"potential: found shape {v.shape}, expected (sample, odd number >= 3)")
    return all_finite(v, "potential")


def _anchored(steps: Array) -> Array:
    """Potentials from their steps, zero at the middle site."""
    samples, gaps = steps.shape
    v = np.zeros((samples, gaps + 1))
    np.cumsum(steps, axis=1, out=v[:, 1:])
    return v - v[:, gaps // 2 : gaps // 2 + 1]
