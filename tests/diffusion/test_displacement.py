import numpy as np
import pytest

from ultraslow.diffusion import displacement

RNG = np.random.default_rng(5)
# far from the origin on purpose, and not equally far in all coordinates
WALK = np.cumsum(RNG.standard_normal((23, 3, 2)), axis=0) + np.array([1e4, -1e4])


def test_lagged_msd_equals_the_double_loop():
    found = displacement.lagged_msd(WALK)
    for lag in range(len(WALK)):
        total = np.zeros(3)
        for k in range(len(WALK) - lag):
            total += np.sum((WALK[k + lag] - WALK[k]) ** 2, axis=-1)
        np.testing.assert_allclose(found[lag], total / (len(WALK) - lag), rtol=1e-9, atol=1e-9)


def test_two_time_msd_equals_the_double_loop():
    found = displacement.two_time_msd(WALK, [0, 7, 22])
    for row, start in zip(found, (0, 7, 22), strict=True):
        for t in range(len(WALK)):
            for walker in range(3):
                expected = sum(
                    (WALK[t, walker, i] - WALK[start, walker, i]) ** 2 for i in range(2)
                )
                assert row[t, walker] == pytest.approx(expected, rel=1e-12)


def test_two_time_msd_of_no_start_is_empty():
    assert displacement.two_time_msd(WALK, np.empty(0, dtype=int)).shape == (0, 23, 3)


def test_distance_msd_and_straightness_equal_loops():
    d, r = displacement.distance(WALK), displacement.path_straightness(WALK)
    msd = displacement.mean_squared_displacement(WALK)
    for t in range(1, len(WALK)):
        for w in range(3):
            square = np.sum((WALK[t, w] - WALK[0, w]) ** 2)
            length = sum(np.sum((WALK[s, w] - WALK[s - 1, w]) ** 2) for s in range(1, t + 1))
            assert d[t, w] ** 2 == pytest.approx(square, rel=1e-12)
            assert r[t - 1, w] == pytest.approx(square / length, rel=1e-12)
        assert msd[t] == pytest.approx(np.mean(d[t] ** 2), rel=1e-12)


def test_all_axes_between_time_and_dimension_count_walkers():
    several = np.cumsum(RNG.standard_normal((5, 2, 3, 4)), axis=0)
    found = displacement.mean_squared_displacement(several)
    assert found.shape == (5,)
    expected = displacement.mean_squared_displacement(several.reshape(5, 6, 4))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_path_that_returns_has_no_displacement_there_and_none_is_negative():
    found = displacement.lagged_msd(np.tile(RNG.standard_normal((4, 3)), (10, 1)))
    assert found[0] == 0.0 and (found >= 0).all()
    np.testing.assert_allclose(found[::4], 0.0, atol=1e-12)


def test_ballistic_motion_has_quadratic_displacement_and_straightness_t():
    path = np.arange(50.0)[:, None] * np.array([0.6, 0.8])
    np.testing.assert_allclose(displacement.lagged_msd(path), np.arange(50.0) ** 2, atol=1e-9)
    np.testing.assert_allclose(displacement.path_straightness(path), np.arange(1.0, 50.0))


def test_straightness_of_independent_steps_is_one_on_average():
    path = np.cumsum(np.random.default_rng(1).standard_normal((40, 4000, 8)), axis=0)
    mean = displacement.path_straightness(path).mean(axis=1)
    # R has variance about 2/(8·…) per walker; 4,000 walkers put 0.05 beyond six standard errors
    np.testing.assert_allclose(mean, 1.0, atol=0.05)


def test_straightness_before_the_first_move_is_nan():
    assert np.isnan(displacement.path_straightness(np.zeros((3, 1)))).all()


@pytest.mark.parametrize(
    ("curve", "kappa"),
    [
        (lambda t: 3 + 2 * np.log(t), lambda t: 0 * t),
        (lambda t: 1 + 4 * t**0.3, lambda t: 0.3 + 0 * t),
        (lambda t: np.log(t) ** 2.5, lambda t: 1.5 / np.log(t)),
        (lambda t: -(t**-0.4), lambda t: -0.4 + 0 * t),
        (lambda t: np.log1p(t / 50), lambda t: 1 / (1 + t / 50)),
    ],
    ids=["log", "power with offset", "power of the log", "saturation", "shifted log"],
)
def test_curvature_of_known_laws(curve, kappa):
    t = np.geomspace(10, 1e5, 800)
    found = displacement.curvature(t, curve(t))[2:-2]
    np.testing.assert_allclose(found, kappa(t)[2:-2], atol=2e-3)


