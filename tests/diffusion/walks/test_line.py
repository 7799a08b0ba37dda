from decimal import Decimal, localcontext

import numpy as np
import pytest
from scipy import special
from scipy.linalg import expm

from ultraslow.diffusion.walks import line, potential

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
    line.eliminate(slope, steps, pivots)
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


@pytest.mark.parametrize("kind", [line.Symmetric, line.General])
def test_solutions_equal_the_dense_ones(kind):
    pivots = factors(SLOPE, STEPS)
    right = np.zeros(21)
    right[10] = 1.0
    for slope, pivot in zip(SLOPE, pivots, strict=True):
        system = line.solver(slope, STEPS, pivot)
        if kind is line.General:
            lower = -np.outer(STEPS, np.exp(-slope)) / pivot[:, :-1]
            system = line.General(pivot, lower, -np.outer(STEPS, np.exp(slope)))
        assert isinstance(system, kind)
        for k, step in enumerate(STEPS):
            found = system.probability(system.solve(k, right))
            np.testing.assert_allclose(found, np.linalg.solve(matrix(slope, step), right))


def test_depth_decides_the_form():
    for drop, kind in ((1.0, line.Symmetric), (40.0, line.General)):
        slope = np.full((1, 20), -drop)
        system = line.solver(slope[0], STEPS, factors(slope, STEPS)[0])
        assert isinstance(system, kind)


def test_no_digit_is_lost_at_huge_steps():
    # after infinite time the solution is Boltzmann's, exactly normalized
    slope = RNG.normal(scale=2.0, size=(1, 200))
    steps = np.array([1e250])
    system = line.solver(slope[0], steps, factors(slope, steps)[0])
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
    system = line.solver(slope, STEPS, factors(slope[None], STEPS)[0])
    assert isinstance(system, line.General)
    right = np.arange(1.0, 22.0)
    for k, step in enumerate(STEPS):
        found = system.probability(system.solve(k, right))
        np.testing.assert_allclose(found, exact(slope, step, right), rtol=1e-12)
        assert found.sum() == pytest.approx(right.sum(), rel=1e-12)  # nobody is lost


WALKS_RNG = np.random.default_rng(1)
POTENTIAL = potential.random_walk(40, samples=3, rng=WALKS_RNG)


def generator(v, temperature):
    n = len(v)
    w = np.zeros((n, n))
    for i in range(n):
        for j in (i - 1, i + 1):
            if 0 <= j < n:
                rate = np.exp(-(v[j] - v[i]) / (2 * temperature))
                w[j, i] += rate
                w[i, i] -= rate
    return w


def exact_moments(v, times, temperature):
    x = np.arange(len(v)) - len(v) // 2
    start = (x == 0).astype(float)
    p = [expm(generator(v, temperature) * t) @ start for t in times]
    return np.array([[q @ x, q @ np.abs(x), q @ x**2] for q in p])


