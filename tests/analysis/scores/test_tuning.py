import math

import numpy as np
import pytest

from ultraslow.analysis.intervals.contrast import unpaired
from ultraslow.analysis.scores.held_out import trainings
from ultraslow.analysis.scores.tuning import (
    chosen_rates,
    possible,
    scores_at,
    tune,
    tuned_difference,
)

RECORDS = [0, 1, 10, 100]
# By hand: without seed 0 the means are 0.65 (0.1) and 0.55 (0.2); without 1, 0.45 and 0.6;
# without 2, 0.5 and 0.65.
SCORES = {0.1: {0: 0.3, 1: 0.7, 2: 0.6}, 0.2: {0: 0.7, 1: 0.6, 2: 0.5}}


def test_each_seed_gets_the_rate_that_is_best_for_the_others():
    assert chosen_rates(SCORES) == {0: 0.1, 1: 0.2, 2: 0.2}
    found = tune(SCORES, seeds=3)
    assert found.scores.tolist() == [0.3, 0.6, 0.5]
    assert found.best == 0.2  # means 0.533 and 0.6
    assert not found.enclosed


def test_a_best_rate_between_others_is_enclosed():
    found = tune({**SCORES, 0.4: {0: 0.1, 1: 0.1, 2: 0.1}}, seeds=3)
    assert found.enclosed and found.rates == (0.1, 0.2, 0.4)


def test_rates_with_too_few_seeds_do_not_count():
    assert tune(SCORES, seeds=4) is None
    assert tune({**SCORES, 0.4: {0: 0.9}}, seeds=3).rates == (0.1, 0.2)


def test_choosing_by_other_seeds_leaves_no_bias():
    # Ten rates that are all alike: the best mean of five seeds would be 0.69 σ above the truth.
    rng = np.random.default_rng(1)
    means = []
    for _ in range(400):
        table = rng.standard_normal((10, 5))
        scores = {float(k): dict(enumerate(row)) for k, row in enumerate(table)}
        means.append(tune(scores, seeds=5).scores.mean())
    assert abs(np.mean(means)) < 3 * np.std(means) / math.sqrt(400)


def run(make, *, rate, seed, accuracy, **options):
    values = np.full((4, 1), math.nan)
    values[-1] = accuracy
    more = {"metric": ["accuracy"], "held_out": values, "base_learning_rate": rate, **options}
    return make(records=RECORDS, seed=seed, **more)


def test_a_rate_at_which_a_run_failed_is_left_out(make):
    runs = {
        "a": run(make, rate=0.1, seed=0, accuracy=0.5),
        "b": run(make, rate=0.1, seed=1, accuracy=0.6),
        "c": run(make, rate=0.2, seed=0, accuracy=0.9),
        "d": run(make, rate=0.2, seed=1, accuracy=math.nan),
        "e": run(make, rate=0.1, seed=0, accuracy=0.7, batch_size=128),
    }
    # The run without any finite value never reached a result, but its length is right.
    found = scores_at(trainings(runs, "accuracy"), batch_size=64, iteration=100)
    assert found == {0.1: {0: 0.5, 1: 0.6}}


def test_rates_that_may_be_the_best_stay_candidates():
    near = np.array([0.0, 0.1, 0.2, 0.1])
    tables = {0.1: near, 0.2: near + 0.02, 0.4: near - 5.0}
    assert possible(tables) == [0.1, 0.2]


def test_of_single_candidates_the_interval_is_welchs():
    rng = np.random.default_rng(0)
    above, below = rng.normal(1, 0.1, 5), rng.normal(0, 0.1, 6)
    expected, found = (
        unpaired(above, below).interval(0.9),
        tuned_difference([above], [below], level=0.9),
    )
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert found.n == 5


def test_each_end_shares_its_error_among_the_candidates_of_its_side():
    rng = np.random.default_rng(0)
    shape = rng.normal(0, 0.1, 5)
    below = rng.normal(0, 0.1, 5)
    above = [shape + mean for mean in (1.0, 0.98, 0.99)]
    found = tuned_difference(above, [below], level=0.95)
    assert found.low == pytest.approx(unpaired(above[0], below).interval(1 - 0.05 / 3).low)
    assert found.high == pytest.approx(unpaired(above[0], below).interval(0.95).high)
    # The worst pair of candidates does not set the ends, be its spread ever so large.
    wide = [*above, shape * 4 + 0.9]
    pairs = [unpaired(one, below).interval(0.95) for one in wide]
    found = tuned_difference(wide, [below], level=0.95)
    assert found.low > min(pair.low for pair in pairs) + 0.05


