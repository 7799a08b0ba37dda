import math

import numpy as np
import pytest

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.predictions.batch_size.collapse import collapse, collapse_in_rate
from ultraslow.analysis.predictions.batch_size.slope_law import SlopeLaw, exponents, slope_law
from ultraslow.analysis.runs.arms import Arm
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording.schedule import log_spaced

KNOWN = Interval(0.25, 0.2, 0.3, 4)


def test_a_combination_of_another_rule_is_not_held_against_the_claim():
    found = SlopeLaw(combined={0.5: KNOWN}, arms=3, reason="a", needed="b")
    assert "x/2 − y = 0.250 [0.200, 0.300] (mean of 4 seeds over 3 arms)" in found.text(1.0)
    assert "x/2 − y = 0.250 [0.200, 0.300], where coinciding curves need 0" in found.text(0.5)
    assert found.text(0.5).endswith("not identified apart, as a (would tell: b)")


def test_where_nothing_is_identified_the_reason_stands_alone():
    text = SlopeLaw(reason="a", needed="b").text(0.5)
    assert text == "log-slopes b ∝ η^x·M^−y: x and y not identified, as a (would tell: b)"


def test_three_arms_that_were_left_out_are_named_and_more_are_hinted_at():
    assert (
        SlopeLaw(reason="a", needed="b", left_out=("c", "d")).text(1.0).endswith("left out: c, d")
    )
    many = SlopeLaw(rate=KNOWN, arms=4, departure=math.nan, left_out=tuple("cdefg"))
    assert many.text(1.0).endswith("over 4 arms); left out: c, d, e, …")


TIMES = log_spaced(3000, per_decade=10)
# (batch size, rate, rule) with rates off one power of M.
SPREAD = ((64, 0.05, "sqrt"), (256, 0.1, "sqrt"), (1024, 0.2, "sqrt"), (1024, 0.05, "fixed"))
TIED = SPREAD[:3]


def study(make, x, y, *, arms=SPREAD, seeds=4, spread=0.0, rng=None, **options):
    """Runs whose distance is 1 + b·ln t with b = (η/0.05)^x·(64/M)^y and a factor for each run."""
    rng = rng or np.random.default_rng(0)
    runs = {}
    for size, rate, rule in arms:
        for seed in range(seeds):
            slope = (rate / 0.05) ** x * (64 / size) ** y
            slope *= math.exp(spread * rng.standard_normal())
            chosen = {"batch_size": size, "rate": rate, "scaling": rule, "seed": seed}
            fixed = {"slope": slope, "noise": 0.0, "records": TIMES}
            runs[f"{rule}{size}-s{seed}"] = make(**{**chosen, **fixed, **options})
    return runs


def test_a_short_arm_does_not_end_what_others_show(make):
    runs = study(make, 1.0, 0.5)
    short = study(make, 3.0, 0.5, arms=((256, 0.4, "fixed"),))
    short = {name: run.isel(iteration=slice(0, 25)) for name, run in short.items()}
    alone, found = slope_law(Study(runs)), slope_law(Study(runs | short))
    assert (found.rate, found.size, found.arms) == (alone.rate, alone.size, alone.arms)
    assert any("ends before most others" in text for text in found.left_out)


@pytest.mark.parametrize(("x", "y"), [(1.0, 0.5), (1.0, 1.0), (0.4, -0.2), (0.0, 0.0)])
def test_known_exponents_come_back(make, x, y):
    found = slope_law(Study(study(make, x, y)))
    assert (found.rate.value, found.size.value) == pytest.approx((x, y), abs=1e-6)
    assert found.combined[0.5].value == pytest.approx(x / 2 - y, abs=1e-6)
    assert found.combined[1.0].value == pytest.approx(x - y, abs=1e-6)
    assert found.arms == 4 and found.departure == pytest.approx(0, abs=1e-6)
    assert (found.reason, found.needed) == ("", "")


