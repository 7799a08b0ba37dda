"""Known answers, properties and coverage of the interval, of Student's and of Fieller's."""

import math

import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.intervals import Interval, fieller, t_interval, t_quantile

# Student (1908), Biometrika 6, 1: hours of sleep that ten patients gained with one drug over
# another.
SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]


def test_the_interval_of_students_own_data():
    # R's `t.test(extra ~ group, data = sleep, paired = TRUE)`.
    found = t_interval(SLEEP, level=0.95, name="sleep")
    assert found.value == pytest.approx(1.58)
    assert (found.low, found.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)
    assert (found.n, found.name, found.reason) == (10, "sleep", "")


@pytest.mark.parametrize(("freedom", "level", "table"), [(1, 0.95, 12.706), (9, 0.99, 3.250)])
def test_quantiles_are_those_of_the_printed_table(freedom, level, table):
    assert t_quantile(freedom, level) == pytest.approx(table, abs=5e-4)


def test_a_published_ratio():
    """14 ± 3 over 7 ± 2 with 10 degrees of freedom; the program FIELLER of Colquhoun.

    Origin: github.com/DCPROGS/DCSTATS, tests/test_fieller.py, where t is that of 90 %.
    """
    found = fieller(14.0, 7.0, np.diag([9.0, 4.0]), n=11, level=0.9)
    assert found.value == 2.0
    assert (found.low, found.high) == pytest.approx((1.051413, 4.414296), abs=2e-6)


def pairs(rng, *, n=6, mean=3.0, spread=0.3):
    x, y = rng.normal(1, 0.3, n), rng.normal(mean, spread, n)
    return x, y + 0.5 * x - 0.5


def ratio(x, y, **options):
    return fieller(float(x.mean()), float(y.mean()), np.cov(x, y) / x.size, n=x.size, **options)


@pytest.mark.parametrize("positive", [False, True])
def test_fiellers_interval_holds_the_ratios_that_a_t_test_does_not_reject(positive):
    x, y = pairs(np.random.default_rng(0))
    found = ratio(x, y, level=0.9, positive=positive)
    grid = np.linspace(0, 1, 20_001)
    kept = grid[stats.ttest_1samp(x - grid[:, None] * y, 0, axis=1).pvalue > 0.1]
    assert (found.low, found.high) == pytest.approx((kept.min(), kept.max()), abs=1e-4)


def test_a_positive_ratio_over_what_may_be_0_has_a_lower_end():
    """The set of ratios is then all but an interval around 0."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(5, 0.1, 8), rng.normal(0.5, 2.0, 8)
    found = ratio(x, y, level=0.95, positive=True)
    assert found.high == math.inf
    assert found.reason == "the denominator cannot be told from 0"
    at, below = (
        stats.ttest_1samp(x - theta * y, 0).pvalue for theta in (found.low, found.low * 0.99)
    )
    assert at == pytest.approx(0.05)
    assert below < 0.05
    whole = ratio(x, y, level=0.95)
    assert (whole.low, whole.high) == (-math.inf, math.inf)


@pytest.mark.parametrize("positive", [False, True])
def test_a_denominator_below_0_bounds_nothing(positive):
    found = fieller(1.0, -3.0, np.diag([0.01, 0.01]), n=4, level=0.95, positive=positive)
    assert (found.low, found.high) == (0.0 if positive else -math.inf, math.inf)
    assert math.isnan(found.value) == positive
    assert math.isnan(fieller(1.0, 0.0, np.eye(2), n=4, level=0.95).value)


def test_a_ratio_that_is_not_negative_counts_as_0_where_its_estimate_is():
    found = fieller(-1.0, 3.0, np.diag([0.01, 0.01]), n=9, level=0.95, positive=True)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_drop_out_of_a_ratio(factor):
    x, y = pairs(np.random.default_rng(1))
    one, other = ratio(x, y, level=0.95), ratio(factor * x, factor * y, level=0.95)
    ends = [(found.value, found.low, found.high) for found in (one, other)]
    np.testing.assert_allclose(*ends, rtol=1e-9)


def test_an_interval_is_mapped_with_its_ends_in_order():
    found = Interval(0.5, 0.25, math.inf, 4, "mean", "why").mapped(lambda x: 1 / x)
    assert found == Interval(2.0, 0.0, 4.0, 4, "mean", "why")
    assert Interval(math.nan, math.nan, math.nan).mapped(math.exp).ends() == "–"


def test_the_farthest_end_is_that_of_either_side():
    assert Interval(0.0, -3.0, 2.0).farthest == Interval(0.0, -2.0, 3.0).farthest == 3.0
    assert Interval(0.0, -3.0, math.inf).farthest == math.inf
