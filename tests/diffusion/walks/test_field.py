import numpy as np
import pytest

from ultraslow.diffusion.walks import field as fields


def within_error(structure, expected, errors=4.0):
    deviation = np.abs(structure.value - expected) / structure.standard_error
    assert (deviation < errors).all(), deviation


@pytest.mark.parametrize("dimension", [1, 2, 3, 10])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5])
def test_fields_have_their_structure_function(dimension, alpha):
    spectrum = fields.Spectrum(alpha, dimension, strength=1.5, k_min=1e-3, k_max=30, modes=80)
    rng = np.random.default_rng(5)
    field = fields.fourier_field(spectrum, fields=150, rng=rng)
    r = np.array([0.03, 0.3, 3.0, 30.0])
    measured = fields.field_structure(field, r, pairs=20, rng=rng)
    within_error(measured, fields.expected_structure(spectrum, r))


@pytest.mark.parametrize("dimension", [1, 2, 10])
@pytest.mark.parametrize("alpha", [0.6, 1.0, 1.9])
def test_a_wide_band_gives_the_power_of_the_distance(dimension, alpha):
    spectrum = fields.Spectrum(alpha, dimension, strength=2.0, k_min=1e-25, k_max=1e4)
    r = np.array([0.5, 2.0])
    found = fields.expected_structure(spectrum, r)
    # the missing long waves take (k_min·r)^(2−α), the missing short ones (k_max·r)^(−α)
    np.testing.assert_allclose(found, 4.0 * r**alpha, rtol=0.02)


def test_differences_of_an_independent_simulation_in_ten_dimensions():
    # standard deviations of V(x) − V(y) at r = 0.3, 3, 30, 300 from an independent simulation of
    # the same band, wave numbers from 1/1000 to 1 times √dimension: 0.28, 2.2, 8.6, 25
    spectrum = fields.Spectrum(
        1.0, 10, strength=(2 * np.pi) ** 0.25, k_min=1e-3 * np.sqrt(10), k_max=np.sqrt(10)
    )
    found = np.sqrt(fields.expected_structure(spectrum, [0.3, 3, 30, 300]))
    np.testing.assert_allclose(found, [0.28, 2.2, 8.6, 25], rtol=0.08)


def test_gradient_is_the_derivative_of_the_value():
    rng = np.random.default_rng(6)
    field = fields.fourier_field(fields.Spectrum(1.2, 4, modes=30), fields=3, rng=rng)
    x = rng.standard_normal((3, 5, 4))
    gradient = field.gradient(x)
    for axis in range(4):
        step = np.zeros(4)
        step[axis] = 1e-5
        numerical = (field.value(x + step) - field.value(x - step)) / 2e-5
        np.testing.assert_allclose(gradient[..., axis], numerical, atol=1e-7)


def test_value_equals_the_sum_over_waves():
    rng = np.random.default_rng(7)
    field = fields.fourier_field(fields.Spectrum(0.7, 2, modes=5), fields=2, rng=rng)
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
    field = fields.fourier_field(fields.Spectrum(1.0, 2, modes=5), fields=4, rng=rng)
    x = rng.standard_normal((4, 1, 2))
    np.testing.assert_array_equal(field.part(slice(1, 3)).value(x[1:3]), field.value(x)[1:3])


def test_increments_are_gaussian_and_isotropic():
    spectrum = fields.Spectrum(1.0, 3, k_min=0.01, k_max=10.0, modes=200)
    rng = np.random.default_rng(9)
    field = fields.fourier_field(spectrum, fields=3000, rng=rng)
    start = np.zeros((3000, 1, 3))
    for direction in ([2.0, 0, 0], [0, 0, 2.0], np.full(3, 2 / 3**0.5)):
        change = (field.value(start + np.array(direction)) - field.value(start))[:, 0]
        expected = float(fields.expected_structure(spectrum, 2.0))
        assert np.mean(change**2) == pytest.approx(expected, rel=4 * (2 / 3000) ** 0.5)
        kurtosis = np.mean(change**4) / np.mean(change**2) ** 2
        # 200 waves leave an excess kurtosis of order −0.1; the standard error is √(24/3000)
        assert kurtosis == pytest.approx(3.0, abs=0.1 + 4 * (24 / 3000) ** 0.5)


def test_strength_multiplies_the_potential():
    one, three = (
        fields.fourier_field(
            fields.Spectrum(1.2, 2, strength=c), fields=2, rng=np.random.default_rng(3)
        )
        for c in (1.0, 3.0)
    )
    x = np.random.default_rng(4).standard_normal((2, 5, 2))
    np.testing.assert_allclose(three.value(x), 3.0 * one.value(x))


def test_small_distances_are_smooth():
    # below the shortest wave D ∝ r²
    spectrum = fields.Spectrum(0.8, 4, k_max=10.0)
    d = fields.expected_structure(spectrum, [1e-4, 1e-3])
    assert d[1] / d[0] == pytest.approx(100.0, rel=1e-4)


@pytest.mark.parametrize("dimension", [200, 201, 300, 343, 1000, 5000])
def test_high_dimensions_average_over_directions(dimension):
    # Ω_d(u) → e^(−u²/2d)·(1 − u⁴/4d³) as directions become Gaussian (log of the Gamma series)
    u = np.sqrt(dimension) * np.array([0.1, 0.5, 1.0, 2.0, 4.0])
    expected = -np.expm1(-(u**2) / (2 * dimension) - u**4 / (4 * dimension**3))
    found = fields._lost(u, dimension)
    np.testing.assert_allclose(found, expected, rtol=20 / dimension**2)
    assert fields._lost(np.array([30.0 * np.sqrt(dimension)]), dimension) == pytest.approx(1.0)
    wide = fields.Spectrum(1.0, dimension, k_min=1e-3, k_max=100 * np.sqrt(dimension))
    assert fields.expected_structure(wide, 1.0) == pytest.approx(1.0, rel=2e-2)


def test_whole_numbers_may_come_as_floats():
    spectrum = fields.Spectrum(1.0, 3.0, modes=5.0)
    assert fields.fourier_field(spectrum, fields=2.0, rng=RNG).wave_vectors.shape == (2, 3, 5)


RNG = np.random.default_rng(0)
FEW = fields.fourier_field(fields.Spectrum(1.0, 3, modes=5), fields=2, rng=RNG)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fields.Spectrum(2.0, 3), r"alpha: found 2, expected a value in \(0, 2\)"),
        (lambda: fields.Spectrum(0.0, 3), "alpha: found 0"),
        (
            lambda: fields.expected_structure(fields.Spectrum(1.0, 3), [1.0, -2.0]),
            "distance: found -2",
        ),
        (lambda: fields.Spectrum(1.0, 0), "dimension: found 0, expected an integer >= 1"),
        (lambda: fields.Spectrum(1.0, 3, k_min=20.0), r"k_min: found 20.*\(0, 10\)"),
        (
            lambda: fields.fourier_field(fields.Spectrum(1.0, 3), fields=0, rng=RNG),
            "fields: found 0",
        ),
        (
            lambda: fields.field_structure(FEW.part(slice(1)), [1.0], pairs=3, rng=RNG),
            "fields in field: found 1, expected an integer >= 2",
        ),
        (
            lambda: fields.field_structure(FEW, [], pairs=3, rng=RNG),
            r"distance: found shape \(0,\), expected one or more",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
