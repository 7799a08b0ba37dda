import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.intervals import Interval, paired, unpaired

RNG = np.random.default_rng(3)
X, Y = RNG.normal(1.0, 0.5, 6), RNG.normal(0.0, 2.0, 9)


def test_unpaired_agrees_with_scipys_welch_test():
    expected = stats.ttest_ind(X, Y, equal_var=False)
    ends = expected.confidence_interval(0.9)
    found = unpaired(X, Y)
    interval = found.interval(0.9)
    np.testing.assert_allclose([interval.low, interval.high], [ends.low, ends.high], rtol=1e-12)
    assert found.freedom == pytest.approx(expected.df)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.n == interval.n == 6


def test_paired_agrees_with_scipys_one_sample_test():
    expected = stats.ttest_1samp(X, 0.0)
    ends = expected.confidence_interval(0.95)
    found = paired(X)
    interval = found.interval(0.95)
    np.testing.assert_allclose([interval.low, interval.high], [ends.low, ends.high], rtol=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue)


def test_one_pair_bounds_nothing_and_has_no_p_value():
    found = paired([0.3])
    assert found.interval(0.95) == Interval(0.3, -np.inf, np.inf, 1)
    assert np.isnan(found.p_value)


def test_samples_without_spread_give_a_point():
    found = unpaired([1.0, 1.0], [0.0, 0.0])
    assert (found.interval(0.95), found.p_value) == (Interval(1.0, 1.0, 1.0, 2), 0.0)
    assert unpaired([1.0, 1.0], [1.0, 1.0]).p_value == 1.0


def test_the_smaller_sample_is_counted_whichever_comes_first():
    assert unpaired(X, Y).n == unpaired(Y, X).n == 6
    # Without spread Welch's degrees of freedom are 0/0; the smaller sample's stand in for them.
    assert unpaired([1.0, 1.0, 1.0], [0.0, 0.0]).freedom == 1


def test_turning_the_samples_round_mirrors_the_interval():
    one, other = unpaired(X, Y), unpaired(Y, X)
    ends = one.interval(0.9), other.interval(0.9)
    np.testing.assert_allclose(
        [ends[0].low, ends[0].high], [-ends[1].high, -ends[1].low], rtol=1e-12
    )
    assert (one.freedom, one.p_value) == (other.freedom, other.p_value)


UNEQUAL = [((2, 5), (3, 1)), ((2, 2), (10, 1)), ((3, 5), (3, 1)), ((5, 5), (1, 1))]


@pytest.mark.parametrize(("counts", "spreads"), UNEQUAL)
def test_intervals_hold_their_level_for_few_and_unequal_samples(counts, spreads):
    """Welch's own degrees of freedom held in 89 % of the first kind of set."""
    rng = np.random.default_rng([2017, *counts])
    sets = 4000
    held = 0
    for _ in range(sets):
        above, below = (s * rng.standard_normal(n) for n, s in zip(counts, spreads, strict=True))
        held += unpaired(above, below).interval(0.95).contains(0.0)
    assert held / sets >= 0.93 - 3 * np.sqrt(0.93 * 0.07 / sets)
