"""Every status is reached by the finding it is named after, and reasons add up."""

import numpy as np
import pytest

from ultraslow.analysis.growth.status import STATUSES, FitOutcome, assess, unfit

SOUND = FitOutcome(
    low=-0.1,
    high=0.2,
    slope=1.0,
    signal=50.0,
    late=False,
    onset=3.0,
    onset_high=1000.0,
    wanders=False,
    missing=0,
    rate_change="",
)


def test_a_sound_fit_is_ok():
    assert assess(SOUND) == ("ok", "")


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"signal": 2.0}, "weak_signal", "2.0 standard errors from 0"),
        (
            {"rate_change": "the learning rate changes"},
            "rate_changed",
            "the learning rate changes",
        ),
        ({"low": -np.inf}, "p_unbounded", "below"),
        ({"high": np.inf}, "p_unbounded", "above"),
        ({"low": -np.inf, "late": True}, "onset_edge", "nothing then bounds the exponent below"),
        ({"onset": 999.0}, "onset_edge", "latest iteration allowed, 1000"),
        ({"wanders": True}, "noise_nonstationary", "random walk"),
        ({"slope": -1.0}, "ok", "the series falls"),
        ({"missing": 2}, "ok", "2 records"),
    ],
)
def test_each_finding_has_its_status(change, status, words):
    found = assess(SOUND._replace(**change))
    assert found.status == status
    assert words in found.reason


def test_the_gravest_finding_gives_the_status_and_all_give_reasons():
    found = assess(SOUND._replace(onset=999.0, low=-np.inf, wanders=True))
    assert found.status == "p_unbounded"
    assert found.reason.count(";") == 2


def test_what_does_not_grow_says_only_that():
    found = assess(SOUND._replace(signal=1.0, low=-np.inf, onset=999.0))
    assert found == (
        "weak_signal",
        "growth is 1.0 standard errors from 0, too little to tell its shape",
    )
    wobbles = assess(SOUND._replace(signal=2.6, low=-np.inf, wanders=True))
    assert wobbles.status == "weak_signal" and "wobbles like a random walk" in wobbles.reason
    assert ";" not in wobbles.reason and "too little" not in wobbles.reason


def test_a_line_that_any_late_onset_explains_is_said_to_be_one():
    both = assess(SOUND._replace(late=True, low=-np.inf, high=np.inf))
    assert both.status == "p_unbounded"
    assert both.reason.endswith("on either side: every law is straight up to its onset")
    one = assess(SOUND._replace(late=True, high=np.inf))
    assert one.status == "onset_edge" and one.reason.endswith("the exponent above")


def test_rounding_of_an_exact_curve_is_no_random_walk():
    assert assess(SOUND._replace(wanders=True, signal=1e9)).status == "ok"


def test_statuses_are_ordered_from_the_gravest():
    assert STATUSES[0] == "nonfinite"
    assert STATUSES[-1] == "ok"


def test_usable_series_have_no_finding():
    times = np.geomspace(1, 100, 20)
    assert unfit(times, np.log(times)) is None


@pytest.mark.parametrize(("missing", "status"), [(4, None), (5, "nonfinite")])
def test_a_fifth_of_the_records_may_be_missing(missing, status):
    times = np.geomspace(1, 1e4, 20)
    values = np.log(times)
    values[3 : 3 + missing] = np.nan
    found = unfit(times, values)
    assert (found and found.status) == status


@pytest.mark.parametrize(("last", "status"), [(10.0, None), (9.99, "too_few_points")])
def test_records_have_to_span_a_decade(last, status):
    times = np.geomspace(1, last, 20)
    found = unfit(times, np.log(times))
    assert (found and found.status) == status


@pytest.mark.parametrize(("count", "status"), [(8, None), (7, "too_few_points")])
def test_eight_records_are_needed(count, status):
    times = np.geomspace(1, 1e4, count)
    found = unfit(times, np.log(times))
    assert (found and found.status) == status
