import math

import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.intervals import Interval, decision
from ultraslow.analysis.intervals.decision import decide
from ultraslow.analysis.predictions import evidence
from ultraslow.analysis.predictions.verdict import question
from ultraslow.analysis.study import Study

FEW = [0, 1, 2, 4, 8]


def arms(make, seeds, sizes=(64,), **options):
    return {
        f"b{size}-s{seed}": make(run=f"b{size}-s{seed}", batch_size=size, seed=seed, **options)
        for size in sizes
        for seed in range(seeds)
    }


def rule(low, high):
    return decide(low, high, 0.1)


def test_a_mean_over_seeds_has_students_interval(make):
    runs = arms(make, 5, records=FEW)
    values = [0.1, 0.3, 0.2, 0.25, 0.15]
    (mean,) = evidence.arm_means(Study(runs, 0.9), dict(zip(runs, values, strict=True)))
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    np.testing.assert_allclose([mean.low, mean.high], expected)
    assert mean.name == "mean of 5 seeds at batch size 64"


def test_arms_with_too_few_finite_numbers_have_no_mean(make):
    runs = arms(make, 4, sizes=(64, 256), records=FEW)
    numbers = dict.fromkeys(runs, 1.0) | {"b256-s0": np.nan}
    assert [mean.name for mean in evidence.arm_means(Study(runs), numbers)] == [
        "mean of 4 seeds at batch size 64"
    ]


@pytest.mark.parametrize(
    ("second", "word"), [(0.0, "supported"), (0.5, "contradicted"), (0.09, "undecidable")]
)
def test_all_arms_support_and_one_contradicts(make, second, word):
    runs = arms(make, 4, sizes=(64, 256), records=FEW)
    wobble = np.tile([-0.02, -0.01, 0.01, 0.02], 2)
    numbers = dict(zip(runs, wobble + np.repeat([0.0, second], 4), strict=True))
    found, mean = evidence.judge_arms(Study(runs), numbers, rule)
    assert found == word
    assert ("256" in mean.name) == (second > 0)


def test_a_contradiction_needs_an_interval_that_holds_jointly(make):
    numbers = {}
    runs = arms(make, 4, sizes=(64, 128, 256, 512, 1024), records=FEW)
    wobble = 0.05 * np.array([-1.5, -0.5, 0.5, 1.5]) / np.std([-1.5, -0.5, 0.5, 1.5], ddof=1)
    for name in runs:
        numbers[name] = wobble[int(name[-1])] / 50 + (0.0 if "1024" not in name else 0.0)
    for name in [name for name in runs if "1024" in name]:
        numbers[name] = 0.21 + wobble[int(name[-1])]
    # 0.21 ± 4.18 · 0.025 at 97.5 % excludes 0.1; ± 7.45 · 0.025 at 99.5 %, as one of five, not.
    alone = {name: run for name, run in runs.items() if "1024" in name}
    assert evidence.judge_arms(Study(alone), numbers, rule)[0] == "contradicted"
    assert evidence.judge_arms(Study(runs), numbers, rule)[0] == "undecidable"


def test_an_undecided_verdict_carries_its_sample(make):
    study = Study(arms(make, 2, sizes=(64, 256), records=FEW))
    found = question("P9", "R").lacking(evidence.few_seeds(study, "a path"), study.sample)
    assert found.verdict == "undecidable"
    assert (found.sample.runs, found.sample.seeds, found.sample.batch_sizes) == (4, 2, (64, 256))
    assert "no arm has 4 with a path (2 seeds at most)" in found.reason


def ends(low, high):
    """Four numbers whose 95 % interval has these ends; t of 3 degrees of freedom is 3.182446."""
    spread = (high - low) / 2 / 3.182446 * 2
    shape = np.array([-1.5, -0.5, 0.5, 1.5])
    return (low + high) / 2 + spread * shape / shape.std(ddof=1)


def judged(make, rule, *intervals):
    runs = arms(make, 4, sizes=(64, 256)[: len(intervals)], records=FEW)
    numbers = np.concatenate([ends(*item) for item in intervals]).tolist()
    return evidence.judge_arms(Study(runs), dict(zip(runs, numbers, strict=True)), rule)


def test_the_arm_that_is_named_reaches_farthest(make):
    # Both support; the second's interval reaches farther though its mean lies nearer to 0.
    word, mean = judged(make, rule, (0.02, 0.03), (-0.08, 0.09))
    assert word == "supported" and "256" in mean.name
    assert (mean.low, mean.high) == pytest.approx((-0.08, 0.09), abs=1e-6)


def test_the_arm_that_leaves_it_open_is_named_and_not_one_that_supports(make):
    def below(low, high):
        return "supported" if high < -1 else "contradicted" if low > 5 else "undecidable"

    word, mean = judged(make, below, (-9.0, -8.0), (-2.0, 0.0))
    assert word == "undecidable" and "256" in mean.name


def test_one_word_for_several():
    assert decision.overall(["supported", "contradicted"]) == "contradicted"
    assert decision.overall(["supported", "supported"]) == "supported"
    assert decision.overall(["supported", "undecidable"]) == "undecidable"
    assert decision.overall([]) == "undecidable"


def test_what_is_decided_on_logarithms_is_told_as_a_ratio(make):
    mean = Interval(math.log(2), 0.0, math.log(4), 4, "m")
    assert evidence.named(mean, math.exp) == "2.000 [1.000, 4.000] (m)"
    assert evidence.named(mean) == "0.693 [0.000, 1.386] (m)"
    more = {"reason": "r", "assumptions": (), "needed": "seeds"}
    runs = arms(make, 1, records=FEW)
    for word, needed in (("supported", ""), ("contradicted", ""), ("undecidable", "seeds")):
        found = evidence.decided_by_arms(question("P9", "R"), Study(runs), word, mean, **more)
        assert (found.verdict, found.needed) == (word, needed)
        ratios = (found.effect, found.effect_low, found.effect_high)
        assert ratios == pytest.approx((2.0, 1.0, 4.0))
