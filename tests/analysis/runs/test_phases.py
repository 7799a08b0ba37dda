"""Phases of constant learning rate, read from the rate or guessed from the curve."""

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.runs.phases import guessed_phases, longest, phases, within

TIMES = np.unique(np.geomspace(1, 1e4, 50).astype(int))


def test_phases_follow_the_recorded_rate():
    rates = np.where(TIMES < 10, 0.05, np.where(TIMES < 3000, 0.1, 0.01))
    found = phases(TIMES, rates)
    assert [phase.learning_rate for phase in found] == [0.05, 0.1, 0.01]
    assert sum(phase.records for phase in found) == TIMES.size
    best = longest(found)
    assert best.learning_rate == 0.1
    assert best.decades == pytest.approx(np.log10(best.last / best.first))


def test_rounding_to_float32_is_no_change():
    rates = np.full(TIMES.size, 0.1)
    rates[::2] = np.float32(0.1)
    assert len(phases(TIMES, rates)) == 1


def test_missing_rates_and_iteration_0_belong_to_no_phase():
    assert phases([0, 1, 2], [0.1, np.nan, 0.1])[0].first == 2
    assert phases([0], [0.1]) == []
    assert longest([]) is None


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"learning_rate: found shape \(1,\)"):
        phases([1, 2], [0.1])


def test_within_keeps_the_phase_only():
    distance = xr.DataArray(np.log(TIMES), {"iteration": TIMES}, ["iteration"])
    phase = phases(TIMES, np.where(TIMES < 100, 0.1, 0.01))[1]
    kept = within(distance, phase)
    assert (kept.iteration.min(), kept.iteration.max()) == (phase.first, phase.last)


def test_a_change_undone_between_records_is_seen_in_the_summed_rate():
    rates = np.full(TIMES.size, 0.1)
    sums = 0.1 * TIMES - np.where(TIMES > 500, 3.0, 0.0)
    assert len(phases(TIMES, rates)) == 1
    found = phases(TIMES, rates, rate_sum=sums)
    assert [phase.last < 500 or phase.first > 500 for phase in found] == len(found) * [True]


def test_a_rate_that_drifts_is_cut_where_it_has_moved_by_a_hundredth():
    rates = 0.1 * (1 - np.arange(TIMES.size) / 400)
    found = phases(TIMES, rates)
    assert len(found) > 2
    edges = [np.searchsorted(TIMES, (phase.first, phase.last)) for phase in found]
    assert all(rates[a] - rates[b] <= 0.01 * rates[a] * (1 + 1e-9) for a, b in edges)


# Growth before and after the rate drops to a tenth at t = 1000, without the noise.
DENSE = np.geomspace(1, 1e4, 80)


def dropped(law):
    before, after = law(np.minimum(DENSE, 1000.0)), law(np.maximum(DENSE, 1000.0))
    return before + 0.1 * (after - law(np.array(1000.0)))


@pytest.mark.parametrize("law", [np.log, np.sqrt], ids=["log", "root"])
def test_a_drop_of_the_rate_is_guessed_from_the_curve(law):
    pytest.importorskip("ruptures", reason="guessed phases need the optional package ruptures")
    rng = np.random.default_rng(0)
    growth = np.diff(dropped(law)) * np.exp(0.2 * rng.standard_normal(DENSE.size - 1))
    found = guessed_phases(DENSE, np.append(0.0, np.cumsum(growth)))
    assert len(found) == 2
    assert found[0].last == pytest.approx(1000, rel=0.2)
    assert np.isnan(found[0].learning_rate)


@pytest.mark.parametrize(
    "law",
    [np.log, np.sqrt, lambda t: np.log1p(t / 100), lambda t: 1 - 1 / np.sqrt(t)],
    ids=["log", "root", "onset", "saturation"],
)
def test_curves_of_one_rate_are_left_in_one_piece(law):
    pytest.importorskip("ruptures", reason="guessed phases need the optional package ruptures")
    pieces = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        growth = np.diff(law(DENSE)) * np.exp(0.2 * rng.standard_normal(DENSE.size - 1))
        pieces.append(len(guessed_phases(DENSE, np.append(0.0, np.cumsum(growth)))))
    assert np.mean(np.array(pieces) == 1) >= 0.95


def test_a_curve_that_also_falls_is_left_in_one_piece():
    pytest.importorskip("ruptures", reason="guessed phases need the optional package ruptures")
    values = np.log(DENSE)
    values[40] = 0.0
    found = guessed_phases(DENSE, values)
    assert (len(found), found[0].records) == (1, DENSE.size)
    assert guessed_phases([0.0], [0.0]) == []


@pytest.mark.parametrize("iteration", [[1, 1, 2], [3, 2, 1], [1, np.nan, 3]])
def test_iterations_that_do_not_increase_are_refused(iteration):
    with pytest.raises(ValueError, match="iteration: expected finite values that increase"):
        phases(iteration, [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="iteration: expected finite values that increase"):
        guessed_phases(iteration, [1.0, 2.0, 3.0])