def test_exponents_and_intervals_are_those_worked_out_by_hand(make):
    """Three arms and two parameters beside the constant: differences of ln b solve for x and y."""
    arms = ((64, 0.05, "sqrt"), (64, 0.2, "fixed"), (256, 0.05, "fixed"))
    runs = study(make, 1.0, 0.5, arms=arms, seeds=3, spread=0.1)
    b = {name: _slope(run) for name, run in runs.items()}
    x = [math.log(b[f"fixed64-s{s}"] / b[f"sqrt64-s{s}"]) / math.log(4) for s in range(3)]
    y = [math.log(b[f"sqrt64-s{s}"] / b[f"fixed256-s{s}"]) / math.log(4) for s in range(3)]
    found = slope_law(Study(runs))
    assert (found.rate.value, found.size.value) == pytest.approx((np.mean(x), np.mean(y)))
    # t of two degrees of freedom at 97.5 % is 4.3027 (tables).
    half = 4.3027 * np.std(x, ddof=1) / math.sqrt(3)
    assert found.rate.high - found.rate.value == pytest.approx(half, rel=1e-4)
    together = np.array(x) / 2 - np.array(y)
    half = 4.3027 * np.std(together, ddof=1) / math.sqrt(3)
    assert found.combined[0.5].value - found.combined[0.5].low == pytest.approx(half, rel=1e-4)
    assert math.isnan(found.departure)


def _slope(run):
    """The slope in ln t between 300 and 3000 by its textbook formula."""
    last = run["iteration"].values >= 300
    time = np.log(run["iteration"].values[last])
    distance = np.sqrt(run["distance_sq"].values[last].sum(axis=1))
    return np.cov(time, distance)[0, 1] / time.var(ddof=1)


def test_under_one_rule_only_its_combination_is_identified(make):
    found = slope_law(Study(study(make, 1.0, 0.3, arms=TIED)))
    assert found.rate is None and found.size is None
    assert list(found.combined) == [0.5]
    assert found.combined[0.5].value == pytest.approx(0.2, abs=1e-6)
    assert found.reason == "η ∝ M^0.5 in all arms used"
    assert found.needed == "batch size 1024 at rate 0.05 as well, with the same seeds"


@pytest.mark.parametrize(
    ("arms", "power", "mean", "reason"),
    [
        (((64, 0.1, "linear"), (256, 0.4, "linear")), 1.0, 0.7, "η ∝ M^1 in all arms used"),
        (((64, 0.1, "fixed"), (256, 0.1, "fixed")), 0.0, -0.3, "all arms used have one rate"),
        (((64, 0.1, ""), (256, 0.1 * 4**0.25, "")), 0.25, -0.05, "η ∝ M^0.25 in all arms used"),
    ],
)
def test_other_rules_leave_their_own_combination(make, arms, power, mean, reason):
    found = slope_law(Study(study(make, 1.0, 0.3, arms=arms)))
    (known,) = found.combined
    assert known == pytest.approx(power, abs=1e-3)
    assert found.combined[known].value == pytest.approx(mean, abs=1e-3)
    assert found.reason == reason
    assert found.rate is None and found.size is None


def test_one_batch_size_tells_the_exponent_of_the_rate_alone(make):
    found = slope_law(Study(study(make, 0.8, 5.0, arms=((64, 0.05, "a"), (64, 0.2, "b")))))
    assert found.rate.value == pytest.approx(0.8, abs=1e-6)
    assert found.size is None and found.combined is None
    assert found.reason == "all arms used are at batch size 64"


def test_a_rule_is_told_from_rates_of_few_digits_and_from_other_powers(make):
    # 0.1414 for 0.1·√2 is the power 0.49978; 0.1·2^0.45 is no rule.
    for rate, power in ((0.1414, 0.5), (0.1 * 2**0.45, pytest.approx(0.45, rel=1e-3))):
        found = slope_law(Study(study(make, 1.0, 0.3, arms=((64, 0.1, "a"), (128, rate, "a")))))
        assert list(found.combined) == [power]


def test_intervals_are_at_the_level_asked_for(make):
    """Student's, which grow with the level like its quantiles: 6.9646 and 2.9200 at 3 seeds."""
    cases = {"x": ((64, 0.05, "a"), (64, 0.2, "b")), "tied": TIED, "both": SPREAD}
    for case, arms in cases.items():
        runs = study(make, 1.0, 0.5, arms=arms, seeds=3, spread=0.1)
        wide, narrow = (slope_law(Study(runs, level)) for level in (0.98, 0.9))
        pairs = [(wide.rate, narrow.rate), (wide.size, narrow.size)]
        pairs += [(one, narrow.combined[r]) for r, one in (wide.combined or {}).items()]
        halves = [(one.high - one.low, other.high - other.low) for one, other in pairs if one]
        assert len(halves) == {"x": 1, "tied": 1, "both": 4}[case]
        for one, other in halves:
            assert one / other == pytest.approx(6.9646 / 2.9200, rel=1e-4)


