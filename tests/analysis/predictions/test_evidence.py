import math

import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.intervals import decision
from ultraslow.analysis.intervals.decision import decide
from ultraslow.analysis.predictions import evidence
from ultraslow.analysis.predictions.verdict import question
from ultraslow.diffusion.recording.fields import FIELDS

FEW = [0, 1, 2, 4, 8]


def arms(make, seeds, sizes=(64,), **options):
    return {
        f"b{size}-s{seed}": make(run=f"b{size}-s{seed}", batch_size=size, seed=seed, **options)
        for size in sizes
        for seed in range(seeds)
    }


def rule(low, high):
    return decide(low, high, 0.1)


def test_every_source_is_a_field_of_the_contract():
    assert set(evidence.SOURCES) <= set(FIELDS)


def test_a_mean_over_seeds_has_students_interval(make):
    runs = arms(make, 5, records=FEW)
    values = [0.1, 0.3, 0.2, 0.25, 0.15]
    (mean,) = evidence.arm_means(dict(zip(runs, values, strict=True)), runs, level=0.9)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    np.testing.assert_allclose([mean.low, mean.high], expected)
    assert mean.name == "mean of 5 seeds at batch size 64"


def test_arms_with_too_few_finite_numbers_have_no_mean(make):
    runs = arms(make, 4, sizes=(64, 256), records=FEW)
    numbers = dict.fromkeys(runs, 1.0) | {"b256-s0": np.nan}
    assert [mean.name for mean in evidence.arm_means(numbers, runs, level=0.95)] == [
        "mean of 4 seeds at batch size 64"
    ]


@pytest.mark.parametrize(
    ("second", "word"), [(0.0, "supported"), (0.5, "contradicted"), (0.09, "undecidable")]
)
def test_all_arms_support_and_one_contradicts(make, second, word):
    runs = arms(make, 4, sizes=(64, 256), records=FEW)
    wobble = np.tile([-0.02, -0.01, 0.01, 0.02], 2)
    numbers = dict(zip(runs, wobble + np.repeat([0.0, second], 4), strict=True))
    found, mean = evidence.judge_arms(numbers, runs, rule, level=0.95)
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
    assert evidence.judge_arms(numbers, alone, rule, level=0.95)[0] == "contradicted"
    assert evidence.judge_arms(numbers, runs, rule, level=0.95)[0] == "undecidable"


def test_what_no_run_recorded_is_named(make):
    runs = arms(make, 2, records=FEW)
    _, missing = evidence.comparable(runs, fields=("distance_sq", "step_sq"))
    assert missing.reason == "No run recorded step_sq."
    assert "'path'" in missing.needed


def test_a_field_that_is_nan_throughout_was_not_recorded(make):
    runs = {"r": make(records=FEW, loss=np.full(5, np.nan))}
    _, missing = evidence.comparable(runs, fields=("learning_rate", "sketch"))
    assert missing.reason == "No run recorded sketch."


def test_runs_that_differ_are_listed_and_refused(make):
    # Whatever its seed: that of another run makes it no copy.
    runs = arms(make, 2, records=FEW) | {"other": make(records=FEW, model="resnet20", seed=0)}
    _, missing = evidence.comparable(runs, fields=("distance_sq",))
    assert "model: resnet20, resnet8" in missing.reason
    assert "sets of equal runs apart" in missing.needed


def test_runs_without_the_field_are_left_out_and_a_copy_is_no_seed(make):
    runs = arms(make, 3, records=FEW, step_sq=np.ones((5, 3)))
    more = {"bare": make(seed=8, records=FEW), "copy": runs["b64-s0"]}
    kept, missing = evidence.comparable(runs | more, fields=("step_sq",))
    assert missing is None
    assert list(kept) == list(runs)


def test_a_run_without_the_field_does_not_stand_in_the_way_of_its_rerun(make):
    bare = arms(make, 3, records=FEW)
    whole = arms(make, 3, records=FEW, step_sq=np.ones((5, 3)))
    again = {f"{name}-again": run for name, run in whole.items()}
    kept, missing = evidence.comparable(bare | again, fields=("step_sq",))
    assert missing is None
    assert list(kept) == list(again)
    # Nor one that broke off, whichever comes first.
    short = arms(make, 3, records=FEW[:3], step_sq=np.ones((3, 3)))
    for runs in (short | again, again | short):
        assert list(evidence.comparable(runs, fields=("step_sq",))[0]) == list(again)


def test_an_undecided_verdict_carries_its_sample(make):
    runs = arms(make, 2, sizes=(64, 256), records=FEW)
    found = evidence.undecided(question("P9", "R"), runs, evidence.few_seeds(runs, "a path"))
    assert found.verdict == "undecidable"
    assert (found.sample.runs, found.sample.seeds, found.sample.batch_sizes) == (4, 2, (64, 256))
    assert "no arm has 4 with a path (2 seeds at most)" in found.reason


def test_copies_are_named_once_and_the_rest_is_counted(make):
    runs = arms(make, 5, records=FEW)
    assert evidence.repeated(runs) == ""
    one = runs | {"again": runs["b64-s0"]}
    assert evidence.repeated(one) == (
        "1 recording repeats the seed of another at the same batch size, rule and rate: b64-s0. "
        "Verdicts count one of each, the longest that recorded what they need."
    )
    all_twice = runs | {f"{name}-again": run for name, run in runs.items()}
    assert "and rate: b64-s0, b64-s1, b64-s2, …. Verdicts" in evidence.repeated(all_twice)


def test_the_sample_has_the_seeds_of_its_smallest_arm(make):
    runs = arms(make, 5, records=FEW) | arms(make, 3, sizes=(256,), records=FEW)
    found = evidence.sample(runs)
    assert (found.runs, found.seeds, found.batch_sizes) == (8, 3, (64, 256))


def ends(low, high):
    """Four numbers whose 95 % interval has these ends; t of 3 degrees of freedom is 3.182446."""
    spread = (high - low) / 2 / 3.182446 * 2
    shape = np.array([-1.5, -0.5, 0.5, 1.5])
    return (low + high) / 2 + spread * shape / shape.std(ddof=1)


def judged(make, rule, *intervals):
    runs = arms(make, 4, sizes=(64, 256)[: len(intervals)], records=FEW)
    numbers = np.concatenate([ends(*item) for item in intervals]).tolist()
    return evidence.judge_arms(dict(zip(runs, numbers, strict=True)), runs, rule, level=0.95)


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
    mean = evidence.Mean("m", math.log(2), 0.0, math.log(4), 4)
    assert mean.text(math.exp) == "2.000 [1.000, 4.000] (m)"
    assert mean.text() == "0.693 [0.000, 1.386] (m)"
    more = {"reason": "r", "assumptions": (), "needed": "seeds"}
    runs = arms(make, 1, records=FEW)
    for word, needed in (("supported", ""), ("contradicted", ""), ("undecidable", "seeds")):
        found = evidence.decided(question("P9", "R"), runs, word, mean, **more)
        assert (found.verdict, found.needed) == (word, needed)
        ratios = (found.effect, found.effect_low, found.effect_high)
        assert ratios == pytest.approx((2.0, 1.0, 4.0))
