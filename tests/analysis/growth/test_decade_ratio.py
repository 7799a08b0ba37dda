import math

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy import stats

from ultraslow.analysis.growth.decade_ratio import (
    DECADES,
    averages,
    decade_ratio,
    decade_ratio_interval,
    mean_decade_ratio,
    ratios,
    spans,
)
from ultraslow.analysis.growth.grids import thinned

TIMES = np.geomspace(1, 1e4, 161)  # records at the ends of every mean


@pytest.mark.parametrize("exponent", [0.1, 0.25, 0.5, 1.0])
def test_a_power_adds_ten_to_its_exponent_times_as_much(exponent):
    assert_allclose(ratios(TIMES, TIMES**exponent), 10**exponent, rtol=1e-3)


def test_a_saturating_power_adds_less_and_a_logarithm_as_much():
    assert_allclose(ratios(TIMES, 3 - TIMES**-0.2), 10**-0.2, rtol=1e-3)
    assert_allclose(ratios(TIMES, 2 + 0.3 * np.log(TIMES)), 1.0, rtol=1e-9)
    late = ratios(TIMES, np.log(TIMES + 10.0))
    assert 1 < late < 1.1


def test_it_is_what_means_over_a_fifth_of_a_decade_say():
    def mean(curve, middle):
        clock = np.linspace(middle - 0.1, middle + 0.1, 2001)
        return curve(10**clock).mean()

    def curve(times):
        return np.log1p(times / 300) + 0.02 * times**0.3

    means = [mean(curve, 3.9 - back) for back in (0, 1, 2)]
    expected = (means[0] - means[1]) / (means[1] - means[2])
    assert_allclose(ratios(TIMES, curve(TIMES)), expected, rtol=2e-3)


@pytest.mark.parametrize(
    ("times", "values"),
    [(TIMES * 50, 3 + 2 * np.sqrt(TIMES)), (TIMES / 7, 1e-3 * np.sqrt(TIMES))],
)
def test_units_and_offset_change_nothing(times, values):
    assert_allclose(ratios(times, values), ratios(TIMES, np.sqrt(TIMES)), rtol=1e-9)


def test_short_records_have_no_ratio():
    short = np.geomspace(1, 10**2.19, 30)
    assert not spans(short) and not spans(short[:1]) and not spans(short[:0])
    assert np.isnan(ratios(short, np.ones((2, 30)))).all()
    found = decade_ratio_interval(short, np.sqrt(short), np.eye(30), level=0.95)
    assert math.isnan(found.value) and (found.low, found.high) == (0, math.inf)
    assert found.reason == "records span fewer than 2.2 decades"
    assert spans(np.array([1.0, 10**DECADES * 1.0001]))


def test_growth_that_ends_or_has_not_begun_keeps_the_ratio_finite():
    at_rest = np.minimum(TIMES, 500.0)
    before = np.maximum(TIMES, 1000.0)
    assert ratios(TIMES, at_rest) < 1 < ratios(TIMES, before)
    assert np.isfinite(ratios(TIMES, np.stack([at_rest, before]))).all()
    # At rest in both decades there is no ratio: 1 would read like a logarithm.
    assert np.isnan(ratios(TIMES, 0 * TIMES + 1))
    assert np.isnan(ratios(TIMES, np.minimum(TIMES, 2.0)))


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_covers_as_often_as_it_says(level):
    rng = np.random.default_rng(0)
    times = np.geomspace(1, 1e4, 60)
    truth, draws = np.sqrt(times), 1000
    covariance = 0.3**2 * 0.5 ** np.abs(np.subtract.outer(np.arange(60), np.arange(60)))
    noise = rng.standard_normal((draws, 60)) @ np.linalg.cholesky(covariance).T
    right = float(ratios(times, truth))
    found = [decade_ratio_interval(times, truth + eps, covariance, level=level) for eps in noise]
    covered = np.mean([interval.contains(right) for interval in found])
    assert covered == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / draws))


def test_the_interval_of_a_run_is_about_its_ratio_and_names_it():
    found = decade_ratio_interval(TIMES, np.sqrt(TIMES), np.eye(161), level=0.95, name="run a")
    assert_allclose(found.value, ratios(TIMES, np.sqrt(TIMES)))
    assert_allclose(found.low * found.high, found.value**2)
    assert (found.name, found.n) == ("run a", 1)
    exact = decade_ratio_interval(TIMES, np.sqrt(TIMES), np.zeros((161, 161)), level=0.95)
    assert exact.low == exact.value == exact.high


