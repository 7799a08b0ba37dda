import itertools
import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from ultraslow.analysis.growth import EXPONENT_HIGH, EXPONENT_LOW, status
from ultraslow.analysis.growth.late_logarithm import Advantage
from ultraslow.analysis.growth.rule import (
    DISQUALIFYING,
    LEAST_SEEDS,
    MARGIN,
    ArmCurves,
    arm_words,
    earlier_records,
    judge,
    mostly_left_out,
    shortage,
    told_apart,
    usable,
    with_beginnings,
)
from ultraslow.analysis.intervals import t_interval

SEEDS = np.array([-1.5, -0.5, 0.5, 1.5])  # of mean 0 and spread 1.29
UNIT = SEEDS / SEEDS.std(ddof=1)


def arm(mean, error, *, faster=-4.0, slower=-4.0, spread=0.1):
    """Four seeds with this mean and standard error; A has the mean ±a² and hardly any spread."""

    def squares(root):
        roots = root + spread * UNIT
        return np.sign(roots) * roots**2

    return ArmCurves(mean + 2 * error * UNIT, Advantage(squares(faster), squares(slower)))


LOGARITHM = arm(0.0, 0.002)
POWER = arm(0.4, 0.01, faster=2.0)
SATURATING = arm(-0.4, 0.01, slower=2.0)
LATE = arm(0.4, 0.01)  # beyond the margin, and a late logarithm fits better
WIDE = arm(0.02, 0.2)


def with_ratio(arm, middle, spread=0.02):
    """The arm with ρ around `middle` in its seeds."""
    return ArmCurves(arm.exponents, arm.advantage, middle * np.exp(spread * UNIT))


def word(**arms):
    return judge(arms, level=0.95).word


@pytest.mark.parametrize(
    ("ratio", "spread", "said"),
    [
        (1.0, 0.02, "supported"),
        (0.9, 0.02, "supported"),  # as t^-.046, within the margin
        (0.83, 0.02, "undecidable"),  # no logarithm adds less than it did
        (0.83, 0.3, "supported"),  # not surely
        (3.2, 0.02, "supported"),  # of the latest onset
        (3.8, 0.02, "undecidable"),
        (0.4, 0.02, "undecidable"),
        (0.1, 0.02, "contradicted"),
        (0.1, 1.0, "undecidable"),
        (math.nan, 0.02, "supported"),  # not known, and left out
    ],
)
def test_what_the_last_decade_added_has_a_say(ratio, spread, said):
    found = judge({"a": with_ratio(LOGARITHM, ratio, spread)}, level=0.95)
    assert found.word == said and found.arms["a"].word == said
    assert found.ended == (said == "contradicted")
    assert judge({"a": LOGARITHM}, level=0.95).word == "supported"


def test_growth_that_ended_in_one_arm_contradicts_beside_others_at_a_shared_error():
    # One-sided p of ρ ≥ 1/3 with 3 degrees of freedom, between .002/12 and .002.
    nearly = with_ratio(LOGARITHM, 0.2, 0.1)
    assert word(a=nearly) == "contradicted"
    others = {f"o{k}": with_ratio(LOGARITHM, 1.0) for k in range(11)}
    found = judge({"a": nearly} | others, level=0.95)
    assert 0.002 / 12 < found.arms["a"].ended < 0.002
    assert found.word == "undecidable"
    clear = judge({"a": with_ratio(LOGARITHM, 0.1)} | others, level=0.95)
    assert (clear.word, clear.carrying, clear.ended) == ("contradicted", ("a",), True)


def test_powers_that_contradict_are_told_before_growth_that_ended():
    found = judge({"a": with_ratio(SATURATING, 0.1)}, level=0.95)
    assert found.word == "contradicted" and not found.ended


def test_one_arm_is_judged_by_both_of_its_halves():
    assert word(a=LOGARITHM) == "supported"
    assert word(a=POWER) == "contradicted"
    assert word(a=SATURATING) == "contradicted"
    assert word(a=LATE) == "undecidable"
    assert word(a=WIDE) == "undecidable"
    # The advantage has to be on the side of the exponent.
    assert word(a=arm(0.4, 0.01, slower=2.0)) == "undecidable"
    assert word(a=arm(-0.4, 0.01, faster=2.0)) == "undecidable"
    # Where a power fits better nothing is supported.
    assert word(a=arm(0.0, 0.002, faster=2.0)) == "undecidable"
    assert word(a=arm(0.0, 0.002, slower=2.0)) == "undecidable"


