"""Model confidence sets: what they keep, drop and refuse."""

import numpy as np
import pytest

from ultraslow.analysis.comparison.confidence_set import confidence_set
from ultraslow.analysis.comparison.forecast import rolling_origin
from ultraslow.analysis.comparison.laws import candidate

pytest.importorskip("arch", reason="confidence sets need the optional package arch")

TIMES = np.geomspace(1, 1e4, 40)
LAWS = [candidate(name) for name in ("log", "power", "exponential saturation")]


def forecasts(runs, origins=6):
    rng = np.random.default_rng(0)
    values = np.log(TIMES) + 0.05 * rng.standard_normal((runs, TIMES.size))
    return rolling_origin(TIMES, values, candidates=LAWS, origins=origins)


def test_runs_drop_the_law_that_predicts_badly():
    found = confidence_set(forecasts(8), horizon=10.0)
    assert "log" in found.surviving
    assert "exponential saturation" not in found.surviving
    assert max(found.p_values.values()) == 1.0
    assert (found.sample, found.reason != "") == ("runs", True)


def test_many_runs_need_no_warning():
    assert confidence_set(forecasts(12), horizon=2.0, draws=200).reason == ""


def test_one_run_is_judged_by_its_origins_and_says_so():
    found = confidence_set(forecasts(1, origins=20), horizon=2.0)
    assert found.sample == "origins"
    assert "overlapping" in found.reason
    assert "log" in found.surviving


def test_the_same_seed_gives_the_same_set():
    data = forecasts(6)
    first, second = (confidence_set(data, horizon=3.0, seed=4) for _ in range(2))
    assert first == second


def test_too_few_runs_and_origins_are_refused():
    with pytest.raises(ValueError, match=r"forecasts: found 2 run\(s\) and"):
        confidence_set(forecasts(2), horizon=10.0)


@pytest.mark.parametrize(
    ("laws", "message"),
    [
        (LAWS[:1], "forecasts: found 1 law, expected two"),
        ([LAWS[0], *LAWS[:2]], "'log' and 'log' predict the same"),
    ],
)
def test_laws_that_no_test_could_tell_apart_are_refused(laws, message):
    values = np.log(TIMES) + 0.05 * np.random.default_rng(0).standard_normal((4, TIMES.size))
    with pytest.raises(ValueError, match=message):
        confidence_set(rolling_origin(TIMES, values, candidates=laws), horizon=2.0)
