import numpy as np
import pytest

from ultraslow.diffusion.walks import potential

LAGS = [1, 3, 10, 30, 100]


def within_error(structure, expected, errors=4.0):
    deviation = np.abs(structure.value - expected) / structure.standard_error
    assert (deviation < errors).all(), deviation


@pytest.mark.parametrize("hurst", [0.1, 0.25, 0.5, 0.75, 0.95])
def test_fractional_potentials_have_their_structure_function(hurst):
    v = potential.fractional_brownian(
        300, hurst=hurst, samples=400, rng=np.random.default_rng(1), scale=1.7
    )
    measured = potential.potential_structure(v, LAGS)
    within_error(measured, 1.7**2 * np.array(LAGS) ** (2 * hurst))
    assert (measured.standard_error < 0.1 * measured.value).all()


def test_fractional_steps_have_their_covariance():
    # the covariance matrix of the steps, element by element, against the formula
    v = potential.fractional_brownian(
        5, hurst=0.8, samples=200_000, rng=np.random.default_rng(2), scale=1.0
    )
    found = np.cov(np.diff(v, axis=1).T)
    for i in range(10):
        for j in range(10):
            k = abs(i - j)
            expected = 0.5 * ((k + 1) ** 1.6 - 2 * k**1.6 + abs(k - 1) ** 1.6)
            assert found[i, j] == pytest.approx(expected, abs=0.015)


def test_random_walk_potentials_are_zero_in_the_middle_with_linear_structure():
    v = potential.random_walk(300, samples=400, rng=np.random.default_rng(3), scale=0.5)
    np.testing.assert_array_equal(v[:, 300], 0.0)
    within_error(potential.potential_structure(v, LAGS), 0.25 * np.array(LAGS))


def test_potential_structure_equals_a_double_loop():
    v = np.random.default_rng(4).standard_normal((3, 9))
    found = potential.potential_structure(v, [1, 4])
    for column, lag in enumerate((1, 4)):
        samples = [np.mean([(row[i + lag] - row[i]) ** 2 for i in range(9 - lag)]) for row in v]
        assert found.value[column] == pytest.approx(np.mean(samples), rel=1e-12)
        error = np.std(samples, ddof=1) / np.sqrt(3)
        assert found.standard_error[column] == pytest.approx(error, rel=1e-12)


def test_fractional_potentials_at_one_half_have_independent_steps():
    v = potential.fractional_brownian(
        200, hurst=0.5, samples=500, rng=np.random.default_rng(7), scale=2.0
    )
    steps = np.diff(v, axis=1)
    assert steps.std() == pytest.approx(2.0, rel=0.01)
    neighbours = np.mean(steps[:, 1:] * steps[:, :-1]) / 4.0
    assert abs(neighbours) < 4 / np.sqrt(steps.size)


def test_scale_multiplies_the_potential():
    for make in (
        potential.random_walk,
        lambda *a, **k: potential.fractional_brownian(*a, hurst=0.3, **k),
    ):
        one, three = (
            make(20, samples=2, rng=np.random.default_rng(1), scale=s) for s in (1.0, 3.0)
        )
        np.testing.assert_allclose(three, 3.0 * one)


def test_over_samples_gives_mean_and_standard_error():
    found = potential.over_samples(np.array([1.0]), np.array([[1.0], [3.0], [5.0]]))
    assert found.value[0] == 3.0
    assert found.standard_error[0] == pytest.approx(2.0 / 3**0.5)


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: potential.fractional_brownian(5, hurst=1.0, samples=1, rng=RNG),
            r"hurst: found 1, expected a value in \(0, 1\)",
        ),
        (lambda: potential.random_walk(5, samples=0, rng=RNG), "samples: found 0"),
        (lambda: potential.random_walk(5, samples=1, rng=RNG, scale=-1), "scale: found -1"),
        (lambda: potential.potential_structure(np.zeros((1, 5)), [1]), r"found shape \(1, 5\)"),
        (lambda: potential.potential_structure(np.zeros((2, 5)), [5]), "lags: found 5"),
        (lambda: potential.potential_structure(np.zeros((2, 5)), []), r"lags: found none, .*1, 4"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