@pytest.mark.parametrize(("sd", "bend"), [(0.003, 0.01), (0.01, 0.01), (0.02, 0.01), (0.02, 0.0)])
def test_intervals_cover_although_the_best_rate_is_not_known(sd, bend):
    """Scores chosen by the other seeds alone would cover in 79 to 86 % where rates are near."""
    rng = np.random.default_rng(3)

    def arm():
        scores = {
            float(k): {s: -bend * (k - 2) ** 2 + sd * rng.standard_normal() for s in range(5)}
            for k in range(4)
        }
        return tune(scores, seeds=5).candidates.values()

    found = [tuned_difference(arm(), arm(), level=0.95) for _ in range(150)]
    covered = np.mean([one.low <= 0.0 <= one.high for one in found])
    assert covered >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 150)


@pytest.mark.parametrize(("rates", "seeds"), [((4, 1), 5), ((6, 1), 10), ((1, 4), 5), ((7, 3), 5)])
def test_each_end_holds_where_one_side_was_tuned_more(rates, seeds):
    """The best of six tied rates beside a single one is 0.6 errors too good, by chance."""
    rng = np.random.default_rng(4)

    def arm(count):
        table = rng.standard_normal((count, seeds))
        scores = {float(k): dict(enumerate(row)) for k, row in enumerate(table)}
        return tune(scores, seeds=5).candidates.values()

    found = [tuned_difference(*map(arm, rates), level=0.95) for _ in range(400)]
    for missed in ([one.low > 0 for one in found], [one.high < 0 for one in found]):
        assert np.mean(missed) <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 400)


def test_a_best_rate_at_either_end_is_not_enclosed():
    for best, enclosed in ((0.1, False), (0.2, True), (0.4, False)):
        scores = {rate: dict.fromkeys(range(3), float(rate == best)) for rate in (0.1, 0.2, 0.4)}
        assert tune(scores, seeds=3).enclosed == enclosed


def test_a_seed_that_was_not_run_at_the_best_rate_stays_out():
    scores = {0.1: {0: 0.1, 1: 0.1, 2: 0.1}, 0.2: {0: 0.9, 1: 0.9, 3: 0.9}}
    assert chosen_rates(scores) == {0: 0.2, 1: 0.2, 2: 0.2, 3: 0.2}
    assert tune(scores, seeds=3).scores.tolist() == [0.9, 0.9, 0.9]


def test_more_seeds_of_a_worse_rate_change_no_estimate():
    few = {0.1: dict(enumerate([0.1, 0.2, 0.3])), 0.2: dict(enumerate([0.8, 0.9, 1.0]))}
    more = {**few, 0.1: dict(enumerate([0.1, 0.2, 0.3, 0.1, 0.2, 0.3]))}
    assert tune(more, seeds=3).scores.tolist() == tune(few, seeds=3).scores.tolist()


def test_seeds_of_their_own_at_each_rate_are_compared():
    own = {0.1: {0: 0.1, 1: 0.2, 2: 0.3}, 0.2: {3: 0.8, 4: 0.9, 5: 1.0}}
    assert sorted(tune(own, seeds=3).scores.tolist()) == [0.8, 0.9, 1.0]
    tied = {0.1: {0: 1.0, 1: 0.0}, 0.2: {3: 1.0, 4: 0.0}}
    assert tune(tied, seeds=2).scores.size


@pytest.mark.parametrize(("errors", "stays"), [(1.8, True), (1.9, False)])
def test_rates_are_given_up_by_a_one_sided_test(errors, stays):
    # Five seeds a rate, of equal spread: t of 8 degrees of freedom is 1.860 at 95 %, one-sided.
    values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    error = values.std(ddof=1) * math.sqrt(2 / 5)
    assert (0.2 in possible({0.1: values + errors * error, 0.2: values})) == stays


def test_runs_that_end_there_come_before_those_that_go_on(make):
    ended = run(make, rate=0.1, seed=0, accuracy=0.5)
    table = np.array([[math.nan], [math.nan], [math.nan], [0.9], [0.95]])
    more = {"metric": ["accuracy"], "held_out": table, "base_learning_rate": 0.1, "rate": 0.1}
    longer = make(records=[0, 1, 10, 100, 1000], seed=1, **more)
    again = make(records=[0, 1, 10, 100, 1000], seed=0, **more)
    both = trainings({"c": again, "b": longer, "a": ended}, "accuracy")
    assert scores_at(both, batch_size=64, iteration=100) == {0.1: {0: 0.5, 1: 0.9}}
    assert scores_at(both[1:2], batch_size=64, iteration=100) == {0.1: {1: 0.9}}


def test_a_repeated_seed_counts_once_and_the_first_speaks(make):
    first, again = (run(make, rate=0.1, seed=0, accuracy=value) for value in (0.5, 0.7))
    found = trainings({"a": first, "b": again}, "accuracy")
    assert scores_at(found, batch_size=64, iteration=100) == {0.1: {0: 0.5}}