def test_departures_are_those_of_the_line_that_is_left(make):
    # ln b of 0, ln 3, 0 at equal steps of ln η or ln M: a line leaves ln 3·(−1, 2, −1)/3.
    for arms in (
        ((64, 0.05, "a"), (64, 0.1, "b"), (64, 0.2, "c")),
        ((64, 0.1, "a"), (256, 0.1, "b"), (1024, 0.1, "c")),
    ):
        bent = study(make, 1.0, 0.5, slope=3.0, arms=arms[1:2])
        found = slope_law(Study(study(make, 1.0, 0.5, slope=1.0, arms=arms) | bent))
        assert found.departure == pytest.approx(np.expm1(math.log(3) * 2 / 3), rel=1e-6)


@pytest.mark.parametrize("factor", [3.0, 1 / 3])
def test_an_arm_off_the_power_law_shows_as_a_departure(make, factor):
    runs = study(make, 1.0, 0.5)
    bent = study(make, 1.0, 0.5, slope=factor, arms=SPREAD[1:2])
    found = slope_law(Study(runs | bent))
    # Four arms and three parameters: what is left lies along (1, −2, 1, 0)/√6, as the first three
    # are even in ln M on one rule. ln 1.5 = ½·ln 9/4 enters with −2/√6.
    left = math.log(factor) * np.array([-2, 4, -2, 0]) / 6
    assert found.departure == pytest.approx(np.abs(np.expm1(left)).max(), rel=1e-6)


SHORT = {
    "one arm": ({"arms": TIED[:1]}, "1 arm of 2 seeds or more"),
    "one seed": ({"seeds": 1}, "0 arms of 2 seeds or more"),
    "at rest": ({"slope": 0.0}, "the distance of 16 runs does not grow"),
    "sparse": (
        {"records": [0, 1, 30, 100, 300, 1000, 3000]},
        "16 runs have fewer than 5 known distances in the last common decade, iterations 300 to",
    ),
    "short": ({"records": np.arange(9)}, "the runs share no decade"),
    "no rate": ({"learning_rate": None}, "no run recorded learning_rate"),
    "full batch": ({"data_size": 64}, "no run has the noise of its batches alone"),
}


@pytest.mark.parametrize("case", SHORT)
def test_what_is_missing_is_said(make, case):
    options, reason = SHORT[case]
    found = slope_law(Study(study(make, 1.0, 0.5, **options)))
    assert found.rate is None and found.combined is None and found.arms == 0
    assert reason in found.reason and found.needed
    assert "x and y not identified, as " in found.text(0.5)


def test_seeds_that_only_some_arms_have_do_not_enter(make):
    runs = study(make, 1.0, 0.5, seeds=4)
    del runs["fixed1024-s3"]
    assert slope_law(Study(runs)).rate.n == 3
    other = {
        name: run.assign_coords(seed=f"{run['scaling'].item()}{int(run['seed'])}")
        for name, run in runs.items()
    }
    assert slope_law(Study(other)).reason == "the arms share 0 seeds"


def test_an_arm_with_too_few_seeds_is_named_and_its_seeds_are_what_is_needed(make):
    runs = study(make, 1.0, 0.5)
    found = slope_law(Study({n: run for n, run in runs.items() if n not in OFF_RULE}))
    assert found.left_out == ("batch size 1024 at rate 0.05 has 1 seed, 2 needed",)
    assert found.reason == "η ∝ M^0.5 in all arms used"
    assert found.needed == (
        "2 seeds or more of batch size 1024 at rate 0.05, the same as in the other arms"
    )
    assert found.text(0.5).endswith(f"); left out: {found.left_out[0]}")


