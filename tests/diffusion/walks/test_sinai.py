import numpy as np
import pytest

from ultraslow.diffusion.walks import line, potential, sinai

# A Gaussian walk crosses a level with a mean overshoot of −ζ(½)/√(2π) standard deviations
# (Chernoff 1965); a valley has one at its bottom and one at its rim.
OVERSHOOT = 2 * 0.5826


def test_density_is_normalized_with_the_known_moments():
    x = np.linspace(0, 30, 60_001)  # beyond 30 the density is below 1e-15
    f = sinai.density(x)
    for power, expected in ((0, 1.0), (1, 5 / 6), (2, 61 / 45)):
        integral = 2 * np.trapezoid(f * x**power, x)
        assert integral == pytest.approx(expected, abs=1e-5)


def test_density_is_symmetric_and_continuous_at_zero():
    np.testing.assert_array_equal(sinai.density([-0.7, -2.0]), sinai.density([0.7, 2.0]))
    np.testing.assert_allclose(sinai.density([0.0, 1e-3]), 0.5, atol=3e-3)


def test_sampled_valleys_have_the_moments_of_the_limit_law():
    barrier = 8.0
    rng = np.random.default_rng(1)
    v = potential.random_walk(1000, samples=4000, rng=rng)
    limit = sinai.valley_bottom(v, barrier) / (barrier + OVERSHOOT) ** 2
    for found, expected in ((np.abs(limit), sinai.MEAN_ABS), (limit**2, sinai.MEAN_SQ)):
        error = found.std() / np.sqrt(len(found))
        assert found.mean() == pytest.approx(expected, abs=4 * error)
        assert error < 0.04 * expected


def naive_bottom(v, barrier):
    """Follow the walker: raise the level it can climb, let it fall to the next lower site."""
    site = len(v) // 2
    for level in np.linspace(0.0, barrier, 401)[1:]:
        while True:
            ways = [way for way in (next_lower(v, site, s) for s in (-1, 1)) if way[0] < level]
            if not ways:
                break
            site = min(ways)[1]
    return site - len(v) // 2


def next_lower(v, site, side):
    """The climb to the first lower site on one side, and that site."""
    climb, at = 0.0, site + side
    while 0 <= at < len(v):
        if v[at] < v[site]:
            return climb, at
        climb = max(climb, v[at] - v[site])
        at += side
    return np.inf, site


def test_valley_bottom_equals_a_walker_that_is_followed():
    v = potential.random_walk(400, samples=20, rng=np.random.default_rng(2))
    followed = [naive_bottom(row, 4.0) for row in v]
    np.testing.assert_array_equal(sinai.valley_bottom(v, 4.0), followed)


def test_density_is_flat_at_the_origin():
    np.testing.assert_allclose(sinai.density([0, 1e-9, 1e-5, -1e-4, 1e-3, 2e-3]), 0.5, rtol=1e-14)


def test_mirrored_potentials_have_mirrored_valleys():
    v = potential.random_walk(600, samples=50, rng=np.random.default_rng(3))
    found = sinai.valley_bottom(v, 5.0)
    np.testing.assert_array_equal(sinai.valley_bottom(v[:, ::-1], 5.0), -found)


def test_higher_barriers_lead_to_lower_valleys():
    v = potential.random_walk(1500, samples=50, rng=np.random.default_rng(4))
    rows = np.arange(50)
    heights = [v[rows, 1500 + sinai.valley_bottom(v, b)] for b in (1.0, 3.0, 6.0)]
    assert (np.diff(heights, axis=0) <= 0).all()
    assert (np.array(heights) <= 0).all()


def test_a_cold_walker_sits_in_the_valley():
    # at low temperature the exact probabilities gather at the bottom of Γ = T·ln t
    v = potential.random_walk(150, samples=40, rng=np.random.default_rng(5))
    temperature, barrier = 0.05, 5.0
    time = np.exp(barrier / temperature)
    walk = line.occupation(v, [time], temperature=temperature, edge_tolerance=1.0)
    at_bottom = walk.final[np.arange(40), 150 + sinai.valley_bottom(v, barrier)]
    # rates carry prefactors and neighbouring wells share, so not every sample agrees
    assert np.median(at_bottom) > 0.9


def test_a_grid_without_a_rim_is_refused():
    with pytest.raises(ValueError, match="1 of 1 end before they have risen by barrier 4"):
        sinai.valley_bottom(np.zeros((1, 5)), 4.0)


def test_asymptote_scales_with_temperature_and_strength():
    one = sinai.mean_sq_asymptote([1e6], temperature=1.0)
    np.testing.assert_allclose(one, 61 / 45 * np.log(1e6) ** 4)
    np.testing.assert_allclose(sinai.mean_sq_asymptote([1e6], temperature=2.0), 16 * one)
    found = sinai.mean_sq_asymptote([1e6], temperature=1.0, scale=2.0)
    np.testing.assert_allclose(found, one / 16)
