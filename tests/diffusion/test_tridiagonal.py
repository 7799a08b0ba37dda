from decimal import Decimal, localcontext

import numpy as np
import pytest

from diffusion import tridiagonal

RNG = np.random.default_rng(0)
SLOPE = RNG.normal(scale=0.8, size=(3, 20))
STEPS = np.array([1e-3, 0.5, 40.0])


def matrix(slope, step):
    n = len(slope) + 1
    a = np.eye(n)
    for i, s in enumerate(slope):
        a[i + 1, i] -= step * np.exp(-s)
        a[i, i] += step * np.exp(-s)
        a[i, i + 1] -= step * np.exp(s)
        a[i + 1, i + 1] += step * np.exp(s)
    return a


def factors(slope, steps):
    pivots = np.empty((len(slope), len(steps), slope.shape[1] + 1))
    tridiagonal.eliminate(slope, steps, pivots)
    return pivots


def test_pivots_equal_textbook_elimination():
    pivots = factors(SLOPE, STEPS)
    for sample, slope in enumerate(SLOPE):
        for k, step in enumerate(STEPS):
            a = matrix(slope, step)
            for i in range(len(a)):
                assert pivots[sample, k, i] == pytest.approx(a[i, i], rel=1e-10)
                if i + 1 < len(a):
                    a[i + 1] -= a[i + 1, i] / a[i, i] * a[i]


@pytest.mark.parametrize("kind", [tridiagonal.Symmetric, tridiagonal.General])
def test_solutions_equal_the_dense_ones(kind):
    pivots = factors(SLOPE, STEPS)
    right = np.zeros(21)
    right[10] = 1.0
    for slope, pivot in zip(SLOPE, pivots, strict=True):
        system = tridiagonal.solver(slope, STEPS, pivot)
        if kind is tridiagonal.General:
            lower = -np.outer(STEPS, np.exp(-slope)) / pivot[:, :-1]
            system = tridiagonal.General(pivot, lower, -np.outer(STEPS, np.exp(slope)))
        assert isinstance(system, kind)
        for k, step in enumerate(STEPS):
            found = system.probability(system.solve(k, right))
            np.testing.assert_allclose(found, np.linalg.solve(matrix(slope, step), right))


def test_depth_decides_the_form():
    for drop, kind in ((1.0, tridiagonal.Symmetric), (40.0, tridiagonal.General)):
        slope = np.full((1, 20), -drop)
        system = tridiagonal.solver(slope[0], STEPS, factors(slope, STEPS)[0])
        assert isinstance(system, kind)


def test_no_digit_is_lost_at_huge_steps():
    # after infinite time the solution is Boltzmann's, exactly normalized
    slope = RNG.normal(scale=2.0, size=(1, 200))
    steps = np.array([1e250])
    system = tridiagonal.solver(slope[0], steps, factors(slope, steps)[0])
    right = np.zeros(201)
    right[100] = 1.0
    found = system.probability(system.solve(0, right))
    height = np.concatenate([[0.0], np.cumsum(slope[0])])
    expected = np.exp(-2.0 * (height - height.min()))
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-10)


def exact(slope, step, right):
    """The tridiagonal system by elimination in 80 digits."""
    with localcontext() as context:
        context.prec = 80
        up = [Decimal(step) * (-Decimal(s)).exp() for s in slope.tolist()]
        down = [Decimal(step) * Decimal(s).exp() for s in slope.tolist()]
        pivot = [1 + a + b for a, b in zip([*up, 0], [0, *down], strict=True)]
        x = [Decimal(p) for p in right.tolist()]
        for i, push in enumerate(up):
            pivot[i + 1] -= push / pivot[i] * down[i]
            x[i + 1] += push / pivot[i] * x[i]
        x[-1] /= pivot[-1]
        for i in reversed(range(len(up))):
            x[i] = (x[i] + down[i] * x[i + 1]) / pivot[i]
        return [float(value) for value in x]


@pytest.mark.parametrize("sign", [1, -1], ids=["hill", "valley"])
def test_the_form_for_deep_potentials_keeps_its_digits(sign):
    slope = sign * np.repeat([40.0, -35.0], 10) + SLOPE[0]
    system = tridiagonal.solver(slope, STEPS, factors(slope[None], STEPS)[0])
    assert isinstance(system, tridiagonal.General)
    right = np.arange(1.0, 22.0)
    for k, step in enumerate(STEPS):
        found = system.probability(system.solve(k, right))
        np.testing.assert_allclose(found, exact(slope, step, right), rtol=1e-12)
        assert found.sum() == pytest.approx(right.sum(), rel=1e-12)  # nobody is lost
