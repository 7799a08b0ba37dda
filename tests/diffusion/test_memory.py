import numpy as np
import pytest

from ultraslow.diffusion.memory import (
    fading_sum_variance,
    fractional_sum_variance,
    window_covariance,
)


def by_terms(count, correlation):
    """Variance of a sum as the sum of all correlations."""
    lags = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    return correlation(lags).sum()


def fractional(hurst):
    def correlation(lags):
        near = [np.abs(lags + step) ** (2 * hurst) for step in (-1.0, 0.0, 1.0)]
        return (near[0] - 2 * near[1] + near[2]) / 2

    return correlation


@pytest.mark.parametrize("length", [0.5, 3.0, 200.0])
@pytest.mark.parametrize("count", [1, 2, 37])
def test_a_sum_of_fading_noise_varies_as_all_its_correlations_say(length, count):
    expected = by_terms(count, lambda lags: np.exp(-lags / length))
    np.testing.assert_allclose(fading_sum_variance(count, length), expected, rtol=1e-10)


@pytest.mark.parametrize("hurst", [0.3, 0.5, 0.9])
def test_a_sum_of_fractional_noise_varies_as_all_its_correlations_say(hurst):
    expected = by_terms(25, fractional(hurst))
    np.testing.assert_allclose(fractional_sum_variance(25, hurst), expected, rtol=1e-10)


def test_a_memory_much_longer_than_the_sum_makes_its_terms_equal():
    np.testing.assert_allclose(fading_sum_variance(10, 1e7), 100, rtol=1e-5)


@pytest.mark.parametrize(
    ("sum_variance", "correlation"),
    [
        (lambda h: fading_sum_variance(h, 4.0), lambda lags: np.exp(-lags / 4)),
        (lambda h: fractional_sum_variance(h, 0.8), fractional(0.8)),
    ],
)
def test_windows_covary_as_the_terms_within_them(sum_variance, correlation):
    edges = np.array([0, 1, 2, 5, 11, 20])
    owner = np.repeat(np.arange(5), np.diff(edges))
    average = (owner == np.arange(5)[:, None]) / np.diff(edges)[:, None]
    lags = np.abs(np.subtract.outer(np.arange(20), np.arange(20)))
    expected = average @ correlation(lags) @ average.T
    np.testing.assert_allclose(window_covariance(edges, sum_variance), expected, rtol=1e-9)


@pytest.mark.parametrize("hurst", [0.0, 1.0])
def test_a_hurst_exponent_outside_its_range_is_refused(hurst):
    with pytest.raises(ValueError, match=r"hurst: found .*, expected a number in \(0, 1\)"):
        fractional_sum_variance(3, hurst)


def test_a_length_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="length"):
        fading_sum_variance(3, 0.0)
