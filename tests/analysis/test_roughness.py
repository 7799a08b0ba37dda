import numpy as np
import pytest

from analysis.roughness import Scan, exponent, outer_half, scans

RADII = np.geomspace(0.1, 10, 9)
SIGNS = np.array([1.0, -1.0, 1.0, -1.0])


def scan(gamma=1.0, *, mean=None, noise=0.0):
    """ΔL = mean(r) ± r^γ along four directions."""
    rise = np.zeros(RADII.size) if mean is None else mean(RADII)
    return Scan(0, RADII, rise[:, None] + RADII[:, None] ** gamma * SIGNS, noise)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_a_power_of_the_radius_is_recovered(gamma):
    assert exponent(scan(gamma)) == pytest.approx(gamma, rel=1e-12)


def test_evaluation_noise_is_subtracted_and_what_it_dominates_left_out():
    # The spread over four directions is 2/√3·√(r² + σ²) with σ of the same form as the noise.
    noise, signal = 0.3, RADII
    deviation = np.sqrt(signal**2 + noise**2) * np.sqrt(3 / 4)
    noisy = Scan(0, RADII, deviation[:, None] * SIGNS, noise)
    kept = np.isfinite(noisy.spread())
    np.testing.assert_array_equal(kept, np.hypot(signal, noise) > 2 * noise)
    np.testing.assert_allclose(noisy.spread()[kept], signal[kept], rtol=1e-12)
    assert exponent(noisy) == pytest.approx(1.0, rel=1e-12)


def test_the_crossover_is_where_the_mean_overtakes_the_spread():
    # mean 3 r² against a spread of 1.155 r, the mean known to ± 2·0.577 r: r > 0.77
    assert scan(mean=lambda r: 3 * r**2).crossover() == pytest.approx(RADII[RADII > 0.77][0])
    assert scan().crossover() == np.inf


def test_the_share_of_falling_steps():
    assert scan().falling(0.0) == pytest.approx(0.5)
    assert scan(mean=lambda r: 5 * r).falling(0.0) == 0.0
    assert np.isnan(scan().falling(20.0))
    assert np.isnan(scan(noise=100.0).falling(0.0))


def test_few_or_close_radii_have_no_exponent():
    assert np.isnan(exponent(scan(), low=5.0))
    close = Scan(0, np.array([1.0, 1.5, 2.0, 2.9]), np.ones((4, 4)) * SIGNS, 0.0)
    assert np.isnan(exponent(close))


def test_the_outer_half_in_the_logarithm():
    assert outer_half(scan()) == pytest.approx(1.0)


def test_scans_are_read_up_to_the_distance_travelled(make):
    values = np.full((5, 1, 9, 4), np.nan)
    values[2, 0] = scan().difference
    values[4, 0, :, :3] = scan().difference[:, :3]  # three directions are too few
    fields = {"ensemble": ["filter"], "direction": np.arange(4), "radius": RADII}
    run = make(records=[0, 1, 2, 4, 8], loss_difference=values, **fields)
    (found,) = scans(run, "filter", reach=2.0)
    assert found.iteration == 2
    np.testing.assert_allclose(found.radius, RADII[RADII <= 2])
    assert scans(run, "isotropic", reach=2.0) == []
    assert scans(run, "filter", reach=0.01) == []
    assert scans(make(records=[0, 1]), "filter", reach=1.0) == []


def test_a_scan_ends_where_a_direction_diverges(make):
    values = np.full((2, 1, 9, 4), np.nan)
    values[1, 0] = scan().difference
    values[1, 0, 6:, 2] = np.inf
    fields = {"ensemble": ["noise"], "direction": np.arange(4), "radius": RADII}
    (found,) = scans(make(records=[0, 1], loss_difference=values, **fields), "noise", reach=9.0)
    np.testing.assert_allclose(found.radius, RADII[:6])


def test_directions_along_the_trajectory_are_taken_from_all_records(make):
    values = np.full((4, 1, 9, 4), np.nan)
    for row in (1, 2, 3):
        values[row, 0, :, :2] = row * scan().difference[:, :2]
    fields = {"ensemble": ["trajectory"], "direction": np.arange(4), "radius": RADII}
    run = make(records=[0, 1, 2, 4], loss_difference=values, **fields)
    (found,) = scans(run, "trajectory", reach=9.0)
    assert found.difference.shape == (8, 6)
    assert found.iteration == 4
