import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.intervals import fieller
from ultraslow.analysis.noise.memory import ratio_spread
from ultraslow.analysis.noise.scale import Windows, noise_interval


def moments(rng, *, windows=40, noise=0.3, g=2.0, s=100.0):
    updates = rng.integers(5, 50, windows).astype(float)
    spread = noise / np.sqrt(updates)
    return Windows(
        g * (1 + spread * rng.standard_normal(windows)),
        s * (1 + spread * rng.standard_normal(windows)),
        updates,
    )


def one(g, s, n, **options):
    return noise_interval([Windows(g, s, n)], **options)


def test_the_estimate_is_the_ratio_of_means_weighted_by_updates():
    # By hand: Σ n s = 1·10 + 3·30 = 100, Σ n g = 1·2 + 3·1 = 5.
    assert one([2.0, 1.0], [10.0, 30.0], [1, 3]).interval.value == 20.0


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_across_seeds_the_interval_is_students_of_the_logarithm(level):
    rng = np.random.default_rng(1)
    runs = [moments(rng, s=s) for s in (90.0, 100.0, 120.0, 110.0)]
    ratios = [
        np.average(run.noise_trace, weights=run.updates)
        / np.average(run.gradient_sq, weights=run.updates)
        for run in runs
    ]
    found = noise_interval(runs, level=level)
    expected = stats.t.interval(level, 3, np.mean(np.log(ratios)), stats.sem(np.log(ratios)))
    np.testing.assert_allclose([found.interval.low, found.interval.high], np.exp(expected))
    assert found.interval.value == pytest.approx(stats.gmean(ratios))
    assert (found.method, found.interval.n, found.correlated) == ("seeds", 4, False)
    assert found.updates == sum(run.updates.sum() for run in runs)


def test_of_a_seed_without_a_ratio_above_0_the_means_are_divided():
    g, s = np.array([2.0, 1.5, -0.1, 1.2]), np.array([100.0, 90.0, 95.0, 110.0])
    runs = [Windows([a], [b], [10]) for a, b in zip(g, s, strict=True)]
    found = noise_interval(runs, level=0.9).interval
    covariance = np.cov(np.stack([s, g])) / 4
    expected = fieller(s.mean(), g.mean(), covariance, n=4, level=0.9, positive=True)
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    wide = noise_interval(runs, level=0.99).interval
    assert wide.high == np.inf and wide.reason == "the squared gradient cannot be told from 0"


def test_two_seeds_are_told_apart_from_three():
    rng = np.random.default_rng(2)
    runs = [moments(rng) for _ in range(3)]
    assert noise_interval(runs).method == "seeds"
    assert noise_interval(runs[:2]).method == "windows"
    none = moments(rng)._replace(inside=np.zeros(40, bool))
    assert noise_interval([*runs[:2], none]) == noise_interval(runs[:2])


def test_the_interval_within_a_run_is_that_of_its_windows():
    given = moments(np.random.default_rng(3))
    found = noise_interval([given])
    assert found.interval.low < 50 < found.interval.high
    assert found.interval.high / found.interval.low < 1.5
    assert (found.method, found.updates) == ("windows", given.updates.sum())


def test_windows_are_merged_in_order_and_those_not_finite_left_out(monkeypatch):
    """What the spread is asked of: sums are kept, and no block straddles what is asked about."""
    seen = []

    def spy(stretches):
        seen.extend(stretches)
        return ratio_spread(stretches)

    monkeypatch.setattr("ultraslow.analysis.noise.scale.ratio_spread", spy)
    rng = np.random.default_rng(4)
    g, s, n = rng.normal(size=900), rng.normal(size=900), rng.integers(0, 9, 900).astype(float)
    g[7], s[9] = np.nan, np.inf
    inside = np.arange(900) < 333
    noise_interval([Windows(g, s, n, inside)])
    kept = np.isfinite(g) & np.isfinite(s) & (n > 0)
    (found,) = seen
    assert found.updates.size <= 151
    for mask, within in ((inside, found.inside), (~inside, ~found.inside)):
        chosen = kept & mask
        assert found.updates[within].sum() == n[chosen].sum()
        for block, window in ((found.gradient_sq, g), (found.noise_trace, s)):
            sums = (found.updates * block)[within].sum(), (n * window)[chosen].sum()
            np.testing.assert_allclose(*sums)


