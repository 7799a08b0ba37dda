"""The likelihood against textbook matrices, and the lattice against the likelihood it samples.

Maxima against a brute-force search, and steps against finite differences.
"""

import numpy as np
import pytest

from ultraslow.analysis.growth.family import frame, members
from ultraslow.analysis.growth.noise_models import (
    NoiseModel,
    handicap,
    menu,
    noise_covariance,
    simulate_noise,
)
from ultraslow.analysis.growth.surface import (
    joint_step,
    log_likelihood,
    maximum,
    onset_step,
    products,
    profile,
    scan_lattice,
    settle,
    slopes,
    surface_of,
)
from ultraslow.diffusion.laws.growth import growth_regressor

TIMES = np.geomspace(2, 2e3, 25)
FRAME = frame(TIMES, menu(TIMES), onsets=(0.0, 200.0))
GRID = FRAME.lattice


def textbook(model, values, exponent, onset):
    """ℓ from inverses and determinants, with the projection matrix spelt out."""
    design = np.stack(
        [
            np.ones_like(TIMES),
            growth_regressor(np.log(TIMES + onset), np.array(exponent)),
        ],
        axis=1,
    )
    shape = noise_covariance(model, TIMES)
    inverse = np.linalg.inv(shape)
    gram = design.T @ inverse @ design
    residual = values - design @ np.linalg.solve(gram, design.T @ inverse @ values)
    log_det = [np.linalg.slogdet(matrix)[1] for matrix in (shape, gram, design.T @ design)]
    rss = residual @ inverse @ residual
    return -0.5 * ((TIMES.size - 2) * np.log(rss) + log_det[0] + log_det[1] - log_det[2])


@pytest.mark.parametrize("exponent, onset", [(0.0, 0.0), (-1.7, 150.0), (0.5, 3.0), (1.2, 0.0)])
def test_every_model_agrees_with_the_textbook(exponent, onset):
    values = np.log(TIMES) + 0.05 * np.random.default_rng(0).standard_normal(TIMES.size)
    shift = np.log(TIMES[:1] + onset)
    curve = members(FRAME.basis, FRAME.grams, np.array([exponent]), shift)
    found = log_likelihood(FRAME, products(FRAME, values[None]), curve)[0]
    # The family is scaled by a power of its time unit, which shifts nothing in ℓ.
    for model, value in zip(FRAME.models, found, strict=True):
        expected = textbook(model, values, exponent, onset) - handicap(model)
        assert value == pytest.approx(expected, abs=1e-5), str(model)


def test_likelihood_does_not_depend_on_offset_or_unit_of_time():
    values = np.log(TIMES) + 0.05 * np.random.default_rng(1).standard_normal(TIMES.size)
    shifted = products(FRAME, np.stack([values, values + 1000.0]))
    exponent, shift = np.full(2, 0.3), np.full(2, np.log(TIMES[0]))
    found = log_likelihood(FRAME, shifted, members(FRAME.basis, FRAME.grams, exponent, shift))
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_products_of_rows_are_rows_of_products():
    values = np.random.default_rng(2).standard_normal((5, TIMES.size))
    whole, part = products(FRAME, values), products(FRAME, values[[3, 1]])
    rows = np.array([3, 1])
    assert whole[rows].power == pytest.approx(part.power)
    assert whole[rows].loads == pytest.approx(part.loads)


def series(count):
    noise = simulate_noise(NoiseModel("ar_log_t", 0.5), TIMES, count, rng=np.random.default_rng(0))
    return products(FRAME, np.log(TIMES + 5) + 0.05 * noise)


def test_scan_is_the_largest_likelihood_over_onsets_and_contrasting_models():
    data = series(4)
    seen = scan_lattice(FRAME, data)
    for column in (0, 10, 16, 28):
        best = np.full(4, -np.inf)
        for shift in GRID.shifts:
            exponent = np.full(4, GRID.exponents[column])
            curve = members(FRAME.basis, FRAME.grams, exponent, np.full(4, shift))
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
    assert fixed.lattice.shifts == pytest.approx([np.log(9.0)])


def test_many_series_are_scanned_in_portions():
    data = series(600)
    rows = np.array([0, 300, 599])
    whole, part = scan_lattice(FRAME, data), scan_lattice(FRAME, data[rows])
    assert whole[rows].value == pytest.approx(part.value)


