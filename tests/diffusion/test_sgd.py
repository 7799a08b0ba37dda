import numpy as np
import pytest

from diffusion import sgd

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


def test_records_do_not_change_the_walk():
    arguments = {"noise": H, "learning_rate": 0.3, "batch_size": 2, "walkers": 3}
    few = sgd.noisy_quadratic(H, [1, 1, 1], [20], rng=RNG(1), **arguments)
    many = sgd.noisy_quadratic(H, [1, 1, 1], range(21), rng=RNG(1), **arguments)
    np.testing.assert_array_equal(few.distance_sq[-1], many.distance_sq[-1])


def test_scale_invariant_gradients_are_orthogonal():
    motion = sgd.scale_invariant(
        [0, 1], dimension=10, start_norm=2.0, gradient_norm=3.0, learning_rate=0.1, rng=RNG(2)
    )
    np.testing.assert_allclose(motion.weight_sq[1], 4.0 + (0.1 * 3.0 / 2.0) ** 2, rtol=1e-12)
    np.testing.assert_allclose(motion.overlap[1], 4.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: sgd.quadratic_descent([1.0], [1.0], [0, 1], learning_rate=2.5),
            r"learning_rate: found 2.5, expected a value in \(0, 2\)",
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
            lambda: sgd.scale_invariant(
                [1], dimension=1, start_norm=1, gradient_norm=1, learning_rate=1, rng=RNG(0)
            ),
            "dimension: found 1, expected an integer >= 2",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