def test_a_set_judged_by_hand():
    """Mean 0.13, standard error 0.01: t = 8 of 3 degrees of freedom, p = 0.0020."""
    found = judge({"a": arm(0.13, 0.01, faster=1.0, spread=0.5)}, level=0.95)
    said = found.arms["a"]
    assert said.beyond[0] == pytest.approx(0.00203829, rel=1e-5)
    assert said.beyond[1] == pytest.approx(stats.t.cdf(18, 3))
    # Roots of A: mean 1, standard error 0.25: t = 4, p = 0.014.
    assert said.better[0] == pytest.approx(0.0140042, rel=1e-5)
    assert found.word == said.word == "contradicted"
    assert (found.carrying, found.together) == (("a",), False)
    # The interval has level 0.975: t = 4.1765.
    assert said.exponent.low == pytest.approx(0.13 - 0.041765, abs=1e-6)


@pytest.mark.parametrize("side", [1, -1])
def test_contradiction_begins_at_half_of_the_error_a_side(side):
    edge = stats.t.isf(0.0125, 3)
    for t, expected in ((0.999 * edge, "undecidable"), (1.001 * edge, "contradicted")):
        near = arm(side * (MARGIN + 0.01 * t), 0.01, faster=2.0, slower=2.0)
        assert word(a=near) == expected


def test_support_has_a_third_of_the_error():
    edge = stats.t.isf(0.00875, 3)
    for t, expected in ((0.999 * edge, "undecidable"), (1.001 * edge, "supported")):
        assert word(a=arm(MARGIN - 0.005 * t, 0.005)) == expected
        assert word(a=arm(-MARGIN + 0.005 * t, 0.005)) == expected


def test_an_advantage_begins_at_an_error_of_a_twentieth():
    edge = stats.t.isf(0.05, 3)
    for t, expected in ((0.999 * edge, "undecidable"), (1.001 * edge, "contradicted")):
        # Standard error 0.5 of the roots.
        assert word(a=arm(0.4, 0.01, faster=0.5 * t, spread=1.0)) == expected


def test_one_arm_carries_a_contradiction_whatever_the_others_say():
    found = judge({"a": LOGARITHM, "b": POWER, "c": WIDE, "d": LATE}, level=0.95)
    assert (found.word, found.carrying, found.together) == ("contradicted", ("b",), False)
    assert [found.arms[name].word for name in "abcd"] == [
        *("supported", "contradicted", "undecidable", "undecidable"),
    ]


def test_the_error_is_shared_among_the_arms():
    edge = stats.t.isf(0.0125 / 3, 3)
    for t, expected in ((0.99 * edge, "undecidable"), (1.01 * edge, "contradicted")):
        near = arm(MARGIN + 0.01 * t, 0.01, faster=2.0)
        assert word(a=near) == "contradicted"
        assert word(a=near, b=WIDE, c=WIDE) == expected


def test_the_intervals_hold_jointly():
    alone = judge({"a": POWER}, level=0.95).arms["a"].exponent
    joint = judge({"a": POWER, "b": WIDE, "c": WIDE}, level=0.95).arms["a"].exponent
    for found, arms in ((alone, 1), (joint, 3)):
        expected = t_interval(POWER.exponents, level=1 - 0.05 / (2 * arms))
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_what_is_supported_shows_the_interval_that_lies_within_the_margin():
    """Jointly with nine other arms it would reach beyond, and that is not what was asked."""
    near = arm(0.0, 0.0095)
    found = judge({"a": near} | {f"wide {k}": WIDE for k in range(9)}, level=0.95)
    said = found.arms["a"]
    expected = t_interval(near.exponents, level=0.9825)
    assert (found.word, said.level) == ("supported", pytest.approx(0.9825))
    assert (said.exponent.low, said.exponent.high) == (expected.low, expected.high)
    assert said.exponent.farthest < MARGIN
    assert t_interval(near.exponents, level=1 - 0.05 / 20).farthest > MARGIN
    assert found.arms["wide 0"].level == pytest.approx(1 - 0.05 / 20)


