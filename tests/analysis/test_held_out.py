import math

import numpy as np
import pytest

from analysis.held_out import has, metric_of, rate_of, trainings

RECORDS = [0, 1, 10, 100, 1000]
NAN = math.nan


def evaluated(make, *, names=("accuracy",), values=(NAN, NAN, NAN, 0.5, 0.6), **options):
    table = np.tile(np.asarray(values)[:, None], len(names))
    return make(records=RECORDS, metric=list(names), held_out=table, **options)


def training(run, metric="accuracy"):
    return trainings({"r": run}, metric)[0]


def score(run, metric, iteration):
    return training(run, metric).at(iteration)


def falling(make):
    """A run whose rate drops at iteration 100."""
    rate = np.where(np.asarray(RECORDS) < 100, 0.1, 0.01)
    run = evaluated(make)
    sums = np.concatenate([[0.0], np.cumsum(rate[:-1] * np.diff(RECORDS))])
    return run.assign(learning_rate=("iteration", rate), learning_rate_sum=("iteration", sums))


def test_accuracy_is_preferred_and_absence_is_a_word(make):
    both = evaluated(make, names=("loss", "accuracy"))
    assert metric_of([make(records=RECORDS), both]) == "accuracy"
    assert metric_of([evaluated(make, names=("loss",))]) == "loss"
    assert metric_of([make(records=RECORDS), evaluated(make, names=("speed",))]) == ""
    diverged = evaluated(make, values=(NAN,) * 5)
    assert metric_of([diverged]) == "" and has(diverged, "accuracy")
    assert not has(make(records=RECORDS), "accuracy")


def test_a_score_is_read_where_the_evaluation_was(make):
    run = evaluated(make)
    assert score(run, "accuracy", 1000) == 0.6
    assert score(run, "accuracy", 100) == 0.5
    assert score(run, "accuracy", 101) == 0.5  # 1 % away
    assert math.isnan(score(run, "accuracy", 110))
    assert math.isnan(score(run, "accuracy", 10))  # was not due
    assert math.isnan(score(run, "accuracy", 5000))  # was not trained so long
    # Worked by hand: −ln 0.5.
    assert score(evaluated(make, names=("loss",)), "loss", 100) == pytest.approx(0.6931472)


def test_a_loss_of_zero_has_no_score(make):
    run = evaluated(make, names=("loss",), values=(NAN, NAN, NAN, NAN, 0.0))
    assert math.isnan(score(run, "loss", 1000))


def test_the_middle_of_a_falling_rate_is_no_finished_training(make):
    run = falling(make)
    assert training(run).finished(1000) and not training(run).finished(100)
    assert score(run, "accuracy", 1000) == 0.6
    assert math.isnan(score(run, "accuracy", 100))


def test_a_warm_up_from_zero_is_named_by_its_highest_rate(make):
    warm = make(records=RECORDS, base_learning_rate=0.0, rate=0.3)
    assert rate_of(warm) == pytest.approx(0.3)
    assert rate_of(make(records=RECORDS, base_learning_rate=0.123456)) == 0.1235
