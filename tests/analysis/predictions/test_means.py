import math

import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.predictions.means import Measure, Zone, judge, seeds_needed

SHAPE = np.array([-1.5, -0.5, 0.5, 1.5])
ZONE = Zone.within(0.1)


def ends(low, high, level=0.95):
    """Four numbers whose interval has these ends."""
    spread = (high - low) / 2 / stats.t.ppf(0.5 + level / 2, 3) * 2
    return (low + high) / 2 + spread * SHAPE / SHAPE.std(ddof=1)


def said(*arms, zone=ZONE, level=0.95):
    return judge([Measure(zone, list(arms))], level=level)


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ((-0.09, 0.09), "supported"),
        ((-0.11, 0.0), "undecidable"),
        ((0.0, 0.11), "undecidable"),
        ((0.05, 0.4), "undecidable"),
    ],
)
def test_one_arm_supports_by_its_interval(interval, word):
    found = said(ends(*interval))
    assert found.word == word
    assert (found.mean.low, found.mean.high) == pytest.approx(interval)


def test_one_arm_contradicts_with_half_of_the_error():
    assert said(ends(0.11, 0.3, level=0.975)).word == "contradicted"
    assert said(ends(0.09, 0.3, level=0.975)).word == "undecidable"
    assert said(ends(-0.3, -0.11, level=0.975)).word == "contradicted"
    assert said(ends(-0.3, -0.11, level=0.975), zone=Zone(-0.1, 0.1, above=0.1)).word != (
        "contradicted"
    )


def test_among_several_arms_one_contradicts_with_its_share_of_the_error():
    quiet = [ends(-0.05, 0.05)] * 4
    far = 0.21 + 0.05 * SHAPE / SHAPE.std(ddof=1)
    # 0.21 ± 4.18 · 0.025 at 97.5 % excludes 0.1; ± 7.45 · 0.025 at 99.5 %, as one of five, not.
    assert said(far).word == "contradicted"
    assert said(far, *quiet).word == "undecidable"
    found = said(*quiet, ends(0.11, 0.3, level=0.995))
    assert (found.word, found.arm, found.carrying) == ("contradicted", 4, (4,))


def test_arms_contradict_together_by_stouffers_sum():
    lean = ends(0.08, 0.3, level=0.975)
    p_value = stats.ttest_1samp(lean, 0.1, alternative="greater").pvalue
    for count in (2, 3):
        together = stats.norm.sf(stats.norm.isf(p_value) * math.sqrt(count))
        found = said(*[lean] * count)
        assert (found.word == "contradicted") == (together < 0.0125)
        assert found.together == (found.word == "contradicted")
    # On two sides they cancel.
    assert said(lean, -lean).word == "undecidable"


def test_an_arm_of_which_little_is_known_leaves_what_another_shows():
    clear, wide, leaning = ends(-0.02, 0.02), ends(-2.0, 2.2), ends(0.05, 0.9)
    assert said(clear, wide).word == "supported"
    assert said(clear, wide).carrying == (0,)
    # Its interval at 80 % does not reach into the zone.
    assert said(clear, leaning + 0.2).word == "undecidable"
    # An interval that only just lies within does not hold together with that of another arm.
    assert said(ends(-0.09, 0.09), wide).word == "undecidable"
    assert said(ends(-0.09, 0.09), ends(-0.09, 0.09)).word == "supported"


def test_the_arm_and_the_number_that_leave_it_open_are_told():
    height = Measure(ZONE, [ends(-0.02, 0.02), ends(-0.03, 0.03)])
    fall = Measure(Zone(-math.inf, 0.0), [ends(-2.0, 0.1), ends(-1.0, 0.5)])
    found = judge([height, fall], level=0.95)
    assert (found.word, found.measure, found.arm) == ("undecidable", 1, 1)
    falling = Measure(Zone(-math.inf, 0.0), [ends(-2.0, -1.0), ends(-1.0, -0.5)])
    found = judge([height, falling], level=0.95)
    assert (found.word, found.measure, found.arm) == ("supported", 0, 1)


def test_the_order_of_arms_and_seeds_does_not_matter():
    rng = np.random.default_rng(0)
    for _ in range(50):
        arms = [rng.normal(rng.normal(0, 0.1), 0.05, rng.integers(3, 7)) for _ in range(3)]
        turned = [rng.permutation(arm) for arm in arms[::-1]]
        one, other = said(*arms), said(*turned)
        assert (one.word, one.arm) == (other.word, 2 - other.arm)


def test_a_zone_says_how_far_outside_and_beyond_an_interval_lies():
    zone = Zone(-1.0, 1.0, above=2.0)
    assert zone.outside(Interval(0.0, -0.5, 0.5)) == -0.5
    assert zone.outside(Interval(0.0, -3.0, 0.5)) == 2.0
    assert zone.beyond(Interval(3.0, 2.5, 4.0)) == 0.5
    assert zone.beyond(Interval(-9.0, -9.5, -8.0)) == -11.5


def test_more_seeds_are_advised_where_they_decide_and_no_others():
    rng = np.random.default_rng(1)
    inside = Measure(ZONE, [rng.normal(0.0, 0.1, 6)])
    more = seeds_needed([inside], level=0.95)
    assert 6 < more.count <= 24
    assert seeds_needed([Measure(ZONE, [0.1 + 0.1 * SHAPE])], level=0.95).count == 0
    assert seeds_needed([inside], level=0.95) == more


@pytest.mark.slow
@pytest.mark.parametrize(("true", "spread"), [(0.0, 0.1), (0.03, 0.08), (0.3, 0.2), (-0.25, 0.1)])
@pytest.mark.parametrize("arms", [1, 3])
def test_followed_advice_decides(true, spread, arms):
    """In four of five continuations where they are promised to, else as often as is told."""
    rng = np.random.default_rng([2017, arms])
    decided, told = [], []
    while len(told) < 300:
        known = [rng.normal(true, spread, 4) for _ in range(arms)]
        measures = [Measure(ZONE, known)]
        if judge(measures, level=0.95).word != "undecidable":
            continue
        advice = seeds_needed(measures, level=0.95)
        if not advice.count:
            continue
        more = [np.append(one, rng.normal(true, spread, advice.count - 4)) for one in known]
        decided.append(judge([Measure(ZONE, more)], level=0.95).word != "undecidable")
        told.append(min(advice.chance, 0.8))
    shares, words = np.array(told), np.array(decided)
    for kind in (shares == 0.8, shares < 0.8):
        print(f"told {shares[kind].mean():.2f}, decided {words[kind].mean():.2f} of {kind.sum()}")
        error = np.sqrt((shares[kind] * (1 - shares[kind])).sum()) / kind.sum()
        assert words[kind].mean() >= shares[kind].mean() - 2 * error
