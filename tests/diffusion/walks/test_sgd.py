import numpy as np
import pytest

from ultraslow.diffusion.laws.null import SCALE_INVARIANT_DECAY, SEPARABLE
from ultraslow.diffusion.walks import sgd

H = np.array([0.1, 0.5, 1.5])
RNG = np.random.default_rng


def test_squares_are_consistent_with_each_other():
    motion = sgd.noisy_quadratic(
        H, [1, 2, 3], [0, 5, 20], noise=H, learning_rate=0.3, batch_size=2, walkers=4, rng=RNG(0)
    )
    expected = motion.weight_sq - 2 * motion.overlap + 14.0
    np.testing.assert_allclose(motion.distance_sq, expected, atol=1e-12)
    np.testing.assert_array_equal(motion.distance_sq[0], 0.0)
    np.testing.assert_array_equal(motion.weight_sq[0], 14.0)


def test_momentum_equals_a_naive_loop():
    noise, rate, m = np.array([1.0, 2.0, 0.5]), 0.2, 0.9
    motion = sgd.noisy_quadratic(
        H,
        [1, 1, 1],
        [0, 30],
        noise=noise,
        learning_rate=rate,
        batch_size=4,
        walkers=2,
        rng=RNG(7),
        momentum=m,
    )
    xi = RNG(7).standard_normal((30, 2, 3))
    for walker in range(2):
        w, b = np.ones(3), np.zeros(3)
        for t in range(30):
            for i in range(3):
                b[i] = m * b[i] + H[i] * w[i] + np.sqrt(noise[i] / 4) * xi[t, walker, i]
                w[i] -= rate * b[i]
        assert motion.weight_sq[1, walker] == pytest.approx(w @ w, rel=1e-12)


def test_momentum_acts_like_a_larger_learning_rate():
    h = np.geomspace(1e-3, 0.05, 20)
    plain = sgd.quadratic_descent(h, np.ones(20), [0, 2000], learning_rate=0.1)
    heavy = sgd.noisy_quadratic(
        h,
        np.ones(20),
        [0, 2000],
        noise=np.zeros(20),
        learning_rate=0.01,
        batch_size=1,
        walkers=1,
        rng=RNG(0),
        momentum=0.9,
    )
    np.testing.assert_allclose(heavy.distance_sq, plain.distance_sq, rtol=0.01)


def test_a_drifting_walk_equals_a_naive_loop():
    noise, gradient = np.array([1.0, 4.0]), np.array([0.5, -1.0])
    motion = sgd.drifting_walk(
        gradient, [0, 1, 5], noise=noise, learning_rate=0.3, batch_size=4, walkers=3, rng=RNG(2)
    )
    xi = RNG(2).standard_normal((5, 3, 2))
    for walker in range(3):
        w = np.zeros(2)
        for t in range(5):
            w -= 0.3 * (gradient + np.sqrt(noise / 4) * xi[t, walker])
            if t in (0, 4):
                assert motion.distance_sq[1 + (t == 4), walker] == pytest.approx(w @ w)
    assert motion.iteration.tolist() == [0, 1, 5] and motion.weights == 2


def test_motion_knows_its_weights_and_one_walker_is_the_default():
    few = sgd.scale_invariant_walk(
        [0, 1], dimension=2, start_norm=1.0, gradient_norm=1.0, learning_rate=0.1, rng=RNG(0)
    )
    many = sgd.quadratic_descent(H, [1, 1, 1], [0, 1], learning_rate=0.1)
    assert (few.weights, many.weights) == (2, 3)
    assert few.distance_sq.shape == many.distance_sq.shape == (2, 1)


def test_records_do_not_change_the_walk():
    arguments = {"noise": H, "learning_rate": 0.3, "batch_size": 2, "walkers": 3}
    few = sgd.noisy_quadratic(H, [1, 1, 1], [20], rng=RNG(1), **arguments)
    many = sgd.noisy_quadratic(H, [1, 1, 1], range(21), rng=RNG(1), **arguments)
    np.testing.assert_array_equal(few.distance_sq[-1], many.distance_sq[-1])


def test_scale_invariant_gradients_are_orthogonal():
    motion = sgd.scale_invariant_walk(
        [0, 1], dimension=10, start_norm=2.0, gradient_norm=3.0, learning_rate=0.1, rng=RNG(2)
    )
    np.testing.assert_allclose(motion.weight_sq[1], 4.0 + (0.1 * 3.0 / 2.0) ** 2, rtol=1e-12)
    np.testing.assert_allclose(motion.overlap[1], 4.0, rtol=1e-12)


def test_momentum_has_its_stationary_variance():
    # ⟨w²⟩ = η·c·(1 + m)/(M·h·(1 − m)·(2(1 + m) − ηh)), the fixed point of the covariance of (w, b)
    rate, m, h, c, batch = 0.1, 0.8, np.array([0.5, 2.0]), np.array([3.0, 1.0]), 4
    motion = sgd.noisy_quadratic(
        h,
        [0, 0],
        [400],
        noise=c,
        learning_rate=rate,
        batch_size=batch,
        walkers=20_000,
        rng=RNG(3),
        momentum=m,
    )
    variance = rate * c * (1 + m) / (batch * h * (1 - m) * (2 * (1 + m) - rate * h))
    assert motion.weight_sq[-1].mean() == pytest.approx(variance.sum(), rel=0.04)


