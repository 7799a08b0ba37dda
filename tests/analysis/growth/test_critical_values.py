"""Signed roots: reading simulated samples, and what the simulation yields in a regular case.

Corrections of critical values for fitted noise.
"""

import threading

import numpy as np
import pytest
from scipy.stats import norm

from ultraslow.analysis.growth.critical_values import (
    DEVIATES,
    EXPONENT_NODES,
    ONSET_NODES,
    SIGNAL_NODES,
    Cell,
    NullRatios,
    corrections,
    roots_at_deviates,
)
from ultraslow.analysis.growth.family import frame, members
from ultraslow.analysis.growth.interval import (
    Asymptotic,
    Calibrated,
    deviates,
    nodes,
)
from ultraslow.analysis.growth.noise_models import NoiseModel, simulate_noise
from ultraslow.analysis.growth.surface import standing, surface
from ultraslow.diffusion.laws.growth import growth_regressor

TIMES = np.geomspace(10, 1e5, 40)


def test_corrections_fade_with_the_records_of_persistent_noise():
    models = (NoiseModel("white"), NoiseModel("ar_log_t", 2.0, 0.5), NoiseModel("walk_t"))
    few, many = (
        corrections(frame(np.geomspace(10, 1e5, count), models, onsets=(0.0, 1e3)))
        for count in (30, 120)
    )
    assert np.all(few[:, 1:] > many[:, 1:])
    assert np.all(many[:, 1:] > 1)
    assert np.all(few[1, 1:] > few[0, 1:])  # an onset can pass for part of the noise
    assert np.all(few[:, 0] < 1)


def test_noise_that_is_known_needs_no_correction():
    assert np.array_equal(
        corrections(frame(TIMES, (NoiseModel("white"),), onsets=(0.0, 0.0))), np.ones((2, 1))
    )


# By hand at n = 41 records over ln 10⁴ = 9.21, whose spacing is 0.2303: correlations over more
# than eight spacings, 1.842, are persistent.
CASES = [
    (NoiseModel("white"), 0.85, 0.85),
    (NoiseModel("ar_log_t", 1.83), 0.85, 0.85),
    (NoiseModel("ar_log_t", 1.85), 1.0, 1 + 11 / 41),
    (NoiseModel("ar_log_t", 0.1, 0.5), 1 + 12 / 41, (1 + 12 / 41) * (1 + 11 / 41)),
    (NoiseModel("walk_t"), 1 + 12 / 41, (1 + 12 / 41) * (1 + 11 / 41)),
    (NoiseModel("walk_log_t", nugget=0.1), 1 + 12 / 41, (1 + 12 / 41) * (1 + 11 / 41)),
    (NoiseModel("ou_t", 100.0), 1.0, 1.0),
    (NoiseModel("ou_t", 100.0, 0.4), 1 + 12 / 41, (1 + 12 / 41) * (1 + 11 / 41)),
    (NoiseModel("white", power=0.3), 1.0, 1.0),
]


@pytest.mark.parametrize("row", range(len(CASES)))
def test_factors_worked_by_hand(row):
    times = np.geomspace(10, 1e5, 41)
    found = corrections(frame(times, tuple(case[0] for case in CASES), onsets=(0.0, 1e3)))
    np.testing.assert_allclose(found[:, row], CASES[row][1:], rtol=1e-12)


WHITE = (NoiseModel("white"),)
REGULAR = frame(TIMES, WHITE, onsets=(0.0, 0.0))
CELL = Cell(0, int(np.flatnonzero(EXPONENT_NODES == 0)[0]), 2, 0)


def log_curves(shared, count=50, scale=0.01):
    noise = simulate_noise(NoiseModel("white"), TIMES, count, rng=np.random.default_rng(0))
    values = np.log(TIMES) / 9 + scale * noise
    return surface(shared, values, 0.0)


def normal_sample(count=20_000):
    return norm.ppf((np.arange(count) + 0.5) / count)


