import json
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from ultraslow.analysis.intervals.contrast import block
from ultraslow.analysis.runs.arms import place_of
from ultraslow.analysis.scores.ladder import ladders

SEEDS = 4


def rung(train, number, *, gain, seed, sd=0.01, failed=False, **options):
    """A run on a rung, its accuracy 0.5 + gain; equal seeds share most of their luck."""
    luck = 0.03 * np.random.default_rng(seed).standard_normal()
    own = np.random.default_rng([number, seed])
    run = train(gap=0.4 - gain - luck, sd=sd, rng=own, seed=seed, **options)
    if failed:
        run = run.assign(held_out=run["held_out"] * np.nan)
    told = {"ladder": "limit", "rung": number, "rung_name": f"step {number}"}
    return run.assign_attrs(config=json.dumps(told))


def ladder(train, gains, *, seeds=SEEDS, **options):
    return {
        f"{number}-{seed}": rung(train, number, gain=gain, seed=seed, **options)
        for number, gain in enumerate(gains)
        for seed in range(seeds)
    }


def values(runs, number):
    kept = [run for run in runs.values() if place_of(run).number == number]
    return np.array([float(run["held_out"].values[-1, 0]) for run in kept])


def test_gains_are_paired_by_seed_and_agree_with_scipy(train):
    runs = ladder(train, [0.0, 0.05, 0.05, 0.12])
    (found,) = ladders(runs, level=0.95)
    assert (found.name, found.metric, found.notes) == ("limit", "accuracy", ())
    # Three rungs above the baseline: each interval at 1 − 0.05/3.
    for number in (1, 2, 3):
        for before, gain in (
            (number - 1, found.rungs[number].over_before),
            (0, found.rungs[number].over_baseline),
        ):
            differences = values(runs, number) - values(runs, before)
            ends = stats.ttest_1samp(differences, 0).confidence_interval(1 - 0.05 / 3)
            assert gain.paired
            assert gain.interval.low == pytest.approx(ends.low)
            assert gain.interval.high == pytest.approx(ends.high)
    assert found.rungs[0].over_before is None
    assert found.rungs[3].mean == pytest.approx(values(runs, 3).mean())


@pytest.mark.parametrize("seeds", [2, 3])
def test_few_seeds_pool_the_spread_of_all_rungs(train, seeds):
    """Against ordinary least squares with one effect a rung and one a seed."""
    (found,) = ladders(ladder(train, [0.0, 0.05, 0.02, 0.12], seeds=seeds))
    runs = ladder(train, [0.0, 0.05, 0.02, 0.12], seeds=seeds)
    table = np.array([values(runs, number) for number in range(4)])
    columns = np.zeros((4, seeds, 4 + seeds - 1))
    for number in range(4):
        columns[number, :, number] = 1
    for seed in range(1, seeds):
        columns[:, seed, 3 + seed] = 1
    fitted = OLS(table.ravel(), columns.reshape(table.size, -1)).fit()
    for number in (1, 2, 3):
        for before, gain in (
            (number - 1, found.rungs[number].over_before),
            (0, found.rungs[number].over_baseline),
        ):
            weights = np.zeros(3 + seeds)
            weights[number], weights[before] = 1, -1
            test = fitted.t_test(weights)
            low, high = test.conf_int(0.05 / 3)[0]
            assert gain.paired and gain.pooled
            assert gain.contrast.value == pytest.approx(float(test.effect[0]))
            assert (gain.interval.low, gain.interval.high) == pytest.approx((low, high))
            assert gain.contrast.freedom == 3 * (seeds - 1)
    assert any("that of all rungs with the same seeds" in note for note in found.notes)


def test_the_spread_is_pooled_only_where_all_rungs_have_the_same_few_seeds(train):
    def pooled(runs):
        return [r.over_before.pooled for r in ladders(runs)[0].rungs[1:] if r.over_before]

    few = ladder(train, [0.0, 0.05, 0.02], seeds=2)
    assert pooled(few) == [True, True]
    assert pooled(ladder(train, [0.0, 0.05, 0.02], seeds=4)) == [False, False]
    assert pooled(ladder(train, [0.0, 0.05], seeds=2)) == [False]
    more = {**few, "2-2": rung(train, 2, gain=0.02, seed=2)}
    assert pooled(more) == [False, False]
    failed = {**few, "1-1": rung(train, 1, gain=0.0, seed=1, failed=True)}
    assert pooled(failed) == []
    # One diverged run of five rungs: those beside it keep the spread of the four that are whole.
    five = ladder(train, [0.0, 0.05, 0.02, 0.1, 0.12], seeds=3)
    one = {**five, "3-1": rung(train, 3, gain=0.1, seed=1, failed=True)}
    assert pooled(one) == [True, True, False, False]
    whole = ladders({name: run for name, run in five.items() if name[0] != "3"})[0]
    kept = ladders(one)[0].rungs[2].over_before.contrast
    assert kept.error == pytest.approx(whole.rungs[2].over_before.contrast.error)