@pytest.mark.filterwarnings("ignore::ultraslow.diffusion.walks.line.EdgeWarning")
def test_moments_equal_the_matrix_exponential():
    times = np.array([0.1, 1.0, 10.0, 300.0])
    found = line.occupation(POTENTIAL, times, temperature=0.7, ratio=1.1)
    for sample, v in enumerate(POTENTIAL):
        mean, mean_abs, mean_sq = exact_moments(v, times, 0.7).T
        np.testing.assert_allclose(found.mean_sq[sample], mean_sq, rtol=2e-4)
        np.testing.assert_allclose(found.mean_abs[sample], mean_abs, rtol=2e-4)
        np.testing.assert_allclose(found.mean[sample], mean, rtol=2e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore::ultraslow.diffusion.walks.line.EdgeWarning")
def test_the_error_falls_with_the_third_power_of_the_step():
    times = [30.0]
    exact = exact_moments(POTENTIAL[0], times, 1.0)[0, 2]
    error = [
        abs(line.occupation(POTENTIAL[0], times, temperature=1.0, ratio=r).mean_sq[0, 0] - exact)
        for r in (1.8, 1.8**0.5)
    ]
    assert 5 < error[0] / error[1] < 12  # 8 for order 3


@pytest.mark.filterwarnings("ignore::ultraslow.diffusion.walks.line.EdgeWarning")
def test_the_walk_ends_in_the_boltzmann_distribution():
    found = line.occupation(POTENTIAL, [1e14], temperature=0.5)
    weights = np.exp(-POTENTIAL / 0.5)
    expected = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.final, expected, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::ultraslow.diffusion.walks.line.EdgeWarning")
def test_probability_is_conserved_through_twenty_decades():
    v = potential.random_walk(200, samples=4, rng=np.random.default_rng(2))
    found = line.occupation(v, np.geomspace(1e-2, 1e18, 6), temperature=0.3)
    np.testing.assert_allclose(found.final.sum(axis=1), 1.0, rtol=1e-12)
    assert found.final.min() > -1e-4


@pytest.mark.filterwarnings("ignore::ultraslow.diffusion.walks.line.EdgeWarning")
def test_deep_potentials_take_the_general_form_with_the_same_result(monkeypatch):
    shallow = line.occupation(POTENTIAL, [1.0, 1e5], temperature=1.0)
    monkeypatch.setattr(line, "solver", general_solver)
    general = line.occupation(POTENTIAL, [1.0, 1e5], temperature=1.0)
    np.testing.assert_allclose(general.mean_sq, shallow.mean_sq, rtol=1e-10)


def general_solver(slope, steps, pivots):
    up, down = np.exp(-slope), np.exp(slope)
    lower = -np.outer(steps, up) / pivots[:, :-1]
    return line.General(pivots, lower, -np.outer(steps, down))


@pytest.mark.filterwarnings("ignore::ultraslow.diffusion.walks.line.EdgeWarning")
def test_a_steep_slope_is_walked_down_at_its_known_speed():
    # constant slope F: jumps down at rate e^{F/2T}, up at e^{−F/2T}; the sites are 900 deep in
    # V/2T, beyond what the symmetric form can hold
    v = -6.0 * np.arange(-150, 151)
    found = line.occupation(v, [1.0, 2.0], temperature=1.0, ratio=1.05)
    speed = np.exp(3.0) - np.exp(-3.0)
    np.testing.assert_allclose(found.mean[0], speed * np.array([1.0, 2.0]), rtol=1e-3)


def test_blocks_of_samples_do_not_matter(monkeypatch):
    v = potential.random_walk(60, samples=5, rng=np.random.default_rng(4))
    together = line.occupation(v, [1.0, 50.0], temperature=1.0, edge_tolerance=1.0)
    monkeypatch.setattr(line, "_BLOCK", 1)
    apart = line.occupation(v, [1.0, 50.0], temperature=1.0, edge_tolerance=1.0)
    np.testing.assert_array_equal(apart.mean_sq, together.mean_sq)


def test_the_edge_is_warned_about_with_its_probability():
    with pytest.warns(line.EdgeWarning, match=r"reaches 0\.0\d+ .* at time 1e\+03, in 1 of 1"):
        found = line.occupation(np.zeros(241), [1.0, 1e3], temperature=1.0)
    # free motion at rate 1 to either side comes 120 away before a random time of mean t with
    # probability z^120, z + 1/z = 2 + 1/t; the other wall hardly matters
    z = 1 + 0.5e-3 - np.sqrt((1 + 0.5e-3) ** 2 - 1)
    assert found.edge_probability[0, -1] == pytest.approx(2 * z**120, rel=1e-3)
    assert found.edge_probability[0, 0] < 1e-12


def test_arrival_equals_the_walk_that_stops_at_the_end():
    times = np.array([0.3, 20.0, 1e4])
    found = line.arrival(np.diff(POTENTIAL, axis=1) / 1.4, times)
    for sample, v in enumerate(POTENTIAL):
        stopped = generator(v, 0.7)
        stopped[:, -1] = 0.0
        for k, t in enumerate(times):
            # the probability at the end, averaged over a random time: (1 − tW)⁻¹
            at = np.linalg.solve(np.eye(len(v)) - t * stopped, np.arange(len(v)) == len(v) // 2)
            assert found[sample, k] == pytest.approx(at[-1], rel=1e-9)


def test_one_sample_at_the_edge_is_not_averaged_away():
    # 99 deep wells and one slope that is run down at once
    x = np.arange(-30, 31)
    v = np.vstack([np.tile(0.5 * x**2.0, (99, 1)), -2.0 * x])
    with pytest.warns(line.EdgeWarning, match=r"reaches 0.99 and .* in 1 of 100 samples"):
        line.occupation(v, [1.0, 1e3], temperature=1.0)


def test_a_walker_that_came_back_from_the_edge_has_been_there():
    # the deepest site is the middle one, the ends are low hills: it is hardly ever seen there
    v = np.full(41, 6.0)
    v[20] = 0.0
    with pytest.warns(line.EdgeWarning):
        found = line.occupation(v, [1e6], temperature=1.0)
    assert found.final[0, 0] < 0.01
    assert found.edge_probability[0, 0] > 0.9


def test_flat_potential_gives_the_bessel_distribution():
    # jumps left and right at rate 1 each: p_i(t) = e^(−2t)·I_i(2t)
    x = np.arange(-60, 61)
    found = line.occupation(np.zeros(121), [7.0], temperature=1.0, ratio=1.05)
    np.testing.assert_allclose(found.final[0], special.ive(np.abs(x), 14.0), atol=2e-5)


def test_periodic_potential_slows_diffusion_by_the_known_factor():
    # the lattice form of Lifson and Jackson (1962): D = 1/(⟨e^(−V/T)⟩·⟨1/g⟩) with the
    # conductances g = exp(−(V_i + V_{i+1})/2T)
    period = np.array([0.0, 1.5, -0.5, 2.0, 0.3])
    v = np.tile(period, 101)
    after = np.roll(period, -1)
    diffusion = 1 / (np.exp(-period).mean() * np.exp((period + after) / 2).mean())
    found = line.occupation(v, [300.0, 600.0], temperature=1.0, ratio=1.1)
    growth = np.diff(found.mean_sq[0] - found.mean[0] ** 2)[0] / 300.0
    assert growth == pytest.approx(2 * diffusion, rel=1e-3)


def test_parabola_gives_the_equipartition_variance():
    stiffness, temperature = 0.02, 0.9
    x = np.arange(-80, 81)
    found = line.occupation(stiffness * x**2 / 2, [1e6], temperature=temperature)
    # the sum over sites equals the integral to better than e^(−2π²T/k)
    assert found.mean_sq[0, 0] == pytest.approx(temperature / stiffness, rel=1e-6)


@pytest.mark.filterwarnings("ignore::ultraslow.diffusion.walks.line.EdgeWarning")
@pytest.mark.parametrize(
    "change",
    [
        lambda v, t: (v + 17.0, t),
        lambda v, t: (3.0 * v, 3.0 * t),
        lambda v, t: (v[:, ::-1], t),
    ],
    ids=["raised", "steeper and warmer", "mirrored"],
)
def test_what_cannot_matter_does_not(change):
    times = [0.5, 20.0, 1e4]
    v, temperature = change(POTENTIAL, 0.8)
    found = line.occupation(v, times, temperature=temperature)
    expected = line.occupation(POTENTIAL, times, temperature=0.8)
    np.testing.assert_allclose(found.mean_sq, expected.mean_sq, rtol=1e-9)
    np.testing.assert_allclose(np.abs(found.mean), np.abs(expected.mean), rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore::ultraslow.diffusion.walks.line.EdgeWarning")
def test_moments_obey_their_inequalities():
    found = line.occupation(POTENTIAL, np.geomspace(0.1, 1e6, 8), temperature=0.5)
    assert (np.abs(found.mean) <= found.mean_abs * (1 + 1e-9)).all()
    assert (found.mean_abs**2 <= found.mean_sq * (1 + 1e-9)).all()


@pytest.mark.filterwarnings("ignore::ultraslow.diffusion.walks.line.EdgeWarning")
def test_other_times_hardly_change_a_moment():
    alone = line.occupation(POTENTIAL, [1e3], temperature=1.0).mean_sq[:, 0]
    among = line.occupation(POTENTIAL, [0.3, 4.0, 77.0, 1e3], temperature=1.0).mean_sq[:, -1]
    np.testing.assert_allclose(alone, among, rtol=0.005)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: line.occupation(POTENTIAL, [1.0], temperature=-1),
            r"temperature: found -1, expected a value in \(0, inf\)",
        ),
        (
            lambda: line.occupation(POTENTIAL, [1.0], temperature=1e-4),
            "temperature: found 0.0001, expected at least",
        ),
        (
            lambda: line.occupation(POTENTIAL, [2.0, 1.0], temperature=1),
            "times: 2 is followed by 1",
        ),
        (lambda: line.occupation(POTENTIAL, [0.0], temperature=1), "times: starts at 0"),
        (
            lambda: line.occupation(POTENTIAL, [1.0], temperature=1, ratio=1.0),
            "ratio: found 1, expected a value in",
        ),
        (
            lambda: line.occupation(POTENTIAL, [1.0], temperature=1, edge_tolerance=np.nan),
            r"edge_tolerance: found nan, expected a value in \[0, 1\]",
        ),
        (lambda: line.occupation(np.zeros(4), [1.0], temperature=1), r"found shape \(1, 4\)"),
        (
            lambda: line.occupation([0.0, np.nan, 0.0], [1.0], temperature=1),
            "potential: found nan, expected finite values",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