@pytest.mark.parametrize("scale", [0.7, 1.0, 3.0])
def test_a_normal_sample_of_any_scale_gives_the_deviates(scale):
    roots = roots_at_deviates(scale * normal_sample())
    assert roots == pytest.approx(scale * DEVIATES, rel=2e-3, abs=1e-3)
    # Also beyond the outermost, by extrapolation: 2.5758 is the quantile of 99 % on both sides.
    wanted = np.array([-4.0, -2.5758, -1.96, -0.3, 0.0, 0.7, 1.96, 2.5758, 6.0])
    assert deviates(roots, scale * wanted) == pytest.approx(wanted, rel=2e-3, abs=2e-3)


def test_each_side_has_its_own_scale():
    sample = normal_sample()
    roots = roots_at_deviates(np.where(sample > 0, 2 * sample, 0.8 * sample))
    assert deviates(roots, np.array([-0.8 * 1.96, 2 * 1.96])) == pytest.approx(
        [-1.96, 1.96], rel=5e-3
    )


def test_roots_of_hardly_any_spread_count_as_chance():
    # All draws on one side: the other side keeps half the normal's spread.
    roots = roots_at_deviates(np.sort(np.abs(normal_sample())))
    assert roots[0] == pytest.approx(-1.125)  # half of −2.25
    assert np.all(np.diff(roots) >= 0)


def test_known_noise_and_onset_give_nearly_normal_roots():
    null = NullRatios(REGULAR, draws=2000)
    roots = roots_at_deviates(null.simulated(CELL, null.noise(0)))
    # REML with n − 2 = 38 degrees of freedom: c = 38 ln(1 + F/37), F₁,₃₇ at 95 % = 4.105, so 3.99.
    assert np.interp([-1.96, 1.96], DEVIATES, roots) == pytest.approx(
        [-(3.99**0.5), 3.99**0.5], rel=0.06
    )


def test_a_cell_does_not_depend_on_which_cells_came_before():
    first, second = (Calibrated(0.95, NullRatios(REGULAR, draws=200)) for _ in range(2))
    at = log_curves(REGULAR)
    first.deviate(log_curves(REGULAR, scale=0.3))
    assert first.deviate(at) == pytest.approx(second.deviate(at))
    assert first.critical(at) == pytest.approx(second.critical(at))


def test_threads_share_the_cells():
    test = Calibrated(0.95, NullRatios(REGULAR, draws=200))
    at = log_curves(REGULAR)
    found = []
    threads = [threading.Thread(target=lambda: found.append(test.deviate(at))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(values, found[0]) for values in found)
    assert set(test.null.roots) == {CELL}


def test_deviates_are_those_of_the_root_where_noise_and_onset_are_known():
    at = log_curves(REGULAR, count=400)
    found = Calibrated(0.95, NullRatios(REGULAR, draws=1000)).deviate(at)
    assert 0.02 < np.mean(found > 1.96) < 0.08
    assert found == pytest.approx(Asymptotic(0.95).deviate(at), abs=0.2)


def test_nodes_are_the_nearest():
    at = log_curves(REGULAR)
    here = standing(at, at.held)
    exponent, strength, onset = nodes(REGULAR.basis, at.held, here).T
    assert set(EXPONENT_NODES[exponent]) == {0.0}
    assert set(strength) == {2}
    assert set(onset) == {0}


def test_products_of_a_simulated_series_are_those_of_its_records():
    # The twin: noise plus curve at the records, and its products taken directly.
    models = (NoiseModel("white"), NoiseModel("walk_t"))
    shared = frame(TIMES, models, onsets=(0.0, 1e3))
    null, cell = NullRatios(shared, draws=200), Cell(1, 6, 1, 2)
    low, high = shared.basis.shift_low, shared.basis.shift_high
    shift = np.array([low + ONSET_NODES[2] * (high - low)])
    exponent = np.array([EXPONENT_NODES[6]])
    length = members(shared.basis, shared.grams, exponent, shift).squared_lengths[0, 1]
    curve = growth_regressor(shared.basis.log_time(shift), exponent[:, None])
    noise = simulate_noise(models[1], TIMES, 200, rng=np.random.default_rng([0, 1]))
    values = noise + SIGNAL_NODES[1] / np.sqrt(length) * curve
    expected = np.sort(surface(shared, values, exponent[0]).root)
    found = null.simulated(cell, null.noise(1))
    assert np.sign(found) * found**2 == pytest.approx(np.sign(expected) * expected**2, abs=1e-4)
