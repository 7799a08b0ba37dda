"""Runs that differ from the other seeds of their arm."""

import numpy as np
import pytest

from ultraslow.analysis.runs import odd_in_words, odd_runs, traits
from ultraslow.analysis.runs.odd import _ratios, odd_one

RECORDS = np.unique(np.round(np.geomspace(1, 10_000, 41)).astype(int))


def arm(make, **changed):
    """Five seeds that grow like ln t within 1 %, one of them changed."""
    runs = {}
    for seed in range(5):
        own = changed if seed == 3 else {}
        scale = own.pop("scale", 1.0) if own else 1.0
        run = make(run=f"s{seed}", seed=seed, records=RECORDS, noise=0.01, **own)
        runs[f"s{seed}"] = run.assign(distance_sq=run["distance_sq"] * scale**2)
    return runs


def odd(runs):
    return odd_runs(runs, {name: traits(run) for name, run in runs.items()})


def test_the_ratio_is_that_of_a_run_to_the_spread_of_the_others():
    values = np.array([0.1, 0.3, 0.2, 0.9, 0.25])
    for place, ratio in enumerate(_ratios(values)):
        others = np.delete(values, place)
        assert ratio == pytest.approx(abs(values[place] - others.mean()) / others.std(ddof=1))


@pytest.mark.parametrize("draw", ["normal", "student"])
@pytest.mark.parametrize("count", [4, 5, 6, 7, 8, 9, 10])
def test_of_like_seeds_one_in_a_hundred_arms_is_said_to_have_an_odd_one(count, draw):
    """At most 0.5 % of arms for each of two measures: 4,000 have 20 ± 4.5."""
    rng = np.random.default_rng([7, count])
    shape = (4000, count)
    values = rng.standard_normal(shape) if draw == "normal" else rng.standard_t(4, shape)
    false = sum(odd_one(row) is not None for row in values)
    assert false <= 20 + 3 * 4.5
    # Not by never saying so: one that is off by a hundred spreads of the others is found.
    values[:, 1] += 100
    assert np.mean([odd_one(row) == 1 for row in values[:500]]) > 0.9


def test_three_seeds_and_unknown_numbers_tell_of_none():
    assert odd_one([0.0, 0.0, 9.0]) is None
    assert odd_one([0.0, 0.0, 0.0, 0.0, np.nan]) is None


def test_seeds_that_agree_to_a_thousandth_differ_by_nothing_that_matters():
    assert odd_one([1.0, 1.0, 1.0, 1.0, 1.01]) is None
    assert odd_one([1.0, 1.0, 1.0, 1.0, 1.02]) == 4


def test_a_run_three_times_as_far_is_named_with_its_factor(make):
    found = odd(arm(make, scale=3.0))
    assert [(one.node, one.others) for one in found] == [("s3", 4)]
    assert found[0].said.startswith(
        "s3 differs from the other 4 seeds at batch size 64: at iteration 10,000 its distance is "
    )
    assert " times theirs, which agree to " in found[0].said
    assert odd_in_words(found) == (f"{found[0].said}.",)


def test_a_run_of_another_growth_is_named_though_it_ends_like_the_others(make):
    grown = make(records=RECORDS, noise=0.0)["distance_sq"].sum("tensor").values[-1]
    power = make(records=RECORDS, noise=0.0, exponent=0.5)["distance_sq"].sum("tensor").values[-1]
    found = odd(arm(make, exponent=0.5, scale=float(np.sqrt(grown / power))))
    assert [one.node for one in found] == ["s3"]
    assert "from iteration 1000 to 10,000 its distance grew" in found[0].said


def test_like_runs_are_not_named(make):
    assert odd(arm(make)) == ()
    assert odd_in_words(()) == ()


def test_arms_are_looked_at_apart_and_many_odd_runs_are_counted(make):
    runs = {
        f"{size}-{seed}": make(
            run=f"{size}-{seed}",
            seed=seed,
            batch_size=size,
            records=RECORDS,
            noise=0.005,
            slope=30.0 if seed == 2 else 1.0,
        )
        for size in (64, 128, 256, 512, 1024)
        for seed in range(6)
    }
    found = odd(runs)
    assert [one.node for one in found] == ["64-2", "128-2", "256-2", "512-2", "1024-2"]
    told = odd_in_words(found)
    assert len(told) == 5 and told[-1] == "And 1 other run like this."
