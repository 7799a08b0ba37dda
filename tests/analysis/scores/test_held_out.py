import math

import numpy as np
import pytest

from ultraslow.analysis.scores.held_out import (
    MARGINS,
    ScoredRun,
    has,
    metric_of,
    rate_of,
    trainings,
)

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


def test_a_rate_first_recorded_late_may_have_been_warmed_up(make):
    values = np.array([[NAN], [NAN], [0.5], [0.6]])
    more = {"metric": ["accuracy"], "held_out": values}
    late = make(records=[0, 50, 100, 1000], **more)
    assert training(late).constant == 0
    assert math.isnan(score(late, "accuracy", 100))
    known = make(records=[0, 1, 100, 1000], **more)
    assert (training(known).constant, score(known, "accuracy", 100)) == (1000, 0.5)


def test_lengths_within_two_per_cent_are_equal(make):
    run = falling(make)
    for iteration, ended in ((1000, True), (1019, True), (981, True), (1021, False), (979, False)):
        assert training(run).ends(iteration) == ended
        assert math.isfinite(score(run, "accuracy", iteration)) == ended


def test_a_run_evaluated_at_its_end_only_is_finished_there_only(make):
    run = evaluated(make, values=(NAN, NAN, NAN, NAN, 0.6))
    assert training(run).constant == 0
    assert not training(run).finished(100) and training(run).finished(1000)


def test_the_evaluation_before_the_first_update_is_no_score(make):
    run = evaluated(make, values=(0.1, NAN, NAN, NAN, 0.6))
    assert training(run).iteration.tolist() == [1000]


def test_margins_are_a_point_of_accuracy_and_a_twentieth_of_the_loss():
    assert MARGINS["accuracy"] == 0.01
    assert math.exp(MARGINS["loss"]) == pytest.approx(1.05)


def test_a_run_that_holds_its_beginning_only_is_no_finished_training():
    none = np.empty(0, dtype=np.int64)
    run = ScoredRun(64, 0.1, 0, 0, 0, none, np.empty(0))
    assert not run.ends(1)
    assert not run.ends(0)
    assert np.isnan(run.at(0))