def test_decay_leads_to_the_equilibrium_norm():
    # w_eq⁴ = η·g²/(2λ), from either side
    for start in (1.0, 6.0):
        motion = sgd.scale_invariant_walk(
            [6000],
            dimension=50,
            start_norm=start,
            gradient_norm=5.0,
            learning_rate=0.02,
            weight_decay=0.02,
            walkers=2,
            rng=RNG(4),
        )
        np.testing.assert_allclose(motion.weight_sq[-1] ** 2, 0.02 * 25 / 0.04, rtol=0.02)


def test_logistic_descent_finds_the_direction_of_the_margin():
    # support vectors (1, 0) and (0, 1): the margin direction is their bisector
    x = np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 1.0]])
    motion = sgd.separable_logistic(x, [0, 1, 5000], learning_rate=1.0)
    np.testing.assert_array_equal(motion.overlap, 0.0)
    # the first step from 0 is half the mean of the data
    assert motion.weight_sq[1, 0] == pytest.approx(np.sum((x.mean(axis=0) / 2) ** 2), rel=1e-12)
    assert motion.weight_sq[2, 0] > 50


@pytest.mark.parametrize(
    ("turn", "decay", "excess"),
    [
        (0.2, 0.0, 0.0098),
        (1.0, 0.0, 0.169),
        (4.0, 0.0, 0.836),
        (0.01, 0.1, 0.05),
        (0.01, 0.3, 0.157),
    ],
)
def test_n3_and_n4_lag_behind_the_first_step_by_what_their_pages_say(turn, decay, excess):
    shared = {
        "learning_rate": 1.0,
        "weight_decay": decay,
        "gradient_norm": turn,
        "start_norm": 1.0,
    }
    motion = sgd.scale_invariant_walk([1], dimension=3, rng=np.random.default_rng(7), **shared)
    found = np.sqrt(motion.distance_sq[:, 0]) / SCALE_INVARIANT_DECAY.distance([1], shared) - 1
    assert found == pytest.approx(excess, abs=1e-3)


@pytest.mark.parametrize(("drive", "excess"), [(0.1, 0.0126), (0.5, 0.0636), (1.0, 0.129)])
def test_n5_lags_behind_the_first_step_by_what_its_page_says(drive, excess):
    motion = sgd.separable_logistic([[1.0]], [1, 100], learning_rate=drive)
    law = SEPARABLE.distance([1, 100], {"learning_rate": drive, "margin": 1.0})
    first, late = np.sqrt(motion.distance_sq[:, 0]) / law - 1
    assert first == pytest.approx(excess, abs=1e-3)
    assert abs(late) < 0.005


@pytest.mark.filterwarnings("error")
def test_logistic_descent_takes_inputs_of_any_length():
    motion = sgd.separable_logistic([[1.0, 0.0], [1e3, 0.0]], [1, 9], learning_rate=10.0)
    # after one step, 10·(1 + 1000)/4, both losses have no gradient left
    np.testing.assert_allclose(motion.distance_sq[:, 0], 2502.5**2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: sgd.quadratic_descent([1.0], [1.0], [0, 1], learning_rate=2.5),
            r"learning_rate: found 2.5, expected a value in \(0, 2\)",
        ),
        (
            # the steepest mode is the first to be unstable
            lambda: sgd.quadratic_descent([0.1, 4.0], [1.0, 1.0], [0, 1], learning_rate=0.6),
            r"learning_rate: found 0.6, expected a value in \(0, 0.5\)",
        ),
        (
            lambda: sgd.quadratic_descent([], [], [0, 1], learning_rate=0.1),
            r"curvatures, start: found shapes \(0,\), \(0,\)",
        ),
        (
            lambda: sgd.quadratic_descent([1.0, 2.0], [1.0], [0, 1], learning_rate=0.1),
            r"curvatures, start: found shapes \(2,\), \(1,\)",
        ),
        (
            lambda: sgd.quadratic_descent([-1.0], [1.0], [0, 1], learning_rate=0.1),
            "curvatures: found -1",
        ),
        (
            lambda: sgd.quadratic_descent([1.0], [1.0], [3, 3], learning_rate=0.1),
            "records: 3 is followed by 3",
        ),
        (
            lambda: sgd.drifting_walk(
                [1.0], [1], noise=[-2.0], learning_rate=1, batch_size=1, walkers=1, rng=RNG(0)
            ),
            "noise: found -2, expected finite values >= 0",
        ),
        (
            lambda: sgd.separable_logistic([1.0, 2.0], [1], learning_rate=1),
            r"inputs: found shape \(2,\)",
        ),
        (
            lambda: sgd.scale_invariant_walk(
                [1], dimension=1, start_norm=1, gradient_norm=1, learning_rate=1, rng=RNG(0)
            ),
            "dimension: found 1, expected an integer >= 2",
        ),
        (
            lambda: sgd.scale_invariant_walk(
                [1],
                dimension=2,
                start_norm=1,
                gradient_norm=1,
                learning_rate=0.5,
                weight_decay=4.0,
                rng=RNG(0),
            ),
            r"weight_decay: found 4, expected a value in \[0, 4\)",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
