"""Tables of series: missing records, thinning, threads, and what cannot be fitted."""

from dataclasses import replace

import numpy as np
import pytest

from ultraslow.analysis.growth.fit import fit_series
from ultraslow.analysis.growth.grids import MOST_RECORDS, same_records, thinned, time_grid
from ultraslow.analysis.growth.noise_models import NoiseModel, simulate_noise
from ultraslow.analysis.growth.status import Settings

TIMES = np.geomspace(1, 1e4, 40)
PLAIN = Settings(calibrate=False)


def curves(count):
    noise = simulate_noise(NoiseModel("white"), TIMES, count, rng=np.random.default_rng(0))
    return np.log(TIMES) + 0.05 * noise


def test_series_with_gaps_are_fitted_on_their_own_records():
    values = curves(3)
    values[1, [4, 20]] = np.nan, np.inf
    table = fit_series(TIMES, values, PLAIN)
    kept = np.isfinite(values[1])
    alone = fit_series(TIMES[kept], values[1:2, kept], PLAIN)
    assert table.numbers.exponent[1] == pytest.approx(alone.numbers.exponent[0])
    assert table.records.tolist() == [40, 38, 40]
    assert "2 records that are NaN or infinite were left out" in table.assessments[1].reason


def test_a_series_does_not_depend_on_the_others():
    values = curves(5)
    whole, part = fit_series(TIMES, values, PLAIN), fit_series(TIMES, values[2:3], PLAIN)
    assert whole.numbers.exponent[2] == pytest.approx(part.numbers.exponent[0], abs=1e-9)
    assert whole.numbers.low[2] == pytest.approx(part.numbers.low[0], abs=1e-6)


def test_series_that_cannot_be_fitted_say_why_and_bound_nothing():
    values = curves(4)
    values[0, ::2] = np.nan
    values[1] = 7.0
    values[2] = np.nan
    table = fit_series(TIMES, values, PLAIN)
    assert [a.status for a in table.assessments[:3]] == ["nonfinite", "weak_signal", "nonfinite"]
    assert all(a.reason for a in table.assessments[:3])
    assert np.isnan(table.numbers.exponent[:3]).all()
    assert (table.numbers.low[:3] == -np.inf).all()
    assert (table.numbers.high[:3] == np.inf).all()
    assert table.noise[0] is None
    assert table.assessments[3].status == "ok"


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (TIMES[:7], "7 records after iteration 0"),
        (np.linspace(100, 900, 30), "less than one decade"),
        (TIMES[:0], "0 records after iteration 0"),
    ],
)
def test_too_few_records_or_too_short_a_span(times, words):
    table = fit_series(times, np.log(times)[None], PLAIN)
    assert table.assessments[0].status == "too_few_points"
    assert words in table.assessments[0].reason


def test_eight_records_over_a_decade_are_enough():
    times = np.geomspace(1, 10, 8)
    table = fit_series(times, 1 + times[None] ** 0.5, PLAIN)
    assert np.isfinite(table.numbers.exponent[0])


def test_thinning_keeps_the_ends_and_stays_even_in_log_time():
    times = np.arange(1.0, 50_001.0)
    kept = times[thinned(times)]
    assert (kept[0], kept[-1]) == (1.0, 50_000.0)
    assert kept.size <= MOST_RECORDS
    late = np.diff(np.log(kept[kept > 500]))
    assert late.max() < 1.1 * late.min()


def test_thinning_leaves_records_enough_where_most_crowd_at_one_end():
    times = np.concatenate([[1.0, 10.0, 100.0], np.arange(9990.0, 10_120.0)])
    kept = thinned(times)
    assert 100 <= kept.size <= MOST_RECORDS
    assert {0, 1, 2, times.size - 1} <= set(kept.tolist())
    assert fit_series(times, np.log(times)[None], PLAIN).records[0] == kept.size


def test_series_are_grouped_by_their_finite_records():
    finite = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0]], dtype=bool)
    groups = {tuple(rows): tuple(kept) for rows, kept in same_records(finite, np.array([0, 1, 2]))}
    assert groups == {(0, 2): (0, 1, 2), (1,): (0, 2)}


def test_progress_counts_every_series_once():
    seen = []
    settings = Settings(calibrate=False, progress=lambda done, total: seen.append((done, total)))
    fit_series(TIMES, curves(5), settings)
    assert sum(done for done, _ in seen) == 5
    assert {total for _, total in seen} == {5}


def test_simulated_critical_values_are_kept_for_the_same_times_and_settings():
    settings = Settings(draws=200)
    kept = time_grid(TIMES, settings).test.null
    assert time_grid(TIMES.copy(), replace(settings, level=0.8)).test.null is kept
    others = [
        replace(settings, draws=300),
        replace(settings, seed=1),
        replace(settings, onset=0.0),
    ]
    assert all(time_grid(TIMES, other).test.null is not kept for other in others)
    assert time_grid(TIMES[1:], settings).test.null is not kept