def test_no_more_seeds_are_asked_for_where_they_would_not_tell(make):
    # Of an arm off the rule once x and y are known, of one on the rule, where none grows.
    one = study(make, 1.0, 0.5, arms=((4096, 0.1, "fixed"),), seeds=1)
    found = slope_law(Study(study(make, 1.0, 0.5) | one))
    assert (found.reason, found.needed) == ("", "")
    assert found.left_out == ("batch size 4096 at rate 0.1 has 1 seed, 2 needed",)
    on = study(make, 1.0, 0.5, arms=((4096, 0.4, "sqrt"),), seeds=1)
    found = slope_law(Study(study(make, 1.0, 0.5, arms=TIED) | on))
    assert found.needed == "batch size 1024 at rate 0.05 as well, with the same seeds"
    off = study(make, 1.0, 0.5, arms=SPREAD[3:], seeds=1)
    found = slope_law(Study(study(make, 1.0, 0.5, arms=TIED, slope=0.0) | off))
    assert found.needed == "arms whose distance still grows"
    found = slope_law(Study(study(make, 1.0, 0.5, seeds=1)))
    assert found.needed == "arms at other rates and batch sizes, 2 seeds"


def test_rates_that_fall_with_the_batch_size_ask_for_the_first_rate_at_the_largest(make):
    arms = ((64, 0.2, "a"), (256, 0.1, "a"), (1024, 0.05, "a"))
    found = slope_law(Study(study(make, 1.0, 0.3, arms=arms)))
    assert list(found.combined) == [pytest.approx(-0.5)]
    assert found.needed == "batch size 1024 at rate 0.2 as well, with the same seeds"


OFF_RULE = ("fixed1024-s1", "fixed1024-s2", "fixed1024-s3")


def test_arms_without_noise_or_rate_are_named(make):
    still = study(make, 1.0, 0.5, arms=((4096, 0.4, "sqrt"),), data_size=4096)
    lost = study(make, 1.0, 0.5, arms=((512, 0.4, "sqrt"),), learning_rate=None)
    found = slope_law(Study(study(make, 1.0, 0.5) | still | lost))
    assert found.rate.value == pytest.approx(1.0, abs=1e-6)
    assert found.left_out == (
        "batch size 512 has no known rate",
        "batch size 4096 at rate 0.4 is near the whole training set or lacks distances",
    )


def test_added_noise_is_none_of_the_batch_size(make):
    heated = study(make, 5.0, 0.5, arms=((1024, 0.2, "sqrt"),))
    heated = {
        f"h-{n}": r.assign_attrs(config='{"gradient_noise": 0.1}') for n, r in heated.items()
    }
    found = slope_law(Study(study(make, 1.0, 0.5) | heated))
    assert (found.rate.value, found.size.value) == pytest.approx((1.0, 0.5), abs=1e-6)
    assert found.left_out == (
        "batch size 1024 with added noise 0.1 at rate 0.2 does not owe its noise to its batches",
    )


def test_arms_near_the_full_batch_do_not_bend_the_law(make):
    """At 4096 of 5000 samples the noise is 0.18 of ∝ 1/M; a slope for that is no power of M."""
    runs = study(make, 1.0, 0.5, data_size=50_000)
    large = study(make, 5.0, 0.5, arms=((4096, 0.4, "sqrt"),), data_size=5000)
    found = slope_law(Study(runs | large))
    assert (found.rate.value, found.size.value) == pytest.approx((1.0, 0.5), abs=1e-6)
    assert found.left_out[0].startswith("batch size 4096 at rate 0.4 is near the whole")


@pytest.mark.parametrize(
    ("arms", "needed"),
    [
        (
            ((64, 0.05, "a"), (256, 0.05, "a"), (1024, 0.07, "a")),
            "batch size 1024 at a rate 1.5 times 0.07 or more",
        ),
        ((*TIED, (1024, 0.28, "b")), "batch size 1024 at rate 0.05 as well"),
    ],
)
def test_rates_near_a_power_of_the_size_follow_no_rule(make, arms, needed):
    found = slope_law(Study(study(make, 1.0, 0.3, arms=arms)))
    assert found.reason == "η and M of the arms used are too close to collinear to tell them apart"
    assert found.needed == f"{needed}, with the same seeds"
    assert found.rate is None and found.size is None
    # At the power nearest to the rates, what is left of them is orthogonal to the sizes.
    (power,) = found.combined
    assert found.combined[power].value == pytest.approx(power - 0.3, abs=1e-6)


