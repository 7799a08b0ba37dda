"""The lattice against the likelihood it samples."""

import numpy as np
import pytest

from analysis.lattice import lattice, scan
from analysis.likelihood import frame, log_likelihood, moments
from analysis.noise_models import NoiseModel, menu, simulate
from analysis.search import settle

TIMES = np.geomspace(2, 2e3, 25)
FRAME = frame(TIMES, menu(TIMES), onsets=(0.0, 200.0))
GRID = lattice(FRAME)


def series(count):
    noise = simulate(NoiseModel("ar_log_t", 0.5), TIMES, count, rng=np.random.default_rng(0))
    return moments(FRAME, np.log(TIMES + 5) + 0.05 * noise)


def test_scan_is_the_largest_likelihood_over_onsets_and_contrasting_models():
    data = series(4)
    seen = scan(FRAME, GRID, data)
    for column in (0, 10, 16, 28):
        best = np.full(4, -np.inf)
        for shift in GRID.shifts:
            exponent = np.full(4, GRID.exponents[column])
            curve = FRAME.basis.coordinates(exponent, np.full(4, shift))
            every = log_likelihood(FRAME, data, curve)
            best = np.maximum(best, every[:, list(GRID.models)].max(axis=1))
        assert seen.value[:, column] == pytest.approx(best, abs=1e-6)


def test_lattice_holds_the_logarithm_and_the_ends():
    assert 0.0 in GRID.exponents
    assert (GRID.exponents[0], GRID.exponents[-1]) == (-2.0, 1.5)
    assert GRID.shifts[0] == pytest.approx(FRAME.basis.shift_low)
    assert GRID.shifts[-1] == pytest.approx(FRAME.basis.shift_high)


def test_a_known_onset_leaves_one_shift():
    fixed = frame(TIMES, menu(TIMES), onsets=(7.0, 7.0))
    assert lattice(fixed).shifts == pytest.approx([np.log(9.0)])


def test_many_series_are_scanned_in_portions():
    data = series(600)
    rows = np.array([0, 300, 599])
    whole, part = scan(FRAME, GRID, data), scan(FRAME, GRID, data[rows])
    assert whole[rows].value == pytest.approx(part.value)


def test_scan_never_lies_above_the_likelihood_it_samples():
    data = series(5)
    seen = scan(FRAME, GRID, data)
    for column, exponent in enumerate(seen.exponents):
        point = settle(FRAME, data, np.full(5, exponent), seen.shift[:, column])
        assert np.all(seen.value[:, column] <= point.value + 1e-6)