def test_the_interval_shown_agrees_with_the_word():
    """Within the margin where it is supported, beyond it where one arm contradicts, else neither.

    Unless it is the other half of the rule that leaves it open.
    """
    rng, counted = np.random.default_rng(7), 0
    for most in [1, 5] * 500:
        found = judge(drawn(rng, most=most), level=0.95)
        for name in found.carrying:
            said = found.arms[name]
            ends = said.exponent.low, said.exponent.high
            if found.word == "supported":
                assert max(-ends[0], ends[1]) < MARGIN
            elif found.word == "contradicted" and len(found.arms) == 1:
                counted += 1
                assert max(ends[0], -ends[1]) > MARGIN
            elif max(-ends[0], ends[1]) < MARGIN:
                leaning = min(min(one.beyond) for one in found.arms.values()) < 0.1
                assert leaning or min(said.better) < 0.05
    assert counted > 20


@pytest.mark.parametrize(("edge", "better"), [(EXPONENT_HIGH, "faster"), (EXPONENT_LOW, "slower")])
def test_seeds_at_the_end_of_the_exponents_contradict_though_they_are_alike(edge, better):
    """t² has p = 2, and no exponent above 1.5 is looked for: all seeds have that one."""
    curves = arm(0.0, 1.0, **{better: 2.0})
    found = judge({"a": ArmCurves(np.full(4, edge), curves.advantage)}, level=0.95)
    assert found.word == "contradicted"
    shown = found.arms["a"].exponent
    assert (shown.high if edge > 0 else -shown.low) == math.inf
    # As if their spread were the margin, whose standard error is a half of it.
    half = stats.t.isf(0.0125, 3) * MARGIN / 2
    assert (shown.low if edge > 0 else shown.high) == pytest.approx(
        edge - math.copysign(half, edge)
    )
    one_off = np.array([edge, edge, edge, 0.2 * edge])
    expected = t_interval(one_off, level=0.975)
    shown = judge({"a": ArmCurves(one_off, curves.advantage)}, level=0.95).arms["a"].exponent
    assert (shown.low if edge > 0 else shown.high) == pytest.approx(
        expected.low if edge > 0 else expected.high
    )


def test_arms_of_which_none_contradicts_alone_do_together():
    """t = 3.5 an arm: p = 0.0197, of four together Φ(−4.12) = 0.00002."""
    near = arm(MARGIN + 0.035, 0.01, faster=0.9, spread=1.0)
    assert word(a=near) == "undecidable"
    names = "abcd"
    found = judge(dict.fromkeys(names, near), level=0.95)
    assert (found.word, found.together) == ("contradicted", True)
    assert found.carrying == tuple(names)
    assert {said.word for said in found.arms.values()} == {"undecidable"}
    # Two of them: Φ(−2.91) = 0.0018 as well; one, and one against it: no.
    assert word(a=near, b=arm(-MARGIN - 0.035, 0.01, slower=2.0)) == "undecidable"


def test_arms_beyond_the_margin_need_an_advantage_together_too():
    near = arm(MARGIN + 0.035, 0.01)
    assert word(a=near, b=near, c=near, d=near) == "undecidable"


def test_arms_on_the_other_side_carry_nothing():
    near = arm(MARGIN + 0.035, 0.01, faster=0.9, spread=1.0)
    other = arm(-0.06, 0.004, faster=-0.3, slower=-0.1, spread=1.0)
    found = judge(dict.fromkeys("abcdef", near) | {"other": other}, level=0.95)
    assert (found.word, found.carrying) == ("contradicted", tuple("abcdef"))


def test_a_wide_arm_does_not_block_support_and_a_leaning_one_does():
    found = judge({"a": LOGARITHM, "b": WIDE}, level=0.95)
    assert (found.word, found.carrying) == ("supported", ("a",))
    assert word(a=LOGARITHM, b=WIDE, c=LOGARITHM) == "supported"
    assert word(a=LOGARITHM, b=LATE) == "undecidable"
    assert word(a=LOGARITHM, b=arm(-0.4, 0.01)) == "undecidable"