@pytest.mark.parametrize("rule", ["a", "b"])
def test_the_arm_that_is_said_to_be_needed_would_tell(make, rule):
    rates = {"a": (0.05, 0.05, 0.07), "b": (0.05, 0.05, 0.05)}[rule]
    tied = tuple(zip((64, 256, 1024), rates, "xyz", strict=True))
    assert "1.5 times" in slope_law(Study(study(make, 1.0, 0.3, arms=tied))).needed
    found = slope_law(Study(study(make, 1.0, 0.3, arms=(*tied, (1024, 1.5 * rates[-1], "w")))))
    assert (found.rate.value, found.size.value) == pytest.approx((1.0, 0.3), abs=1e-6)


def test_sizes_that_differ_a_little_do_not_count_as_one(make):
    """x would take up what y does: ln(64/90)·3/ln 4 = −0.74 for x = 0, y = 3."""
    found = slope_law(Study(study(make, 0.0, 3.0, arms=((64, 0.05, "a"), (90, 0.2, "a")))))
    assert found.rate is None and found.combined is None
    assert found.reason == "batch sizes 64 to 90 of the arms used are too close together"


def test_runs_that_should_not_be_compared_are_refused(make):
    runs = study(make, 1.0, 0.5) | {"x": make(model="resnet20", batch_size=512)}
    assert "model: resnet20, resnet8" in slope_law(Study(runs)).reason


def test_the_order_of_runs_and_the_unit_of_the_rate_do_not_matter(make):
    runs = study(make, 1.0, 0.5, spread=0.1)
    turned = dict(reversed(runs.items()))
    scaled = {
        name: run.assign({key: 7 * run[key] for key in ("learning_rate", "learning_rate_sum")})
        for name, run in runs.items()
    }
    found = slope_law(Study(runs))
    for other in (slope_law(Study(turned)), slope_law(Study(scaled))):
        assert other.rate.low == pytest.approx(found.rate.low, abs=1e-3)
        assert other.size.high == pytest.approx(found.size.high, abs=1e-3)


def test_it_stands_beside_the_verdicts_of_both_rules(make):
    runs = study(make, 1.0, 0.5, spread=0.01)
    (text,) = [item for item in collapse(Study(runs)).assumptions if item.startswith("log-slopes")]
    assert "x/2 − y = " in text and "x − y = " not in text
    assert "y = 0.5" in text and "mean of 4 seeds over 4 arms" in text
    found = collapse_in_rate(Study(runs))  # undecidable, as no run follows the linear rule
    assert found.verdict == "undecidable"
    assert "x − y = 0.5" in found.assumptions[0] or "x − y = 0.4" in found.assumptions[0]
    (tied,) = [
        item
        for item in collapse(Study(study(make, 1.0, 0.5, arms=TIED))).assumptions
        if item.startswith("log-slopes")
    ]
    assert tied == (
        "log-slopes b ∝ η^x·M^−y: x/2 − y = 0.000 [0.000, 0.000], where coinciding curves need 0 "
        "(mean of 4 seeds over 3 arms, which depart from it by 0.0% at most), x and y not "
        "identified apart, as η ∝ M^0.5 in all arms used (would tell: batch size 1024 at rate "
        "0.05 as well, with the same seeds)"
    )


def test_intervals_hold_the_truth_as_often_as_they_say(make):
    """ln b = x·ln η − y·ln M + seed + run, with spreads that differ by arm; 95 % t intervals."""

    known = [Arm(size, rule, rate) for size, rate, rule in SPREAD]
    rng, held, sets = np.random.default_rng(3), np.zeros(3), 1000
    truth = np.array([0.9, 0.4, 0.05])
    middle = np.array([0.9 * math.log(a.rate) - 0.4 * math.log(a.batch_size) for a in known])
    for _ in range(sets):
        seeds = 0.3 * rng.standard_normal(4) + 0.1 * rng.standard_normal((4, 4))
        logs = middle[:, None] + seeds * np.array([1.0, 1.0, 1.5, 2.0])[:, None]
        found = exponents(known, logs, level=0.95)
        ends = (found.rate, found.size, found.combined[0.5])
        held += [one.low <= value <= one.high for one, value in zip(ends, truth, strict=True)]
    # Binomial: 0.95 ± 3·√(0.95·0.05/1000).
    assert np.abs(held / sets - 0.95).max() < 0.0207
