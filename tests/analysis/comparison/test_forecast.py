"""Rolling origins: exact laws forecast exactly, wrong ones do not."""

import numpy as np
import pytest

from ultraslow.analysis.comparison.forecast import forecasts, latest, rolling_origin
from ultraslow.analysis.comparison.laws import CANDIDATES, candidate

TIMES = np.geomspace(1, 1e4, 61)
EXACT = {
    "log": np.log(TIMES),
    "log with onset": np.log1p(TIMES / 30),
    "power": TIMES**0.3,
    "saturating power": 1 - TIMES**-0.5,
    "exponential saturation": np.sqrt(-np.expm1(-TIMES / 2000)),
    "power of the log": np.log1p(TIMES) ** 2,
    "N3 scale-invariant": np.sqrt(np.sqrt(1 + TIMES / 50) - 1),
    "N7 diffusion and drift": np.sqrt(TIMES + TIMES**2 / 500),
}


@pytest.mark.parametrize("name", EXACT)
def test_the_true_law_forecasts_exactly(name):
    laws = [candidate(law) for law in EXACT]
    found = rolling_origin(TIMES, 1 + 2 * EXACT[name][None], candidates=laws)
    # The latest origin; the first ones lie before the curve's own time scale.
    late = {law: abs(off[0, 0]) for law, off in found.items()}
    assert late[name] < 1e-3
    assert late[name] < min(late.values()) + 1e-3


def test_a_logarithm_misses_a_small_power_far_ahead_more_than_close_by():
    asked = list(latest(forecasts(TIMES)).values())
    chosen = [candidate("log")]
    off = rolling_origin(TIMES, TIMES[None] ** 0.1, asked=asked, candidates=chosen)["log"][0]
    close, far = (off[[one.ahead for one in asked].index(ahead)] for ahead in (0.5, 1.0))
    assert far < 1.3 * close < 0


def test_forecasts_are_those_of_a_line_fitted_by_hand():
    rng = np.random.default_rng(0)
    values = 3 + np.log(TIMES) + 0.05 * rng.standard_normal((2, TIMES.size))
    clock = np.log10(TIMES)
    found = rolling_origin(TIMES, values, candidates=[candidate("log")])["log"]
    asked = forecasts(TIMES)
    assert [(one.ahead, round(np.log10(one.origin), 6)) for one in asked] == [
        (0.5, 3.5),
        (0.5, 3.0),
        (1.0, 3.0),
        (0.5, 2.5),
        (1.0, 2.5),
    ]
    for run, series in enumerate(values):
        for column, one in enumerate(asked):
            past = clock <= np.log10(one.origin) + 1e-9
            assert past.sum() == one.fitted
            places = np.linspace(-0.2, 0, 21) + np.log10(one.origin) + one.ahead
            line = np.polynomial.Polynomial.fit(clock[past], series[past], 1)
            actual = np.interp(places, clock, series).mean()
            # Between two records the forecast is interpolated too, which of a line is the line.
            assert found[run, column] == pytest.approx(line(places).mean() / actual - 1, abs=1e-9)


@pytest.mark.parametrize(
    ("last", "ahead"),
    [
        (70, []),
        (100, [0.5]),
        (320, [0.5, 0.5, 1.0]),
        (1000, [0.5, 0.5, 1.0, 0.5, 1.0]),
        (1e5, [0.5, 0.5, 1.0, 0.5, 1.0]),
    ],
)
def test_longer_records_are_asked_for_more(last, ahead):
    assert [one.ahead for one in forecasts(np.geomspace(1, last, 80))] == ahead


def test_few_records_forecast_nothing():
    assert forecasts(np.geomspace(1, 1000, 11)) == ()
    assert forecasts(np.array([1.0])) == ()
    assert forecasts(np.empty(0)) == ()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rolling_origin(TIMES[:5], np.ones((1, 5))), "times: found 5 records over 0.3"),
        (lambda: rolling_origin(TIMES, np.ones(61)), r"values: found shape \(61,\)"),
        (lambda: rolling_origin(TIMES, np.full((1, 61), np.nan)), "values: found 61 that are not"),
        (lambda: rolling_origin(TIMES, np.zeros((1, 61))), "values: found 61 that are not"),
        (lambda: rolling_origin(TIMES[::-1], np.ones((1, 61))), "times: expected positive"),
        (lambda: rolling_origin(TIMES, np.ones((0, 61))), r"values: found shape \(0, 61\)"),
        (lambda: candidate("parabola"), "name: found 'parabola'"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_all_laws_forecast_by_default():
    found = rolling_origin(TIMES, 1 + np.log(TIMES)[None])
    assert list(found) == [law.name for law in CANDIDATES]
    assert all(off.shape == (1, 5) for off in found.values())