@pytest.mark.parametrize("mean", [0.0, 0.1, -0.1, 0.45, 1 / 3])
@pytest.mark.parametrize("seeds", [3, 4, 7])
def test_equal_seeds_never_decide(mean, seeds):
    """Also where their mean is off by rounding, so that the spread is not 0 to the last digit."""
    same = Advantage(np.full(seeds, 3.3), np.full(seeds, 3.3))
    spread = Advantage(*(np.linspace(1, 2, seeds) for _ in range(2)))
    negative = Advantage(*(np.linspace(-2, -1, seeds) for _ in range(2)))
    draws = np.full(seeds, mean)
    rounded = draws * (1 + 1e-15 * np.arange(seeds))
    for exponents, better in itertools.product((draws, rounded), (same, spread, negative)):
        for names in ("a", "abcd"):
            curves = ArmCurves(exponents, better)
            assert judge(dict.fromkeys(names, curves), level=0.95).word == "undecidable"
    real = POWER if mean >= 0 else SATURATING
    assert word(a=ArmCurves(real.exponents, Advantage(np.full(4, 2.0), np.full(4, 2.0)))) == (
        "undecidable"
    )


def test_without_an_arm_of_enough_seeds_nothing_is_decided():
    few = ArmCurves(POWER.exponents[:2], Advantage(*(np.array([4.0, 4.1]) for _ in range(2))))
    for curves in ({}, {"a": few}, {"a": few, "b": few}):
        found = judge(curves, level=0.95)
        assert (found.word, found.carrying, found.arms) == ("undecidable", (), {})


# A twin: the rule in words, arm by arm.


def roots(values):
    return [abs(a) ** 0.5 if a > 0 else -(abs(a) ** 0.5) for a in values.tolist()]


def above(values, bound):
    return float(stats.ttest_1samp(values, bound, alternative="greater").pvalue)


def below(values, bound):
    return float(stats.ttest_1samp(values, bound, alternative="less").pvalue)


def naive(curves, level):
    """What `judge` should say, from tests of one sample at a time."""
    arms = [one for one in curves.values() if len(one.exponents) >= 3]
    against = (
        [above(one.exponents, 0.05) for one in arms],
        [below(one.exponents, -0.05) for one in arms],
    )
    better = (
        [above(roots(one.advantage.faster), 0) for one in arms],
        [above(roots(one.advantage.slower), 0) for one in arms],
    )
    error = (1 - level) / 4
    for side in (0, 1):
        for p, q in zip(against[side], better[side], strict=True):
            if p < error / len(arms) and q < 0.05:
                return "contradicted"
        if len(arms) > 1:
            p, q = (
                stats.combine_pvalues(values, method="stouffer").pvalue
                for values in (against[side], better[side])
            )
            if p < error and q < 0.05:
                return "contradicted"
    if any(min(p, q) < 0.1 for p, q in zip(*against, strict=True)):
        return "undecidable"
    for number, one in enumerate(arms):
        within = max(below(one.exponents, 0.05), above(one.exponents, -0.05))
        if within < 0.35 * (1 - level) / 2 and min(b[number] for b in better) > 0.05:
            return "supported"
    return "undecidable"


def drawn(rng, *, most=5):
    """Arms of random means, spreads and numbers of seeds; all of one set lie alike."""
    middle, level = rng.choice([-0.1, 0.0, 0.03, 0.1, 0.2]), rng.choice([-1.5, 0.0, 0.7])
    found = {}
    for name in "abcde"[: rng.integers(1, most + 1)]:
        seeds = int(rng.integers(2, 7))
        exponents = middle + rng.choice([0.005, 0.03, 0.1]) * rng.standard_normal(seeds)
        faster, slower = level * np.sign(middle + 1e-9) * np.array([[1.0], [-1.0]])
        better = Advantage(
            faster + rng.standard_normal(seeds), slower - 1 + rng.standard_normal(seeds)
        )
        found[name] = ArmCurves(exponents, better)
    return found


def test_the_word_is_that_of_a_naive_loop_over_the_arms():
    rng = np.random.default_rng(0)
    words, together = [], 0
    for _ in range(600):
        curves, level = drawn(rng), rng.choice([0.8, 0.95])
        found = judge(curves, level=level)
        assert found.word == naive(curves, level)
        words.append(found.word)
        together += found.together
    for known in ("supported", "contradicted", "undecidable"):
        assert words.count(known) > 40
    assert together > 5


def test_one_arm_says_by_itself_what_is_judged_of_it():
    rng = np.random.default_rng(1)
    for _ in range(500):
        for name, curves in drawn(rng, most=1).items():
            if curves.exponents.size < LEAST_SEEDS:
                continue
            said = str(arm_words(curves.exponents, curves.advantage, level=0.95))
            found = judge({name: curves}, level=0.95)
            assert found.word == found.arms[name].word == said


