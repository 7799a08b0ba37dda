import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.predictions.growth.extrapolation import (
    LOGARITHM,
    _phrase,
    extrapolations,
    held_out_errors,
    shared_curves,
)
from ultraslow.analysis.runs.arms import Arm
from ultraslow.analysis.study import Study
from ultraslow.analysis.text import interval, rounded

TIMES = np.unique(np.geomspace(1, 4000, 50).round())


@pytest.mark.parametrize(
    ("curve", "law"),
    [
        (lambda t: 2 + np.log(t), LOGARITHM),
        (lambda t: 1 + t**0.24, "power"),
        (lambda t: 5 - t**-0.24, "saturating power"),
    ],
)
def test_the_law_behind_the_curve_predicts_best(curve, law):
    errors = held_out_errors(TIMES, curve(TIMES)[None])
    assert min(errors, key=lambda name: errors[name][0]) == law
    assert errors[law][0] < 1e-6
    assert min(errors[name][0] for name in errors if name != law) > 1e-3


def test_an_error_is_that_of_a_straight_line_fitted_by_hand():
    rng = np.random.default_rng(0)
    values = 3 * TIMES**0.4 + rng.standard_normal(TIMES.size)
    first = TIMES <= 1000
    candidates = []
    for onset in np.append(0.0, np.geomspace(0.1, TIMES[first][-1], 30)):
        clock = np.log(TIMES + onset)
        line = np.polynomial.polynomial.polyfit(clock[first], values[first], 1)
        misses = values - line[0] - line[1] * clock
        candidates.append((np.sum(misses[first] ** 2), np.sqrt(np.mean(misses[~first] ** 2))))
    expected = min(candidates)[1] / np.ptp(values[first])
    found = held_out_errors(TIMES, values[None])[LOGARITHM][0]
    assert found == pytest.approx(expected, rel=1e-9)


def test_few_records_or_runs_at_rest_have_no_errors():
    assert held_out_errors(TIMES[:12], np.ones((2, 12))) == {}
    assert held_out_errors(TIMES, np.ones((2, TIMES.size))) == {}
    assert held_out_errors(np.empty(0), np.empty((2, 0))) == {}


def test_curves_are_taken_where_all_runs_have_them(make):
    runs = {"a": make(records=[0, 1, 2, 5, 9]), "b": make(seed=1, records=[0, 1, 3, 5, 9])}
    runs["b"]["distance_sq"][4] = np.nan
    times, values = shared_curves(runs)
    assert times.tolist() == [1, 5]
    assert values.shape == (2, 2)


def test_a_logarithm_and_a_power_are_told_apart_in_words(make):
    logs = {f"s{k}": make(seed=k) for k in range(4)}
    powers = {f"s{k}": make(seed=k, exponent=0.25) for k in range(4)}
    assert "better than the best other law" in extrapolations(Study(logs, 0.95))[0]
    assert "worse than the best other law (power" in extrapolations(Study(powers, 0.95))[0]
    assert extrapolations(Study({"s0": logs["s0"]}, 0.95)) == ()


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_difference_allows_for_the_choice_of_the_best_law(level):
    rng = np.random.default_rng(0)
    power = 1 + 0.1 * rng.standard_normal(5)
    own = power + 2 + rng.standard_normal(5)
    errors = {LOGARITHM: own, "power": power, "saturating power": power + 1, "other": power + 2}
    ends = stats.ttest_1samp(own - power, 0).confidence_interval(1 - (1 - level) / 3)
    phrase = _phrase(Arm(64, "sqrt", 0.1), errors, level=level)
    assert f"difference {interval(ends.low, ends.high, show=rounded)})" in phrase
    assert "best other law (power, " in phrase


@pytest.mark.parametrize(
    ("ahead", "word"), [(2.0, "worse than"), (0.5, "not told to be worse"), (-2.0, "better than")]
)
def test_a_difference_within_its_interval_is_not_told(ahead, word):
    # s = 0.645 over four seeds: the interval at 95 % reaches 3.182·0.645/2 = 1.03 to either side.
    shape = 0.5 * np.array([-1.5, -0.5, 0.5, 1.5])
    errors = {LOGARITHM: 5 + ahead + shape, "power": np.full(4, 5.0)}
    assert word in _phrase(Arm(64, "sqrt", 0.1), errors, level=0.95)


def test_three_seeds_say_nothing(make):
    assert extrapolations(Study({f"s{k}": make(seed=k) for k in range(3)}, 0.95)) == ()