@pytest.mark.parametrize(("spreads", "least"), [((1.0,) * 9, 0.94), ((3.0, *(1.0,) * 8), 0.78)])
def test_pooled_intervals_hold_together(spreads, least):
    """Gains of 0, two seeds: how often all eight intervals cover, of 600 ladders."""
    rng = np.random.default_rng(4)
    scores = rng.standard_normal((600, 9, 2)) * np.array(spreads)[None, :, None]
    covered = [
        all(
            found.contains(0.0)
            for k in range(1, 9)
            for found in [block(one, k, 0).interval(1 - 0.05 / 8)]
        )
        for one in scores
    ]
    assert least <= np.mean(covered) <= 0.99


def test_p_values_are_holms(train):
    runs = ladder(train, [0.0, 0.05, 0.05, 0.12])
    (found,) = ladders(runs)
    raw = [stats.ttest_1samp(values(runs, k) - values(runs, k - 1), 0).pvalue for k in (1, 2, 3)]
    # By hand: the smallest times 3, the next times 2, the largest as it is, never falling.
    order = np.argsort(raw)
    steps = np.maximum.accumulate(np.sort(raw) * [3, 2, 1])
    expected = dict(zip(order.tolist(), np.minimum(steps, 1), strict=True))
    for k in range(3):
        assert found.rungs[k + 1].over_before.p_value == pytest.approx(expected[k])


def test_unlike_seeds_are_compared_unpaired(train):
    runs = {f"0-{s}": rung(train, 0, gain=0.0, seed=s) for s in range(4)}
    runs |= {f"1-{s}": rung(train, 1, gain=0.1, seed=10 + s) for s in range(4)}
    (found,) = ladders(runs)
    gain = found.rungs[1].over_before
    expected = stats.ttest_ind(values(runs, 1), values(runs, 0), equal_var=False)
    assert not gain.paired
    assert gain.p_value == pytest.approx(expected.pvalue)


def test_the_loss_gains_by_falling(train):
    runs = ladder(train, [0.0, 0.1], metric="loss")
    (found,) = ladders(runs)
    assert found.metric == "loss"
    # 1 − 0.5 = 0.5 falls to 0.4: ln(0.5/0.4) = 0.223, and values in their own unit.
    assert found.rungs[1].over_before.contrast.value == pytest.approx(0.223, abs=0.06)
    assert found.rungs[1].mean == pytest.approx(0.4, abs=0.05)


def test_shortcomings_are_said(train):
    runs = ladder(train, [0.0, 0.1], seeds=2)
    runs["4-0"] = rung(train, 4, gain=0.1, seed=0)
    runs["4-1"] = rung(train, 4, gain=0.1, seed=1, failed=True)
    (found,) = ladders(runs)
    text = " ".join(found.notes)
    assert "rung 2 has no run" in text and "rung 3 has no run" in text
    assert "rung 4: 1 of 2 runs have no finite value" in text
    assert "single run" in text
    assert found.rungs[2].over_before is None
    few = ladders(ladder(train, [0.0, 0.1], seeds=2))[0]  # two rungs have nothing to pool
    assert any("intervals are wide" in note for note in few.notes)


def test_a_rung_without_any_finite_value_is_no_number(train):
    runs = ladder(train, [0.0, 0.1])
    runs |= {f"2-{s}": rung(train, 2, gain=0.0, seed=s, failed=True) for s in range(3)}
    found = ladders(runs)[0]
    assert math.isnan(found.rungs[2].mean) and found.rungs[2].over_baseline is None


def test_a_copy_of_a_run_counts_once(train):
    runs = ladder(train, [0.0, 0.1])
    assert ladders({**runs, "copy": runs["1-0"]}) == ladders(runs)


def test_without_rungs_or_evaluation_there_is_no_ladder(train, make):
    rng = np.random.default_rng(0)
    assert ladders({"a": train(rng=rng)}) == ()
    unevaluated = make(records=[0, 1]).assign_attrs(rung=0, ladder="limit")
    assert ladders({"a": unevaluated}) == ()


@pytest.mark.parametrize(
    ("seeds", "pairs"), [((0, 1, 2), 3), ((0, 1), 2), ((0, 1, 12, 13), None), ((0, 11), None)]
)
def test_rungs_are_paired_where_the_smaller_has_its_seeds_in_the_larger(train, seeds, pairs):
    runs = {f"0-{s}": rung(train, 0, gain=0.0, seed=s) for s in range(4)}
    runs |= {f"1-{s}": rung(train, 1, gain=0.1, seed=s) for s in seeds}
    gain = ladders(runs)[0].rungs[1].over_before
    assert gain.paired == (pairs is not None)
    if pairs:
        own = values({name: runs[name] for name in runs if name[0] == "1"}, 1)
        base = values({f"0-{s}": runs[f"0-{s}"] for s in seeds}, 0)
        assert gain.contrast.n == pairs
        assert gain.contrast.value == pytest.approx((own - base).mean())


def test_of_a_seed_that_comes_twice_the_first_run_counts(train):
    runs = ladder(train, [0.0, 0.1])
    rerun = runs["1-0"].assign(held_out=runs["1-0"]["held_out"] + 0.05)
    assert ladders({**runs, "rerun": rerun}) == ladders(runs)