def test_the_mean_over_seeds_is_the_t_interval_of_the_logarithm():
    ratios = [3.1, 2.7, 3.4, 3.0]
    found = mean_decade_ratio(ratios, level=0.9, name="M 64")
    expected = stats.ttest_1samp(np.log(ratios), 0).confidence_interval(0.9)
    assert_allclose([found.low, found.high], np.exp([expected.low, expected.high]))
    assert_allclose(found.value, stats.gmean(ratios))
    assert (found.name, found.n) == ("M 64", 4)
    assert mean_decade_ratio([*ratios, math.nan], level=0.9).n == 4


# The front door.


def series(curves, **coordinates):
    dims = [*coordinates, "iteration"]
    return xr.DataArray(np.asarray(curves), {**coordinates, "iteration": TIMES}, dims)


def test_every_series_has_the_ratio_and_interval_of_its_fit():
    rng = np.random.default_rng(3)
    noisy = np.sqrt(TIMES) * (1 + 0.02 * rng.standard_normal((2, 3, TIMES.size)))
    found = decade_ratio(series(noisy, arm=["a", "b"], seed=[0, 1, 2]))
    assert found.decade_ratio.dims == ("arm", "seed")
    assert_allclose(found.decade_ratio, ratios(TIMES[thinned(TIMES)], noisy[..., thinned(TIMES)]))
    assert (found.decade_ratio_low < found.decade_ratio).all()
    assert (found.decade_ratio < found.decade_ratio_high).all()
    assert found.arm.values.tolist() == ["a", "b"] and found.attrs["level"] == 0.95
    alone = decade_ratio(series(noisy[1, 2]))
    assert alone.decade_ratio_low.item() == pytest.approx(found.decade_ratio_low[1, 2].item())


def test_across_seeds_their_spread_gives_the_interval():
    exponents = np.array([0.45, 0.5, 0.55])
    curves = series(2 + TIMES ** exponents[:, None], seed=[0, 1, 2])
    found = decade_ratio(curves, across="seed", level=0.9)
    expected = mean_decade_ratio(decade_ratio(curves).decade_ratio.values, level=0.9)
    assert found.decade_ratio.dims == ()
    got = [found[f"decade_ratio{end}"].item() for end in ("", "_low", "_high")]
    assert_allclose(got, [expected.value, expected.low, expected.high])


def test_where_there_is_no_ratio_the_reason_is_told():
    short = xr.DataArray(np.arange(9.0), {"iteration": np.arange(1, 10)}, ["iteration"])
    found = decade_ratio(short)
    assert np.isnan(found.decade_ratio) and found.reason.item()
    one = decade_ratio(series([np.sqrt(TIMES)], seed=[0]), across="seed")
    assert (one.decade_ratio_low, one.decade_ratio_high) == (0, math.inf)
    assert one.reason.item() == "one series has no spread"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"across": "run"}, "across: found 'run', expected one of seed"),
        ({"across": "iteration"}, "across: found 'iteration', expected one of seed"),
        ({"level": 0.2}, "level: found 0.2"),
    ],
)
def test_what_cannot_be_asked_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        decade_ratio(series([np.sqrt(TIMES)], seed=[0]), **options)
    with pytest.raises(TypeError, match="distance: found list"):
        decade_ratio([1.0])


def test_where_a_decade_took_away_the_interval_is_of_what_was_added():
    """ln ρ has no small error there: by it the upper end was 10^51."""
    times = np.geomspace(1, 1e4, 81)
    falls = 2 + np.log(times) - times / 3000
    found = decade_ratio_interval(times, falls, 0.02**2 * np.eye(times.size), level=0.95)
    means = averages(times, np.arange(3.0)) @ falls
    added = -np.diff(means)
    assert added[0] < 0 < added[1]
    assert 0 <= found.low <= found.value < 0.01 and found.high < 0.05
    # By noise as large as what it took away it may have added something.
    wide = decade_ratio_interval(times, falls, np.eye(times.size), level=0.95)
    assert wide.low == 0 and 0.05 < wide.high < 2


def test_growth_that_has_just_begun_has_no_upper_end():
    times = np.geomspace(1, 1e4, 81)
    late = 5 + np.maximum(times - 3000, 0) / 1000
    found = decade_ratio_interval(times, late, 0.01**2 * np.eye(times.size), level=0.95)
    assert found.high == np.inf and found.low > 10
