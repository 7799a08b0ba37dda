import numpy as np
import pytest

from diffusion import landscape

LAGS = [1, 3, 10, 30, 100]


def within_error(structure, expected, errors=4.0):
    deviation = np.abs(structure.value - expected) / structure.standard_error
    assert (deviation < errors).all(), deviation


@pytest.mark.parametrize("hurst", [0.1, 0.25, 0.5, 0.75, 0.95])
def test_fractional_potentials_have_their_structure_function(hurst):
    v = landscape.fractional_brownian(
        300, hurst=hurst, samples=400, rng=np.random.default_rng(1), scale=1.7
    )
    measured = landscape.measured_structure(v, LAGS)
    within_error(measured, 1.7**2 * np.array(LAGS) ** (2 * hurst))
    assert (measured.standard_error < 0.1 * measured.value).all()


def test_fractional_steps_have_their_covariance():
    # the covariance matrix of the steps, element by element, against the formula
    v = landscape.fractional_brownian(
        5, hurst=0.8, samples=200_000, rng=np.random.default_rng(2), scale=1.0
    )
    found = np.cov(np.diff(v, axis=1).T)
    for i in range(10):
        for j in range(10):
            k = abs(i - j)
            expected = 0.5 * ((k + 1) ** 1.6 - 2 * k**1.6 + abs(k - 1) ** 1.6)
            assert found[i, j] == pytest.approx(expected, abs=0.015)


def test_random_walk_potentials_are_zero_in_the_middle_with_linear_structure():
    v = landscape.random_walk(300, samples=400, rng=np.random.default_rng(3), scale=0.5)
    np.testing.assert_array_equal(v[:, 300], 0.0)
    within_error(landscape.measured_structure(v, LAGS), 0.25 * np.array(LAGS))


def test_measured_structure_equals_a_double_loop():
    v = np.random.default_rng(4).standard_normal((3, 9))
    found = landscape.measured_structure(v, [1, 4])
    for column, lag in enumerate((1, 4)):
        samples = [np.mean([(row[i + lag] - row[i]) ** 2 for i in range(9 - lag)]) for row in v]
        assert found.value[column] == pytest.approx(np.mean(samples), rel=1e-12)
        error = np.std(samples, ddof=1) / np.sqrt(3)
        assert found.standard_error[column] == pytest.approx(error, rel=1e-12)


@pytest.mark.parametrize("dimension", [1, 2, 3, 10])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5])
def test_fields_have_their_structure_function(dimension, alpha):
    spectrum = landscape.Spectrum(alpha, dimension, strength=1.5, k_min=1e-3, k_max=30, modes=80)
    rng = np.random.default_rng(5)
    field = landscape.fourier_field(spectrum, fields=150, rng=rng)
    r = np.array([0.03, 0.3, 3.0, 30.0])
    measured = landscape.measured_field_structure(field, r, pairs=20, rng=rng)
    within_error(measured, landscape.expected_structure(spectrum, r))


@pytest.mark.parametrize("dimension", [1, 2, 10])
@pytest.mark.parametrize("alpha", [0.6, 1.0, 1.9])
def test_a_wide_band_gives_the_power_of_the_distance(dimension, alpha):
    spectrum = landscape.Spectrum(alpha, dimension, strength=2.0, k_min=1e-25, k_max=1e4)
    r = np.array([0.5, 2.0])
    found = landscape.expected_structure(spectrum, r)
    # the missing long waves take (k_min·r)^(2−α), the missing short ones (k_max·r)^(−α)
    np.testing.assert_allclose(found, 4.0 * r**alpha, rtol=0.02)


def test_differences_of_an_independent_simulation_in_ten_dimensions():
    # standard deviations of V(x) − V(y) at r = 0.3, 3, 30, 300 from an independent simulation of
    # the same band, wave numbers from 1/1000 to 1 times √dimension: 0.28, 2.2, 8.6, 25
    spectrum = landscape.Spectrum(
        1.0, 10, strength=(2 * np.pi) ** 0.25, k_min=1e-3 * np.sqrt(10), k_max=np.sqrt(10)
    )
    found = np.sqrt(landscape.expected_structure(spectrum, [0.3, 3, 30, 300]))
    np.testing.assert_allclose(found, [0.28, 2.2, 8.6, 25], rtol=0.08)


def test_gradient_is_the_derivative_of_the_value():
    rng = np.random.default_rng(6)
    field = landscape.fourier_field(landscape.Spectrum(1.2, 4, modes=30), fields=3, rng=rng)
    x = rng.standard_normal((3, 5, 4))
    gradient = field.gradient(x)
    for axis in range(4):
        step = np.zeros(4)
        step[axis] = 1e-5
        numerical = (field.value(x + step) - field.value(x - step)) / 2e-5
        np.testing.assert_allclose(gradient[..., axis], numerical, atol=1e-7)


def test_value_equals_the_sum_over_waves():
    rng = np.random.default_rng(7)
    field = landscape.fourier_field(landscape.Spectrum(0.7, 2, modes=5), fields=2, rng=rng)
    x = rng.standard_normal((2, 3, 2))
    for i in range(2):
        for j in range(3):
            total = 0.0
            for m in range(5):
                angle = field.wave_vectors[i, :, m] @ x[i, j] + field.phases[i, m]
                total += field.amplitudes[i, m] * np.cos(angle)
            assert field.value(x)[i, j] == pytest.approx(total, rel=1e-12)


def test_part_keeps_the_potentials():
    rng = np.random.default_rng(8)
    field = landscape.fourier_field(landscape.Spectrum(1.0, 2, modes=5), fields=4, rng=rng)
    x = rng.standard_normal((4, 1, 2))
    np.testing.assert_array_equal(field.part(slice(1, 3)).value(x[1:3]), field.value(x)[1:3])


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: landscape.fractional_brownian(5, hurst=1.0, samples=1, rng=RNG),
            r"hurst: found 1, expected a value in \(0, 1\)",
        ),
        (lambda: landscape.Spectrum(2.0, 3), r"alpha: found 2, expected a value in \(0, 2\)"),
        (lambda: landscape.Spectrum(0.0, 3), "alpha: found 0"),
        (lambda: landscape.Spectrum(1.0, 0), "dimension: found 0, expected an integer >= 1"),
        (lambda: landscape.Spectrum(1.0, 3, k_min=20.0), r"k_min: found 20.*\(0, 10\)"),
        (lambda: landscape.random_walk(5, samples=0, rng=RNG), "samples: found 0"),
        (lambda: landscape.random_walk(5, samples=1, rng=RNG, scale=-1), "scale: found -1"),
        (lambda: landscape.measured_structure(np.zeros((1, 5)), [1]), r"found shape \(1, 5\)"),
        (lambda: landscape.measured_structure(np.zeros((2, 5)), [5]), "lags: found 5"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
