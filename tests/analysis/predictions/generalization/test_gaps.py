"""Gaps between batch sizes: what counts as one, and where its numbers come from."""

from dataclasses import replace

import numpy as np
import pytest

from ultraslow.analysis.intervals.contrast import Interval, unpaired
from ultraslow.analysis.predictions.generalization.gaps import (
    Gap,
    Setting,
    _equal_samples,
    base_rate_epochs,
    chance_below,
    chance_beyond,
    equal_epochs,
    equal_updates,
    sample_of,
    seeds_or_else,
    setting,
    tuning_notes,
)
from ultraslow.analysis.scores.tuning import Tuned
from ultraslow.analysis.study import Study

RATES = (0.1, 0.2, 0.4)
INSIDE, LOWEST, HIGHEST = 0.2, 0.1, 0.4


def tuned(best, rates=RATES):
    return Tuned(np.zeros(5), rates, best, {best: np.zeros(5)})


def gap(low, high, *, base=INSIDE, large=INSIDE, estimate=None, rates=RATES):
    middle = (low + high) / 2 if estimate is None else estimate
    contrast = Interval(middle, low, high, n=5)
    return Gap(1024, contrast, tuned(base, rates), tuned(large, rates), 0.01, contrast.value)


@pytest.mark.parametrize(
    ("one", "stays", "closed"),
    [
        (gap(0.011, 0.03), True, False),
        # More tuning of the large batch could undo the gap, of the small one only widen it.
        (gap(0.011, 0.03, large=HIGHEST), False, False),
        (gap(0.011, 0.03, base=LOWEST), True, False),
        (gap(-0.03, 0.009), False, True),
        (gap(-0.03, 0.009, base=LOWEST), False, False),
        (gap(-0.03, 0.009, large=HIGHEST), False, True),
        # A gap that is real and within the margin is none, one that reaches across it is open.
        (gap(0.002, 0.009), False, True),
        (gap(0.002, 0.03), False, False),
        (gap(0.01, 0.03), False, False),
        (gap(-0.03, 0.01), False, False),
    ],
)
def test_a_gap_stays_or_is_closed_where_tuning_could_not_undo_it(one, stays, closed):
    assert (one.stays, one.closed) == (stays, closed)


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (gap(0.02, 0.03), ""),
        (
            gap(0.02, 0.03, large=HIGHEST),
            "Batch size 1024 does best at the highest learning rate tried, 0.4.",
        ),
        (
            gap(-0.1, 0.0, base=LOWEST),
            "The smallest batch size does best at the lowest learning rate tried, 0.1.",
        ),
        (
            gap(0.02, 0.03, large=0.1, rates=(0.1,)),
            "Batch size 1024 was not tuned: it was run at the one learning rate 0.1.",
        ),
        (gap(0.0, 0.03, base=LOWEST, large=HIGHEST), ""),
    ],
)
def test_what_was_not_tuned_is_named_where_it_stands_in_the_way(one, text):
    assert (one.untuned.reason if one.untuned else "") == text


def test_what_was_not_tuned_asks_for_rates_beyond():
    high = gap(0.02, 0.03, large=HIGHEST).untuned
    assert high.needed == "learning rate 0.8 at batch size 1024 as well, 5 seeds"
    low = gap(-0.1, 0.0, base=LOWEST).untuned
    assert low.needed == "learning rate 0.05 at the smallest batch size as well, 5 seeds"
    one = gap(0.02, 0.03, large=0.1, rates=(0.1,)).untuned
    assert one.needed == "learning rates 0.05 and 0.2 at batch size 1024 as well, 5 seeds each"
    assert (one.have, one.need, one.unit) == (1, 3, "learning rates")


def decided(gaps, seeds):
    return min(
        chance_beyond(one, seeds, level=0.95) + chance_below(one, seeds, level=0.95)
        for one in gaps
    )


def test_seeds_that_would_carry_an_interval_off_the_margin():
    def needed(*gaps):
        told, have, need = seeds_or_else(gaps, lambda seeds: decided(gaps, seeds), "other arms")
        assert told == f"{need} seeds at each batch size and learning rate (now 5)"
        assert have == 5
        return need

    # The margin is 0.01, and the lower end blocks: the farther below it lies, the more are needed.
    assert 5 < needed(gap(0.008, 0.04)) < needed(gap(0.007, 0.04)) <= 21
    # The worst of several counts.
    assert needed(gap(0.008, 0.04), gap(0.007, 0.04)) == needed(gap(0.007, 0.04))


