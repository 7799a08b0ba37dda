import numpy as np
import pytest
from scipy import special

from ultraslow.diffusion.walks import field as fields, langevin

RNG = np.random.default_rng(1)


def test_flat_field_gives_free_diffusion():
    spectrum = fields.Spectrum(1.0, 3, strength=1e-12, modes=4)
    rng = np.random.default_rng(5)
    field = fields.fourier_field(spectrum, fields=200, rng=rng)
    walk = langevin.langevin(field, [0, 40], step=0.05, temperature=0.7, rng=rng, walkers=10)
    # ⟨x²⟩ = 2dTt = 2·3·0.7·2; the standard error over 2,000 walkers is 1.8 %
    assert walk.distance_sq[-1].mean() == pytest.approx(8.4, rel=0.06)
    np.testing.assert_allclose(walk.path_sq[-1].mean(), 8.4, rtol=0.02)


def test_langevin_equals_a_naive_loop():
    spectrum = fields.Spectrum(1.0, 2, modes=6)
    field = fields.fourier_field(spectrum, fields=2, rng=np.random.default_rng(6))
    walk = langevin.langevin(
        field, [0, 3, 8], step=0.1, temperature=0.4, rng=np.random.default_rng(7), walkers=3
    )
    rng = np.random.default_rng(7)
    x, kept = np.zeros((2, 3, 2)), {}
    for iteration in range(9):
        kept[iteration] = x.copy()
        xi = rng.standard_normal((2, 3, 2))
        for f in range(2):
            for w in range(3):
                gradient = np.zeros(2)
                for m in range(6):
                    k = field.wave_vectors[f, :, m]
                    angle = k @ x[f, w] + field.phases[f, m]
                    gradient -= field.amplitudes[f, m] * np.sin(angle) * k
                x[f, w] += -0.1 * gradient + np.sqrt(2 * 0.4 * 0.1) * xi[f, w]
    for row, iteration in enumerate((0, 3, 8)):
        np.testing.assert_allclose(walk.position[row], kept[iteration], atol=1e-12)


def test_without_noise_the_walker_freezes_in_a_minimum():
    spectrum = fields.Spectrum(1.0, 3, k_min=0.01, k_max=2.0, modes=60)
    rng = np.random.default_rng(8)
    field = fields.fourier_field(spectrum, fields=20, rng=rng)
    records = [0, 1000, 3000, 10_000]
    walk = langevin.langevin(field, records, step=0.2, temperature=0.0, rng=rng)
    frozen = walk.distance_sq[-1].mean()
    assert frozen > 1.0
    assert frozen == pytest.approx(walk.distance_sq[-2].mean(), rel=0.02)
    assert (np.diff(walk.potential, axis=0) <= 1e-9).all()  # descent never climbs


def test_at_low_temperature_two_walkers_on_one_field_stay_together():
    spectrum = fields.Spectrum(1.0, 3, k_min=0.01, k_max=2.0, modes=60)
    rng = np.random.default_rng(9)
    field = fields.fourier_field(spectrum, fields=20, rng=rng)
    walk = langevin.langevin(field, [0, 500], step=0.2, temperature=0.0, rng=rng, walkers=2)
    np.testing.assert_array_equal(walk.position[:, :, 0], walk.position[:, :, 1])


def test_gradient_and_potential_are_those_at_the_records():
    spectrum = fields.Spectrum(1.0, 3, modes=6)
    rng = np.random.default_rng(3)
    field = fields.fourier_field(spectrum, fields=2, rng=rng)
    walk = langevin.langevin(field, [0, 5, 9], step=0.1, temperature=0.2, rng=rng, walkers=2)
    for row in range(3):
        x = walk.position[row]
        gradient = field.gradient(x)
        np.testing.assert_allclose(walk.potential[row], field.value(x))
        np.testing.assert_allclose(walk.gradient_sq[row], np.sum(gradient**2, axis=-1))


def test_distance_counts_from_the_start_whether_it_is_recorded_or_not():
    walks = [
        langevin.langevin(FIELD, records, step=0.1, temperature=0.3, rng=np.random.default_rng(2))
        for records in ([0, 5, 9], [5, 9])
    ]
    assert walks[1].distance_sq.min() > 0
    np.testing.assert_array_equal(walks[1].distance_sq, walks[0].distance_sq[1:])


@pytest.mark.parametrize("block", [1, 12])
def test_blocks_cover_all_fields(monkeypatch, block):
    spectrum = fields.Spectrum(1.0, 2, modes=6)
    field = fields.fourier_field(spectrum, fields=7, rng=np.random.default_rng(4))
    still = {"step": 0.1, "temperature": 0.0, "rng": RNG}
    together = langevin.langevin(field, [50], **still)
    monkeypatch.setattr(langevin, "_BLOCK", block)
    apart = langevin.langevin(field, [50], **still)
    np.testing.assert_allclose(apart.position, together.position, rtol=1e-12)


def test_a_single_wave_slows_diffusion_by_the_bessel_factor():
    # Lifson and Jackson (1962): D = T/I₀(a/T)² in V = a·cos(x)
    a, temperature, walkers = 1.0, 0.7, 4000
    wave = fields.FourierField(np.array([[a]]), np.array([[[1.0]]]), np.array([[0.0]]))
    walk = langevin.langevin(
        wave,
        [0, 800, 2400],
        step=0.02,
        temperature=temperature,
        rng=np.random.default_rng(11),
        walkers=walkers,
    )
    spread = walk.position[:, 0, :, 0].var(axis=1)
    found = (spread[2] - spread[1]) / (2 * 1600 * 0.02)
    # standard error of the two variances: √(2/4000) each, relative
    assert found == pytest.approx(temperature / special.i0(a / temperature) ** 2, rel=0.1)


def test_distance_and_path_start_at_zero_and_the_path_only_grows():
    rng = np.random.default_rng(12)
    field = fields.fourier_field(fields.Spectrum(1.0, 3, modes=10), fields=3, rng=rng)
    walk = langevin.langevin(field, range(6), step=0.1, temperature=0.5, rng=rng)
    assert walk.position.shape == (6, 3, 1, 3)  # one walker a field by default
    np.testing.assert_array_equal(walk.distance_sq[0], 0.0)
    steps = np.sum(np.diff(walk.position, axis=0) ** 2, axis=-1)
    np.testing.assert_allclose(np.diff(walk.path_sq, axis=0), steps, rtol=1e-10)


FIELD = fields.fourier_field(fields.Spectrum(1.0, 2, modes=3), fields=1, rng=RNG)


def test_whole_numbers_may_come_as_floats():
    walk = langevin.langevin(FIELD, [2.0], step=0.1, temperature=1, rng=RNG, walkers=3.0)
    assert walk.position.shape == (1, 1, 3, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: langevin.langevin(FIELD, [0, 1], step=0.1, temperature=-0.5, rng=RNG),
            r"temperature: found -0.5, expected a value in \[0, inf\)",
        ),
        (
            lambda: langevin.langevin(FIELD, [0, 1], step=0, temperature=1, rng=RNG),
            "step: found 0",
        ),
        (
            lambda: langevin.langevin(FIELD, [1, 0], step=0.1, temperature=1, rng=RNG),
            "records: 1 is followed by 0",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
