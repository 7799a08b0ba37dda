import math

import numpy as np
import pytest

from ultraslow.analysis.importers.rates import LoggedRate, schedule, taken_for_granted

TEXTS = {
    "0.1": lambda t: 0.1,
    "cyclic:1e-3,0.1,30,70": lambda t: (
        1e-3 + 0.099 * ((t - 1) % 100) / 30
        if (t - 1) % 100 <= 30
        else 1e-3 + 0.099 * (100 - (t - 1) % 100) / 70
    ),
    "cosine:0.1,200,0.01": lambda t: (
        0.01 + 0.09 * (1 + math.cos(math.pi * min(t - 1, 200) / 200)) / 2
    ),
    "linear:0.1,200": lambda t: 0.1 * max(0, 1 - (t - 1) / 200),
    "steps:0.1,30:0.01,60:0.001": lambda t: 0.1 if t <= 30 else 0.01 if t <= 60 else 0.001,
    "warmup:10+0.1": lambda t: 0.1 * min(t / 10, 1),
    "warmup:10+linear:0.1,110": lambda t: (
        0.1 * t / 10 if t <= 10 else 0.1 * max(0, 1 - (t - 11) / 100)
    ),
    "warmup:10+steps:0.1,30:0.01": lambda t: 0.1 * t / 10 if t <= 10 else 0.1 if t <= 30 else 0.01,
    "warmup:4+cyclic:0,1,2,2": lambda t: 0.0 if t <= 4 else [0, 0.5, 1, 0.5][(t - 5) % 4],
}
RECORDS = np.array([0, 1, 2, 9, 10, 11, 30, 31, 60, 61, 101, 250])


@pytest.mark.parametrize("text", TEXTS)
def test_schedules_are_added_up_update_by_update(text):
    found = schedule(text)
    rates = [TEXTS[text](t) for t in range(1, 251)]
    np.testing.assert_allclose(found.of(np.arange(1.0, 251)), rates, atol=1e-12)
    np.testing.assert_allclose(found.at(RECORDS), [rates[max(t, 1) - 1] for t in RECORDS])
    sums = [math.fsum(rates[:t]) for t in RECORDS]
    np.testing.assert_allclose(found.summed(RECORDS), sums, atol=1e-12)


def test_a_sum_over_more_updates_than_are_held_at_once():
    records = np.array([5, 3_000_000])
    found = schedule("linear:1,3000000").summed(records)
    np.testing.assert_allclose(found[1], 1_500_000.5, rtol=1e-12)


def test_logged_rates_go_on_straight_lines():
    found = LoggedRate(np.array([10.0, 20.0, 30.0]), np.array([1.0, 2.0, 0.5]))
    rates = np.interp(np.arange(1, 41), [10, 20, 30], [1, 2, 0.5])
    records = np.array([0, 5, 10, 17, 30, 40])
    np.testing.assert_allclose(found.at(records), [rates[max(t, 1) - 1] for t in records])
    np.testing.assert_allclose(found.summed(records), [rates[:t].sum() for t in records])


def test_logged_rates_that_repeat_go_in_steps():
    found = LoggedRate(np.array([0.0, 20.0, 40.0, 60.0]), np.array([0.1, 0.1, 0.01, 0.01]))
    rates = np.where(np.arange(1, 81) < 40, 0.1, 0.01)
    records = np.array([0, 5, 20, 39, 40, 41, 80])
    np.testing.assert_allclose(found.at(records), [rates[max(t, 1) - 1] for t in records])
    np.testing.assert_allclose(found.summed(records), [rates[:t].sum() for t in records])
    assert (
        taken_for_granted(found)
        == "the learning rate is kept from each row that has it until the next"
    )


@pytest.mark.parametrize(
    "text",
    [
        "-1",
        "nan",
        "cyclic:1,2",
        "cyclic:1,2,0,5",
        "cyclic:2,1,5,5",
        "cosine:0.1",
        "cosine:0.1,0",
        "linear:a,b",
        "steps:0.1,30",
        "steps:0.1,30:0.01,20:0.1",
        "warmup:5",
        "warmup:5+",
        "warmup:5+warmup:2+0.1",
        "warmup:50+cosine:0.1,40",
        "warmup:a+0.1",
    ],
)
def test_what_is_no_schedule_says_what_was_expected(text):
    with pytest.raises(ValueError, match=r"--learning-rate: found '.*', expected "):
        schedule(text)


@pytest.mark.parametrize("text", ["lr", "train/lr", "a:b", "rates.csv"])
def test_names_are_no_schedules(text):
    assert schedule(text) is None
