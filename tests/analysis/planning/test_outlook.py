from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.growth import Advantage, ArmCurves, NoiseModel
from ultraslow.analysis.planning import outlook as module
from ultraslow.analysis.planning.outlook import outlook
from ultraslow.analysis.planning.pilot import Pilot
from ultraslow.analysis.planning.power import record_times

SEEDS = np.array([-1.2, -0.2, 0.3, 1.1])


def arm(mean, spread, *, seeds=SEEDS, faster=0.05, slower=-1.0, last=1000, share=0.005, ratio=1.0):
    better = Advantage(faster + 0.01 * seeds, slower + 0.01 * seeds)
    found = ArmCurves(mean + spread * seeds, better)
    times = record_times(last)
    return Pilot(times, NoiseModel("white"), share, batch_size=64, found=found, ratio=ratio)


@pytest.fixture(scope="module")
def clear():
    """A power of t that four seeds leave open, as they differ."""
    return outlook(arm(0.4, 0.2), level=0.95)


def test_designs_go_from_what_there_is_to_ten_times_the_length(clear):
    assert clear.present == (4, 1000)
    assert clear.seeds == tuple(range(4, 19))
    assert clear.lasts == (1000, 1800, 3200, 5700, 10_000)
    assert clear.decided.shape == (15, 5)


def test_more_seeds_decide_more_often(clear):
    assert np.diff(clear.decided, axis=0).min() > -0.03
    assert clear.decided[-1].min() > 0.9 > clear.decided[0, 0]


def test_of_two_seeds_or_one_a_verdict_needs_three():
    for count in (1, 2):
        found = outlook(arm(0.4, 0.02, seeds=SEEDS[:count]), level=0.95)
        assert found.seeds[0] == 3 and found.present[0] == count


def test_runs_that_are_too_short_decide_nothing_until_they_are_longer():
    found = outlook(arm(0.4, 0.01, last=200), level=0.95)
    assert (found.decided[:, 0] == 0).all()
    assert found.decided[-1, -1] > 0.8


def test_a_late_logarithm_is_supported_once_its_onset_is_early():
    """ρ = 4.6 at T = 1000 is that of ln(t + 275): not yet a logarithm, and one at ten times T."""
    found = outlook(arm(0.4, 0.01, faster=-0.3, ratio=4.6, share=0.002), level=0.95)
    assert found.decided[0, 0] == 0
    assert found.decided[-1, -1] > 0.5


def likely_spreads(exponents, within):
    """A grid of spreads between seeds, and how likely each is: prior times density."""
    spreads = np.geomspace(1e-4, 10.0, 4000)
    usual = stats.invgamma(2.0, scale=2.0 * module._USUAL_SPREAD**2)  # of s², four degrees
    weights = usual.pdf(spreads**2) * spreads**2  # on a grid even in ln s
    # The density of n values around their mean, which is free: n − 1 differences.
    contrasts = np.linalg.qr(np.eye(len(exponents)) - 1 / len(exponents))[0][:, :-1]
    total = np.hypot(spreads, within)
    for one in exponents @ contrasts:
        weights = weights * stats.norm.pdf(one, scale=total)
    return spreads, weights / weights.sum()


@pytest.mark.parametrize("spread", [0.005, 0.03, 0.2, 0.8])
def test_spreads_between_seeds_are_as_likely_as_what_was_found_says(spread):
    exponents, within = 0.3 + spread * SEEDS, 0.03
    spreads, weights = likely_spreads(exponents, within)
    found = np.sort(module.spread_between(exponents, within).ravel())
    expected = np.interp((np.arange(800) + 0.5) / 800, np.cumsum(weights), spreads)
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_one_seed_tells_no_spread_but_the_usual_one():
    found = np.sort(module.spread_between(np.array([0.3]), 0.03).ravel())
    usual = stats.invgamma(2.0, scale=2.0 * module._USUAL_SPREAD**2)
    expected = np.sqrt(usual.ppf((np.arange(800) + 0.5) / 800))
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_the_exponents_of_new_seeds_have_the_spread_that_was_found():
    of = arm(0.4, 0.05)
    truths = module._Truths(of, 18, (1000, 10_000))
    new = truths.until(1000).exponents[:, 4:]
    within = truths._now.exponents.std()
    spreads, weights = likely_spreads(of.found.exponents, within)
    # A seed lies around a mean that four of them tell: normal, of each spread.
    scale = np.hypot(spreads, within) * np.sqrt(1 + 1 / 4)

    def predicted(values):
        return stats.norm.cdf((np.asarray(values)[:, None] - 0.4) / scale) @ weights

    assert stats.kstest(new[:, 0], predicted).pvalue > 1e-3
    np.testing.assert_allclose(
        truths.until(1000).exponents[:, :4], np.broadcast_to(of.found.exponents, (800, 4))
    )


def test_a_longer_design_continues_the_same_runs():
    truths = module._Truths(arm(0.4, 0.02), 6, (1000, 10_000))
    nearer, farther = (truths.until(last).exponents for last in (3000, 10_000))
    assert np.corrcoef(nearer.ravel(), farther.ravel())[0, 1] > 0.8


def test_why_the_largest_design_decides_no_more_is_told():
    near = outlook(arm(0.05, 0.002, faster=0.0, slower=-0.5), level=0.95)
    assert near.obstacle == "the exponent may lie near ±0.05, up to which growth counts as log t"
    wide = outlook(replace(arm(0.1, 0.4), seed_spread=0.4), level=0.95)
    assert wide.obstacle.startswith("exponents of seeds differ by ±0.")


def test_numbers_alone_have_no_outlook():
    with pytest.raises(ValueError, match="found numbers alone"):
        outlook(replace(arm(0.4, 0.1), found=None), level=0.95)


def test_one_design_is_simulated_once(clear):
    of = arm(0.4, 0.2)
    assert outlook(replace(of, source="another name", batch_size=7), level=0.95) is clear
    assert outlook(replace(of, ratio=1.01), level=0.95) is not clear
    assert outlook(of, level=0.99) is not clear
