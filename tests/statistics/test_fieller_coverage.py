"""Coverage of Fieller's interval on simulated pairs."""

import math

import numpy as np
import pytest

from ultraslow.analysis.intervals import fieller

SETS = 20_000


def ratio(x, y, *, positive):
    covariance = np.cov(x, y) / x.size
    means = float(x.mean()), float(y.mean())
    return fieller(*means, covariance, n=x.size, level=0.95, positive=positive)


@pytest.mark.slow
@pytest.mark.parametrize("n", [4, 10])
@pytest.mark.parametrize("error", [0.1, 0.3, 1.0])
def test_fiellers_interval_covers_at_its_level(n, error):
    """Of a denominator with 10 to 100 % standard error, correlated with its numerator.

    The set that is not rejected covers in exactly 95 %. Where it is no interval, the one that is
    told encloses it and covers more often; of a positive ratio it is the part above 0.
    """
    rng = np.random.default_rng([1954, n, int(10 * error)])
    truth = 0.7
    y = 1 + error * math.sqrt(n) * rng.standard_normal((SETS, n))
    x = truth + 0.2 * (y - 1) + 0.3 * rng.standard_normal((SETS, n))
    two_errors = 2 * math.sqrt(0.95 * 0.05 / SETS)
    for positive in (False, True):
        found = [ratio(*pair, positive=positive) for pair in zip(x, y, strict=True)]
        held = np.mean([one.contains(truth) for one in found])
        assert held >= 0.95 - two_errors
        if all(math.isfinite(one.high) for one in found):
            assert held <= 0.95 + two_errors