def test_scan_never_lies_above_the_likelihood_it_samples():
    data = series(5)
    seen = scan_lattice(FRAME, data)
    for column, exponent in enumerate(seen.exponents):
        point = settle(FRAME, data, np.full(5, exponent), seen.shift[:, column])
        assert np.all(seen.value[:, column] <= point.value + 1e-6)


def series_search(count=100, scale=0.05):
    rng = np.random.default_rng(0)
    noise = simulate_noise(NoiseModel("ar_log_t", 0.5), TIMES, count, rng=rng)
    return products(FRAME, np.log(TIMES + 5) + scale * noise)


def likelihoods(data, exponent, shift):
    count = data.power.shape[0]
    curve = members(FRAME.basis, FRAME.grams, np.full(count, exponent), np.full(count, shift))
    return log_likelihood(FRAME, data, curve).max(axis=1)


def brute_force(data, exponents):
    """Largest ℓ on a fine grid, one point at a time."""
    shifts = np.linspace(FRAME.basis.shift_low, FRAME.basis.shift_high, 60)
    best = np.full(data.power.shape[0], -np.inf)
    for exponent in exponents:
        for shift in shifts:
            best = np.maximum(best, likelihoods(data, exponent, shift))
    return best


def test_maximum_is_not_below_a_brute_force_search():
    data = series_search()
    found = maximum(FRAME, data, scan_lattice(FRAME, data))
    brute = brute_force(data, np.linspace(-0.4, 0.4, 33))
    # The steps leave out the determinants' slopes (0.05), and with only 25 records some series in
    # a hundred keep to the maximum of a second noise model.
    assert np.mean(found.value >= brute - 0.05) > 0.85
    assert np.all(found.value > brute - 2.0)


@pytest.mark.parametrize("exponent", [-0.05, 0.0, 0.05])
def test_profile_near_the_truth_is_not_below_a_brute_force_search(exponent):
    data = series_search()
    at = surface_of(FRAME, data, 0.0)
    column = int(np.abs(at.scan.exponents - exponent).argmin())
    found = profile(at, np.full(100, exponent), at.scan.shift[:, column]).held
    assert np.mean(found.value >= brute_force(data, [exponent]) - 0.05) > 0.85
    assert np.all(found.exponent == exponent)


def test_value_inside_the_slopes_is_the_likelihood():
    data = series_search(8)
    point = settle(FRAME, data, np.full(8, 0.2), np.full(8, np.log(9.0)))
    assert slopes(FRAME, data.under(point.model), point).value == pytest.approx(
        point.value, abs=1e-8
    )


def test_a_step_on_a_clean_curve_leads_to_its_parameters():
    data = products(FRAME, 3 * np.log(TIMES + 5)[None])
    point = settle(FRAME, data, np.array([0.01]), np.log(np.array([7.2])))
    exponent, shift = joint_step(
        FRAME, point, slopes(FRAME, data.under(point.model), point), np.zeros(1)
    )
    assert exponent == pytest.approx(0.0, abs=1e-3)
    assert shift == pytest.approx(np.log(7.0), abs=1e-2)
    assert (
        onset_step(FRAME, point, slopes(FRAME, data.under(point.model), point), np.zeros(1))[0]
        == 0.01
    )


def test_a_known_onset_does_not_hold_the_exponent_back():
    # With the onset at the end of its range, the exponent alone must reach the maximum.
    fixed = frame(TIMES, (NoiseModel("white"),), onsets=(0.0, 0.0))
    noise = simulate_noise(NoiseModel("white"), TIMES, 50, rng=np.random.default_rng(3))
    data = products(fixed, np.log(TIMES) + 0.3 * noise)
    found = maximum(fixed, data, scan_lattice(fixed, data))
    low = np.full(50, fixed.basis.shift_low)
    for exponent in np.linspace(-1.0, 1.0, 201):
        assert np.all(settle(fixed, data, np.full(50, exponent), low).value < found.value + 1e-6)


def test_clean_curves_lead_to_their_exponents_wherever_they_lie():
    # The misfit of the lattice passes for a random walk, under which some climbs ended early.
    rng = np.random.default_rng(5)
    exponents, onsets = rng.uniform(-1.9, 1.4, 200), np.exp(rng.uniform(0, np.log(190), 200))
    clock = np.log((TIMES + onsets[:, None]) / (TIMES[0] + onsets[:, None]))
    data = products(FRAME, np.expm1(exponents[:, None] * clock) / exponents[:, None])
    found = maximum(FRAME, data, scan_lattice(FRAME, data))
    assert found.exponent == pytest.approx(exponents, abs=2e-6)