def test_many_arms_are_judged_at_once_as_one_by_one():
    rng = np.random.default_rng(2)
    exponents = 0.05 + 0.03 * rng.standard_normal((6, 50, 4))
    better = Advantage(*(0.3 + rng.standard_normal((6, 50, 4)) for _ in range(2)))
    found = arm_words(exponents, better, level=0.8)
    assert found.shape == (6, 50)
    for place in itertools.product(range(6), range(50)):
        own = Advantage(better.faster[place], better.slower[place])
        assert found[place] == arm_words(exponents[place], own, level=0.8)


def test_names_order_and_arms_of_few_seeds_change_nothing():
    rng = np.random.default_rng(3)
    for _ in range(300):
        curves = drawn(rng)
        found = judge(curves, level=0.95)
        turned = {}
        for name, one in reversed(curves.items()):
            order = rng.permutation(one.exponents.size)
            better = Advantage(one.advantage.faster[order], one.advantage.slower[order])
            turned[f"arm {name}"] = ArmCurves(one.exponents[order], better)
            few = Advantage(np.array([9.0, 9.1]), np.array([9.0, 9.1]))
            turned[f"few {name}"] = ArmCurves(np.array([0.9, 0.91]), few)
        other = judge(turned, level=0.95)
        assert (other.word, other.together) == (found.word, found.together)
        assert set(other.carrying) == {f"arm {name}" for name in found.carrying}
        for name, said in found.arms.items():
            again = other.arms[f"arm {name}"].exponent
            assert (again.low, again.high) == pytest.approx(
                (said.exponent.low, said.exponent.high)
            )


# Which fits can speak.


def fits(statuses):
    """Fits of runs with these statuses and nothing else against them."""
    count = len(statuses)
    columns = {
        "exponent": np.zeros(count),
        "decades": np.full(count, 3.5),
        "onset": np.zeros(count),
        "first": np.ones(count, dtype=int),
        "last": np.full(count, 3000),
        "status": np.array(statuses),
        "reason": np.array([f"because {name}" for name in statuses]),
    }
    names = [f"r{k}" for k in range(count)]
    variables = {name: ("node", values) for name, values in columns.items()}
    return xr.Dataset(variables, coords={"node": names, "run": ("node", names)})


def test_disqualifying_statuses_are_known():
    assert set(DISQUALIFYING) <= set(status.STATUSES)


@pytest.mark.parametrize("name", sorted({*DISQUALIFYING} - {"weak_signal"}))
def test_an_exponent_that_is_no_estimate_is_left_out_with_its_reason(name):
    kept, left_out = usable(fits(["ok", name]))
    assert kept == ["r0"]
    assert left_out == {"r1": f"because {name}"}


def test_an_exponent_that_is_missing_is_left_out_with_its_reason():
    missing = fits(["ok", "too_few_points"]).assign(exponent=("node", [0.0, np.nan]))
    assert usable(missing) == (["r0"], {"r1": "because too_few_points"})


@pytest.mark.parametrize("name", ["noise_nonstationary", "onset_edge", "p_unbounded"])
def test_residuals_that_wander_and_open_intervals_leave_a_run_in(name):
    """The seeds are the sample: their spread says how well each exponent is known."""
    assert usable(fits([name]))[0] == ["r0"]


def test_late_onsets_leave_a_run_in():
    assert usable(fits(["ok"]).assign(onset=("node", [900.0])))[0] == ["r0"]


def test_two_and_a_half_decades_are_needed():
    short = fits(["ok", "ok"]).assign(decades=("node", [2.5, 2.4]))
    assert usable(short) == (
        ["r0"],
        {"r1": "2.40 decades of constant learning rate, 2.5 needed"},
    )


def recorded(times, distance):
    """A recording of these iterations and distances."""
    squares = (("iteration", "tensor"), np.asarray(distance, dtype=float)[:, None] ** 2)
    return xr.Dataset({"distance_sq": squares, "iteration": ("iteration", times)})


def test_records_that_begin_late_are_told_from_a_short_phase():
    short = fits(["ok", "ok"]).assign(
        decades=("node", [2.3, 2.3]), first=("node", [100, 100]), last=("node", [20_000, 20_000])
    )
    runs = {
        "r0": recorded([0, 100, 20_000], [0, 1, 2]),  # the phase is as long as the records
        "r1": recorded([0, 1, 100, 20_000], [0, 1, 2, 3]),  # the rate changed at 100
    }
    found = with_beginnings(short, runs)
    assert usable(found)[1] == {
        "r0": "the records span 2.30 decades of constant learning rate, from iteration 100 on, "
        "2.5 needed",
        "r1": "2.30 decades of constant learning rate, 2.5 needed",
    }
    # 20,000/10^2.5 = 63.2
    assert earlier_records(found) == "records from iteration 63 on at the latest"
    assert earlier_records(found.sel(node=["r1"])) == ""


