import math

import numpy as np
import pytest

from analysis.pilot import stated
from analysis.plan_simulations import Question, Simulations, check, record_times


def simulations(of, *, exponent=0.5, advance=None):
    return Simulations(Question(exponent, draws=100), of, np.random.default_rng(0), advance)


def test_each_length_is_simulated_once_and_counted():
    done = []
    found = simulations(stated(0.02), advance=lambda: done.append(1))
    powers = [found.power(seeds, 1000) for seeds in (4, 6, 4)]
    assert powers[0] == powers[2] <= powers[1]
    assert len(done) == 1


def test_a_pilot_without_an_onset_has_one_log_law():
    power, log, at_once = simulations(stated(0.02)).shares(6, 1000)
    assert log == at_once
    assert power.contradicted > 0.5 > log.contradicted
    assert log.supported > power.supported == 0


def test_an_onset_makes_the_log_law_of_onset_0_another():
    _, log, at_once = simulations(stated(0.05, onset=20.0)).shares(6, 10_000)
    assert log != at_once


def test_record_times_are_those_of_the_default_schedule():
    times = record_times(1000)
    assert times[0] == 1 and times[-1] == 1000 and np.all(np.diff(times) >= 1)


@pytest.mark.parametrize(
    ("question", "name"),
    [
        (Question(0.0), "exponent"),
        (Question(-0.05), "exponent"),
        (Question(math.nan), "exponent"),
        (Question(1.5), "exponent"),
        (Question(-2.5), "exponent"),
        (Question(0.1, draws=1_000_000), "draws"),
        (Question(0.1, power=1.0), "power"),
        (Question(0.1, level=0.2), "level"),
        (Question(0.1, draws=10), "draws"),
    ],
)
def test_impossible_questions_are_refused(question, name):
    with pytest.raises(ValueError, match=f"{name}: found"):
        check(question)


def test_a_question_that_can_be_answered_passes():
    for exponent in (0.06, -0.3, 1.4, -1.9):
        check(Question(exponent))
