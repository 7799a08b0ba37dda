import math
import re

import numpy as np
import pytest

from ultraslow.analysis.intervals import decision
from ultraslow.analysis.predictions import evidence
from ultraslow.analysis.predictions.means import Zone
from ultraslow.analysis.predictions.verdict import question
from ultraslow.analysis.study import Missing, Study

FEW = [0, 1, 2, 4, 8]


def arms(make, seeds, sizes=(64,), **options):
    return {
        f"b{size}-s{seed}": make(run=f"b{size}-s{seed}", batch_size=size, seed=seed, **options)
        for size in sizes
        for seed in range(seeds)
    }


ZONE = Zone.within(0.1)


def test_arms_are_named_and_those_of_few_finite_numbers_do_not_enter(make):
    runs = arms(make, 4, sizes=(64, 256), records=FEW)
    numbers = dict(zip(runs, np.tile([-0.02, -0.01, 0.01, 0.02], 2), strict=True))
    found = evidence.judge_arms(Study(runs), (numbers, ZONE))
    assert found.names == ("batch size 64", "batch size 256")
    found = evidence.judge_arms(Study(runs), (numbers | {"b256-s0": np.nan}, ZONE))
    assert found.names == ("batch size 64",)
    assert found.mean.name == "mean of 4 seeds at batch size 64"
    assert list(found.entered.runs) == [f"b64-s{seed}" for seed in range(4)]
    assert evidence.judge_arms(Study(runs), (dict.fromkeys(runs, np.nan), ZONE)) is None


def test_the_other_arms_that_say_so_are_told(make):
    runs = arms(make, 4, sizes=(64, 256, 1024), records=FEW)
    wobble = np.array([-0.02, -0.01, 0.01, 0.02])
    for shifts, words in (
        ((0.5, 0.6, 0.0), " So does batch size 64."),
        ((0.5, 0.6, 0.7), " So do 2 other arms."),
        ((0.0, 0.6, 0.0), ""),
    ):
        values = np.concatenate([wobble + shift for shift in shifts])
        numbers = dict(zip(runs, values, strict=True))
        assert evidence.judge_arms(Study(runs), (numbers, ZONE)).others == words


def test_arms_of_one_batch_size_are_told_apart(make):
    runs = arms(make, 4, records=FEW)
    runs |= {f"r{name}": run.assign_coords(scaling="fixed") for name, run in runs.items()}
    titles = set(evidence.arm_titles(Study(runs)).values())
    assert titles == {"batch size 64, sqrt", "batch size 64, fixed"}


def test_usable_runs_of_an_arm_are_to_be_at_least_half_of_those_tried(make):
    study = Study(arms(make, 6, sizes=(64, 256), records=FEW))
    usable = [f"b64-s{seed}" for seed in range(3)] + [f"b256-s{seed}" for seed in range(2)]
    assert list(evidence.mostly(study, usable).runs) == usable[:3]


def test_runs_are_compared_as_long_as_most_go_on():
    ends = {"a": 1500.0, "b": 1500.0, "c": 1500.0, "d": 400.0}
    assert evidence.most_seen(ends, lambda names: len(names) >= 3) == ["a", "b", "c"]
    # One that goes on for much longer does not take the others away.
    assert evidence.most_seen(ends | {"e": 1e6}, bool) == ["a", "b", "c", "e"]
    assert evidence.most_seen(ends, lambda names: "d" in names) == list("abcd")
    assert evidence.most_seen(ends, lambda names: len(names) > 4) == []
    assert evidence.most_seen({}, bool) == []


def test_an_undecided_verdict_carries_its_sample(make):
    study = Study(arms(make, 2, sizes=(64, 256), records=FEW))
    found = question("P9", "R").lacking(evidence.few_seeds(study, "a path"), study.sample)
    assert found.verdict == "undecidable"
    assert (found.sample.runs, found.sample.seeds, found.sample.batch_sizes) == (4, 2, (64, 256))
    assert (
        "no arm has 4 with a path (2 seeds at most, at batch size 64, batch size 256)"
        in found.reason
    )


def test_one_word_for_several():
    assert decision.overall(["supported", "contradicted"]) == "contradicted"
    assert decision.overall(["supported", "supported"]) == "supported"
    assert decision.overall(["supported", "undecidable"]) == "undecidable"
    assert decision.overall([]) == "undecidable"


def test_what_is_decided_on_logarithms_is_told_as_a_ratio(make):
    runs = arms(make, 4, records=FEW)
    shape = np.array([-0.02, -0.01, 0.01, 0.02])
    for shift, word in ((0.0, "supported"), (1.0, "contradicted"), (0.1, "undecidable")):
        numbers = dict(zip(runs, math.log(2) + shift + shape, strict=True))
        zone = Zone.within(0.1, math.log(2))
        found = evidence.judge_arms(Study(runs), (numbers, zone))
        more = {"reason": "r", "assumptions": (), "span": (1.0, 8.0)}
        told = evidence.decided_by_arms(question("P9", "R"), Study(runs), found, **more)
        assert told.verdict == word
        assert told.effect == pytest.approx(2 * math.exp(shift))
        assert told.null == pytest.approx((2 * math.exp(-0.1), 2 * math.exp(0.1)))
        assert told.effect_meaning == "R, mean of 4 seeds at batch size 64"
        assert bool(told.needed) == (word == "undecidable")


def test_where_no_number_of_seeds_decides_something_else_is_advised(make):
    runs = arms(make, 4, records=FEW)
    numbers = dict(zip(runs, 0.1 + np.array([-0.02, -0.01, 0.01, 0.02]), strict=True))
    found = evidence.judge_arms(Study(runs), (numbers, ZONE))
    more = {"reason": "r", "assumptions": (), "span": (1.0, 8.0)}
    blank = question("P9", "R")
    longer = Missing("", "training on", 8.0, 80.0, "iterations")
    told = evidence.decided_by_arms(blank, Study(runs), found, longer=longer, **more)
    assert (told.needed, told.have, told.need) == ("training on", 8.0, 80.0)
    told = evidence.decided_by_arms(blank, Study(runs), found, **more)
    assert re.match(r"nothing up to \d+ seeds an arm, as the mean may lie near", told.needed)
    assert math.isnan(told.need) and told.unit == ""


def test_runs_that_are_left_out_are_named(make):
    study = Study(arms(make, 4, records=FEW))
    (note,) = evidence.left_out(study, study.part(["b64-s0"]), "too short")
    assert note == "3 runs left out: too short (b64-s1, b64-s2, b64-s3)"
    assert evidence.left_out(study, study, "too short") == ()