def test_local_exponent_of_a_power_on_uneven_times():
    t = np.sort(RNG.uniform(1, 100, 40))
    np.testing.assert_allclose(displacement.local_exponent(t, 7 * t**1.7), 1.7, rtol=1e-10)


@pytest.mark.parametrize("first", [0.0, -1.0])
def test_exponents_are_nan_where_a_distance_has_no_logarithm(first):
    t = np.array([2.0, 4.0, 8.0, 16.0, 32.0])
    d = np.array([first, *t[1:] ** 0.5])
    # the slope in the middle of three and the one-sided one at the end of three see the first
    assert np.isnan(displacement.local_exponent(t, d)).tolist() == [True, True, *[False] * 3]
    assert np.isnan(displacement.log_time_exponent(t, d)).tolist() == [True, *[False] * 3]


def test_curvature_is_nan_where_the_curve_falls():
    t = np.geomspace(1, 10, 6)
    assert np.isnan(displacement.curvature(t, -np.log(t))).all()


def test_two_time_displacement_is_symmetric_and_holds_the_distance():
    table = displacement.two_time_msd(WALK, np.arange(len(WALK)))
    np.testing.assert_allclose(table, table.swapaxes(0, 1))
    np.testing.assert_array_equal(np.diagonal(table), 0.0)
    np.testing.assert_allclose(table[0], displacement.distance(WALK) ** 2)


def test_shifts_and_rotations_change_no_displacement():
    rotation, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((2, 2)))
    moved = WALK @ rotation + np.array([5.0, -3.0])
    for measure in (
        displacement.distance,
        displacement.lagged_msd,
        displacement.path_straightness,
        displacement.mean_squared_displacement,
    ):
        np.testing.assert_allclose(measure(moved), measure(WALK), rtol=1e-7, atol=1e-7)


def test_lagged_msd_of_a_stationary_path_levels_off_where_the_distance_does():
    # independent points: every lag has twice the variance, d = 4
    path = np.random.default_rng(3).standard_normal((4000, 4))
    found = displacement.lagged_msd(path)[1:100]
    np.testing.assert_allclose(found, 8.0, rtol=0.1)


@pytest.mark.parametrize(
    "measure",
    [
        displacement.log_slope,
        displacement.local_exponent,
        displacement.curvature,
        displacement.log_time_exponent,
    ],
)
def test_slopes_of_several_series_are_those_of_each(measure):
    t = np.geomspace(2, 50, 12)
    d = np.stack([1 + np.log(t), t**0.5, 2 + t], axis=1)
    for i in range(3):
        np.testing.assert_array_equal(measure(t, d)[:, i], measure(t, d[:, i]))


def test_slopes_are_exact_to_second_order_at_the_ends_too():
    t = np.sort(RNG.uniform(1, 100, 9))
    found = displacement.log_slope(t, 1 + 2 * np.log(t) + 3 * np.log(t) ** 2)
    np.testing.assert_allclose(found, 2 + 6 * np.log(t), rtol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: displacement.log_slope([1, 2, 2, 3], np.ones(4)), "times: 2 is followed by 2"),
        (lambda: displacement.log_slope([0, 1, 2], np.ones(3)), "times: starts at 0"),
        (
            lambda: displacement.log_slope([1, 2, 3], np.ones(4)),
            r"values: found shape \(4,\), expected 3 times",
        ),
        (lambda: displacement.log_time_exponent([1, 2], [1, 2]), "times: starts at 1"),
        (
            lambda: displacement.log_time_exponent([2, 3], [1, 2, 3]),
            r"msd: found shape \(3,\), expected 2 times",
        ),
        (
            lambda: displacement.log_slope([1, np.nan, 3], np.ones(3)),
            "times: found nan, expected finite",
        ),
        (lambda: displacement.log_slope([1, 2], np.ones(2)), r"times: found shape \(2,\)"),
        (lambda: displacement.distance([1, 2]), r"path: found shape \(2,\)"),
        (lambda: displacement.distance(np.empty((0, 2))), r"path: found shape \(0, 2\)"),
        (lambda: displacement.two_time_msd(WALK, [23]), "starts: found 23"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