def test_beyond_what_can_be_afforded_no_seeds_are_asked_for():
    near = [gap(0.0, 0.0201)]
    for chance in (lambda seeds: decided(near, seeds), lambda seeds: 0.1):
        told, _, need = seeds_or_else(near, chance, "other arms")
        assert told == (
            f"nothing up to 21 seeds at each batch size and learning rate ({chance(21):.0%} of "
            "such studies would be decided), as the gap may lie near the margin: other arms may "
            "show a clearer one"
        )
        assert np.isnan(need)


def study(train, budgets, *, seeds=5, factors=(0.5, 1.0, 2.0)):
    """Runs of (batch size, updates) with the gap of each; accuracies differ by 1e-4 by seed."""
    rng = np.random.default_rng(5)
    runs = {}
    for (size, updates), loss in budgets.items():
        for factor in factors:
            for seed in range(seeds):
                more = {"batch_size": size, "seed": seed, "updates": updates, "sd": 1e-4}
                run = train(gap=loss, factor=factor, rng=rng, **more)
                runs[f"{size}-{updates}-{factor}-{seed}"] = run
    return runs


def ends(runs, prefix):
    """Accuracies at the end of the runs whose names begin so."""
    chosen = [run for name, run in runs.items() if name.startswith(prefix)]
    return np.array([float(run["held_out"][-1, 0]) for run in chosen])


BUDGETS = {(64, 1000): 0.0, (256, 1000): 0.02, (256, 250): 0.05}


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_gaps_are_welchs_intervals_at_equal_updates_and_equal_samples(train, level):
    runs = study(train, BUDGETS)
    given = setting(Study(runs, level))
    assert (given.base, given.iterations, given.larger) == (64, 1000, [256])
    base = ends(runs, "64-1000-1.0")
    for found, large in (
        (equal_updates(given, 256), ends(runs, "256-1000-1.0")),
        (equal_epochs(given, 256), ends(runs, "256-250-1.0")),
    ):
        expected = unpaired(base, large).interval(level)
        assert found.contrast.value == pytest.approx(expected.value)
        assert (found.contrast.low, found.contrast.high) == (expected.low, expected.high)
    notes = tuning_notes([found])
    assert notes[0] == "smallest batch size: best of 3 learning rates 0.1"
    assert notes[1] == "batch size 256: best of 3 learning rates 0.2"
    assert sample_of(given, [found]).seeds == 5


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_gap_at_the_small_batchs_rate_is_read_at_that_rate(train, level):
    runs = study(train, BUDGETS)
    found = base_rate_epochs(setting(Study(runs, level)), 256)
    # The rate 0.1 is half of the best one at batch size 256: 0.05 + 0.02 · 1² of accuracy less.
    assert found.value == pytest.approx(0.07, abs=3e-4)
    expected = unpaired(ends(runs, "64-1000-1.0"), ends(runs, "256-250-0.5")).interval(level)
    assert (found.low, found.high) == (expected.low, expected.high)


def test_without_runs_enough_there_is_no_gap(train):
    runs = study(train, BUDGETS)
    few = {name: run for name, run in runs.items() if not name.startswith("256-250-0.5-4")}
    assert base_rate_epochs(setting(Study(few)), 256) is None
    assert equal_epochs(setting(Study(few)), 256) is not None
    other = {name: run for name, run in runs.items() if not name.startswith("256-1000")}
    assert equal_updates(setting(Study(other)), 256) is None


def test_the_longest_training_with_seeds_enough_sets_the_length(train):
    runs = study(train, {(64, 1000): 0.0, (64, 2000): 0.0, (256, 1000): 0.0})
    assert setting(Study(runs)).iterations == 2000
    few = {n: r for n, r in runs.items() if not (n.startswith("64-2000") and n.endswith("4"))}
    assert setting(Study(few)).iterations == 1000
    none = {name: run for name, run in runs.items() if not name.endswith("4")}
    assert setting(Study(none)) is None


def test_the_smaller_sample_is_the_one_told(train):
    runs = study(train, {(64, 1000): 0.0}, seeds=7) | study(train, {(256, 1000): 0.0})
    given = setting(Study(runs))
    assert sample_of(given, [equal_updates(given, 256)]).seeds == 5


def test_equal_samples_are_one_update_at_least():
    given = Setting((), "accuracy", base=64, iterations=100, margin=0.01, level=0.95)
    # 100 updates of 64 samples are 25 of 256, and a quarter of one of 25,600.
    assert _equal_samples(given, 256) == 25.0
    assert _equal_samples(given, 25_600) == 1.0


def test_a_gap_is_continued_from_the_centre_of_its_interval():
    """More seeds draw the interval together around the best means, not around the estimate."""
    found = gap(0.0, 0.012)
    flattered = replace(found, contrast=replace(found.contrast, value=-0.004))
    both = [chance_below(one, 14, level=0.95) for one in (found, flattered)]
    assert both[0] == both[1] < chance_below(replace(found, centre=0.004), 14, level=0.95)