def test_weights_that_rest_at_a_late_first_record_are_told():
    short = fits(["ok"]).assign(
        decades=("node", [0.04]), first=("node", [100_000]), last=("node", [110_000])
    )
    runs = {"r0": recorded([100_000, 100_001, 110_000], [0, 1, 2])}
    found = with_beginnings(short, runs)
    assert "though the distance is 0 at iteration 100,000" in usable(found)[1]["r0"]
    assert "`ultraslow import --shift -100000` does so" in earlier_records(found)
    moving = {"r0": recorded([100_000, 100_001, 110_000], [0.5, 1, 2])}
    assert "distance is 0" not in usable(with_beginnings(short, moving))[1]["r0"]


def test_a_run_without_a_constant_rate_says_what_it_lacks():
    lacking = fits(["ok", "ok"]).assign(
        last=("node", [0, 0]), reason=("node", ["the learning rate was not recorded", ""])
    )
    assert list(usable(lacking)[1].values()) == [
        "the learning rate was not recorded",
        "no phase of constant learning rate",
    ]


def test_runs_of_one_name_are_told_apart():
    same = fits(["weak_signal"] * 3).assign_coords(run=("node", ["same"] * 3))
    assert list(usable(same)[1]) == ["same", "same (2)", "same (3)"]


def test_vague_fits_are_told_to_become_clear_of_their_noise():
    vague = fits(["weak_signal", "weak_signal", "ok"])
    assert "weights move on" in shortage(vague)
    # Each once, whatever their signals are; a walk hides the growth, and is none of its lack.
    still = list(usable(vague)[1].values())
    assert still[0] == still[1] and "from iteration 1 on, up to 3000, the weights" in still[0]
    wobbly = vague.assign(noise_kind=("node", ["walk_log_t", "walk_t", "white"]))
    assert all("wobbles" in why for why in usable(wobbly)[1].values())
    assert "clear of the wobble" in shortage(wobbly)
    assert "more records" in shortage(fits(["ok", "ok"]))


def test_a_rate_that_never_stays_asks_for_one_that_does_and_not_for_longer_runs():
    cyclic = fits(["too_few_points"] * 2).assign(
        first=("node", [5000, 5000]), last=("node", [5000, 5000]), decades=("node", [0.0, 0.0])
    )
    assert shortage(cyclic).startswith("runs at a constant learning rate: it changes from record")


def test_the_run_whose_rate_is_constant_last_has_to_go_on_longest():
    # 20·10^2.5 = 6324.6
    late = fits(["ok", "ok", "ok"]).assign(
        first=("node", [1, 20, 7]), last=("node", [500, 900, 700])
    )
    assert shortage(late) == (
        "training on at the same constant learning rate until iteration 6325 or later; it was "
        "constant up to iteration 900, and 2.5 decades are needed"
    )
    unknown = shortage(fits(["ok"]).assign(last=("node", [0])))
    assert "`ultraslow import --learning-rate 0.001` says so" in unknown


def test_many_runs_left_out_are_counted_and_not_listed():
    few = {"a": "too short", "b": "too noisy"}
    assert told_apart(few) == ["left out a: too short", "left out b: too noisy"]
    many = {f"r{k}": "too short" for k in range(50)} | {"other": "too noisy"}
    assert told_apart(many) == ["left out 50 runs: too short", "left out 1 run: too noisy"]
    unlike = {f"r{k}": f"ends at {k}" for k in range(9)}
    assert told_apart(unlike)[-1] == "left out 5 runs for other reasons"


def test_a_sentence_counts_reasons_and_runs():
    assert mostly_left_out({"a": "too short"}, 1) == "The run cannot be used: too short."
    many = {"a": "x", "b": "y", "c": "x", "d": "z", "e": "u", "f": "v"}
    assert mostly_left_out(many, 8) == (
        "Only 2 of 8 runs can be used: x (2 runs); y (1 run); z (1 run); other reasons (2 runs)."
    )
