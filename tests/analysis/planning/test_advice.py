import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.growth import Advantage, ArmCurves, NoiseModel
from ultraslow.analysis.planning import advice
from ultraslow.analysis.planning.advice import Continuation, continuation, state_of
from ultraslow.analysis.planning.pilot import Pilot
from ultraslow.analysis.planning.power import record_times

SEEDS = np.array([-1.2, -0.2, 0.3, 1.1])


def arm(mean, spread, *, faster=4.0, slower=-4.0, last=1000, share=0.01, ratio=1.0):
    better = Advantage(faster + 0.1 * SEEDS, slower + 0.1 * SEEDS)
    found = ArmCurves(mean + spread * SEEDS, better)
    times = record_times(last)
    return Pilot(times, NoiseModel("white"), share, batch_size=64, found=found, ratio=ratio)


def test_more_seeds_are_those_of_the_predictive_t():
    """A mean of n + m seeds, n of them known, from Student's predictive distribution."""
    found = arm(0.2, 0.05).found
    drawn = advice._more_seeds(found, 12).exponents
    assert drawn.shape[1] == 12
    np.testing.assert_allclose(drawn[:, :4], np.broadcast_to(found.exponents, (len(drawn), 4)))
    new = drawn[:, 4]
    scale = found.exponents.std(ddof=1) * math.sqrt(1 + 1 / 4)
    expected = stats.t(3, found.exponents.mean(), scale)
    assert stats.kstest(new, expected.cdf).pvalue > 1e-3


def test_a_wide_arm_of_a_clear_power_needs_few_more_seeds():
    way = continuation(arm(0.4, 0.22), level=0.95)
    assert way.present == (4, 1000)
    assert 5 <= way.seeds <= 9
    assert way.seeds_first
    assert way.in_words("batch size 64").startswith(f"{way.seeds} seeds at batch size 64")


def test_a_late_logarithm_is_told_to_go_on_until_its_onset_is_early():
    """ρ = 4.6 at T = 1000 is that of ln(t + 275): not yet a logarithm, and one at ten times T."""
    of = arm(0.4, 0.01, faster=-4.0, ratio=4.6)
    assert advice._decided(advice._longer(of, 1000), 0.95) < 0.5
    way = continuation(of, level=0.95)
    assert way.seeds == 0
    assert 1800 <= way.last <= 10_000
    assert way.in_words("here") == (
        f"training on at the same rate until iteration {advice.number(way.last)}"
    )


def test_noise_that_hides_all_has_no_advice_but_to_try_elsewhere():
    of = replace(arm(0.06, 0.5, faster=0.0, share=0.5), seed_spread=0.5)
    way = continuation(of, level=0.95)
    assert (way.seeds, way.last) == (0, 0)
    assert way.in_words("batch size 64") == (
        "another batch size or rate: at batch size 64 neither 50 seeds nor training until "
        "iteration 100,000 would decide four studies of five"
    )


def test_the_cheaper_way_comes_first():
    # 2 more runs of 1000 against 4 runs of 800 more.
    way = Continuation(6, 1800, (4, 1000))
    assert way.in_words("x") == (
        "6 seeds at x, or training on at the same rate until iteration 1800"
    )
    assert Continuation(9, 1800, (4, 1000)).in_words("x", "longer runs") == (
        "longer runs, or 9 seeds at x"
    )
    assert Continuation(0, 1800, (4, 1000)).in_words("x", "longer runs") == "longer runs"


def test_an_arm_is_told_what_it_decides_by_itself():
    assert state_of(arm(0.4, 0.01), level=0.95) == (
        "these 4 seeds decide already: P1 is contradicted by them"
    )
    way = continuation(arm(0.4, 0.22), level=0.95).in_words("batch size 64")
    assert state_of(arm(0.4, 0.22), level=0.95) == (
        f"these 4 seeds leave P1 undecided; what decides it: {way}"
    )
    assert state_of(replace(arm(0.4, 0.1), found=None), level=0.95) == ""
    few = ArmCurves(np.array([0.1, 0.2]), Advantage(np.zeros(2), np.zeros(2)))
    assert "3 seeds of one arm are needed" in state_of(replace(arm(0, 1), found=few), level=0.95)
    with pytest.raises(ValueError, match="expected an arm of 3 runs or more"):
        continuation(replace(arm(0, 1), found=few), level=0.95)