@pytest.mark.parametrize("mean", [0.5, -0.5])
def test_a_gradient_that_may_be_zero_leaves_a_lower_bound_only(mean):
    rng = np.random.default_rng(4)
    g = mean + 5 * rng.standard_normal(40)
    s = 100 + rng.standard_normal(40)
    found = one(g, s, np.full(40, 10))
    assert found.interval.high == np.inf
    assert found.interval.low > 0
    assert str(found).startswith("B ≥ ")
    assert "cannot be told from 0" in found.interval.reason


@pytest.mark.parametrize("windows", [0, 1, 3])
def test_too_few_windows_give_a_reason_and_no_interval(windows):
    found = one(np.ones(windows), np.ones(windows), np.ones(windows))
    assert np.isnan(found.interval.low)
    assert found.interval.reason == f"{windows} windows with gradient noise, 4 needed"


@pytest.mark.parametrize("mean", [0.0, 0.05, 0.1])
def test_noise_that_can_hardly_be_told_from_none_keeps_its_coverage(mean):
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        gradient_sq = 1 + 0.01 * rng.standard_normal(200)
        found = one(gradient_sq, mean + rng.standard_normal(200), np.ones(200))
        assert 0 <= found.interval.low <= found.interval.value <= found.interval.high < np.inf
        covered += found.interval.low <= mean <= found.interval.high
    assert covered >= 180


def test_updates_without_any_noise_have_a_noise_scale_of_zero():
    found = one(np.ones(40), np.zeros(40), np.ones(40))
    assert (found.interval.value, found.interval.low, found.interval.high) == (0.0, 0.0, 0.0)


def test_a_squared_gradient_below_0_bounds_nothing_above():
    rng = np.random.default_rng(7)
    found = one(-1 + 0.01 * rng.standard_normal(40), 5 + np.zeros(40), np.ones(40))
    assert np.isnan(found.interval.value)
    assert found.interval.high == np.inf


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_units_of_gradients_drop_out(unit):
    given = moments(np.random.default_rng(8), noise=3.0)
    scaled = given._replace(
        gradient_sq=unit * given.gradient_sq, noise_trace=unit * given.noise_trace
    )
    ends = [
        [found.interval.value, found.interval.low, found.interval.high]
        for found in (noise_interval([given]), noise_interval([scaled]))
    ]
    np.testing.assert_allclose(*ends, rtol=1e-9)


def test_no_ratio_of_two_negative_means_bounds_the_scale():
    """Both estimates are unbiased and may fall below 0; −100/−2 is no noise scale of 50."""
    rng = np.random.default_rng(4)
    both = moments(rng, noise=0.01)
    found = one(-both.gradient_sq, -both.noise_trace, both.updates)
    assert np.isnan(found.interval.value)
    assert (found.interval.low, found.interval.high) == (0.0, np.inf)
    assert found.interval.reason == "the squared gradient cannot be told from 0"


def test_windows_that_drift_are_told_of():
    """A memory of a third of the run is; independent windows seldom look so."""
    rng = np.random.default_rng(5)
    told = {0.0: 0, 0.97: 0}
    for memory in told:
        for _ in range(100):
            noise = rng.standard_normal((2, 200))
            for k in range(1, 200):
                noise[:, k] += memory * noise[:, k - 1]
            g, s = 1.0 + 0.005 * noise[0], 16.0 + 0.3 * noise[1]
            told[memory] += one(g[100:], s[100:], np.ones(100)).correlated
    assert told[0.0] < 8
    assert told[0.97] > 50


def test_a_record_says_what_it_is_about():
    rng = np.random.default_rng(6)
    runs = [moments(rng) for _ in range(3)]
    record = noise_interval(runs).record()
    assert (record["method"], record["seeds"], record["blocks"]) == ("seeds", 3, 0)
    record = noise_interval(runs[:1]).record()
    assert (record["method"], record["seeds"], record["blocks"]) == ("windows", 0, 39)
    assert {"first_iteration", "last_iteration", "correlated", "low", "high"} <= set(record)
