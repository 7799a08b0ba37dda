from decimal import Decimal, localcontext

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from ultraslow.diffusion import displacement
from ultraslow.diffusion.laws import growth, null
from ultraslow.diffusion.laws.null import NULL_LAWS
from ultraslow.diffusion.walks import potential, sgd

RECORDS = np.unique(np.geomspace(1, 1000, 30).astype(int))
H = np.geomspace(1e-3, 1.0, 40)


def mean_distance(motion):
    return np.sqrt(motion.distance_sq.mean(axis=1))


def test_n1_equals_gradient_descent_to_1e_10():
    start = np.random.default_rng(0).standard_normal(40)
    motion = sgd.quadratic_descent(H, start, RECORDS, learning_rate=0.7)
    found = NULL_LAWS["N1"].distance(
        RECORDS, {"learning_rate": 0.7, "curvatures": H, "start": start}
    )
    np.testing.assert_allclose(found, mean_distance(motion), rtol=1e-10)


def test_n1_with_log_uniform_curvatures_is_a_logarithm_without_noise_or_barriers():
    h = np.geomspace(1e-7, 1.0, 700)
    t = np.geomspace(1e2, 1e5, 40)
    d = NULL_LAWS["N1"].distance(t, {"learning_rate": 0.9, "curvatures": h, "start": np.ones(700)})
    slope = displacement.log_slope(t, d**2)
    # 100 modes a decade of h, each switched on once ηht passes 1
    np.testing.assert_allclose(slope[2:-2], 100 / np.log(10), rtol=0.03)


def test_n2_equals_simulated_descent_to_1_percent():
    rng = np.random.default_rng(1)
    start, noise = np.full(40, 0.3), 3.0 * H
    motion = sgd.noisy_quadratic(
        H, start, RECORDS, noise=noise, learning_rate=0.5, batch_size=4, walkers=2000, rng=rng
    )
    found = NULL_LAWS["N2"].distance(
        RECORDS,
        {
            "learning_rate": 0.5,
            "batch_size": 4.0,
            "curvatures": H,
            "start": start,
            "noise": noise,
        },
    )
    np.testing.assert_allclose(found, mean_distance(motion), rtol=0.01)


@pytest.mark.parametrize(("product", "faster", "wider"), [(0.1, 0.05, 0.05), (0.5, 0.39, 1 / 3)])
def test_the_continuous_forms_are_off_by_what_the_pages_state(product, faster, wider):
    still = {"learning_rate": product, "curvatures": [1.0], "start": [1.0]}
    left = 1.0 - NULL_LAWS["N1"].distance([3.0], still)[0]
    assert -np.log(left) / (3 * product) == pytest.approx(1 + faster, abs=0.006)
    wandering = {**still, "start": [0.0], "batch_size": 1.0, "noise": [1.0]}
    variance = NULL_LAWS["N2"].distance([1e3], wandering)[0] ** 2
    assert variance / (product / 2) == pytest.approx(1 + wider, abs=0.006)


def test_momentum_acts_like_a_higher_rate_on_slow_modes():
    h, late = np.array([1e-3, 5e-4]), [2000, 8000]
    motion = sgd.noisy_quadratic(
        h,
        np.full(2, 0.1),
        late,
        noise=2.0 * h,
        learning_rate=0.05,
        batch_size=4,
        walkers=4000,
        rng=np.random.default_rng(6),
        momentum=0.9,
    )
    faster = {
        "learning_rate": 0.5,
        "batch_size": 4.0,
        "curvatures": h,
        "start": np.full(2, 0.1),
        "noise": 2.0 * h,
    }
    # ηh/(1 − m) is below 1e-3; the standard error over 4000 walkers of two modes is 0.8 %
    np.testing.assert_allclose(
        NULL_LAWS["N2"].distance(late, faster), mean_distance(motion), rtol=0.03
    )


def test_n2_without_noise_is_n1():
    shared = {"learning_rate": 0.5, "curvatures": H, "start": np.ones(40)}
    noisy = {**shared, "batch_size": 8.0, "noise": np.zeros(40)}
    np.testing.assert_allclose(
        NULL_LAWS["N2"].distance(RECORDS, noisy), NULL_LAWS["N1"].distance(RECORDS, shared)
    )


def test_n2_slope_is_the_derivative_where_start_and_noise_both_move():
    parameters = {**null.NOISY_QUADRATIC.example, "start": np.linspace(-3.0, 2.0, 30)}
    t, step = np.geomspace(1, 1e4, 20), 1e-5
    d = [NULL_LAWS["N2"].distance(t * (1 + side * step), parameters) for side in (-1, 1)]
    found = NULL_LAWS["N2"].slope(t, parameters)
    np.testing.assert_allclose(found, (d[1] - d[0]) / (2 * step * t), rtol=1e-6)
    # the start moves the distance by more than the noise alone would
    still = NULL_LAWS["N2"].slope(t, null.NOISY_QUADRATIC.example)
    assert np.abs(found / still - 1).min() > 0.01


@pytest.mark.parametrize("law", [*growth.LAWS, *NULL_LAWS.values()], ids=lambda law: law.name)
def test_growth_laws_and_null_laws_are_found_by_name(law):
    assert null.law_named(law.name) is law
    with pytest.raises(ValueError, match=f"law: found 'no law', expected one of .*'{law.name}'"):
        null.law_named("no law")


def test_n2_amplitude_squared_goes_with_rate_over_batch_size():
    def squared(rate, batch):
        example = {**null.NOISY_QUADRATIC.example, "learning_rate": rate, "batch_size": batch}
        # equal η·t, so that the same modes have moved
        return null.NOISY_QUADRATIC.distance(RECORDS / rate, example) ** 2

    np.testing.assert_allclose(squared(0.02, 4.0), squared(0.01, 2.0), rtol=0.02)
    np.testing.assert_allclose(squared(0.01, 4.0), squared(0.01, 2.0) / 2, rtol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.02], ids=["N3", "N4"])
def test_n3_and_n4_equal_simulated_descent_to_1_percent(decay):
    rng = np.random.default_rng(2)
    shared = {"learning_rate": 0.05, "gradient_norm": 8.0, "start_norm": 3.0}
    motion = sgd.scale_invariant_walk(
        RECORDS, dimension=100, weight_decay=decay, walkers=400, rng=rng, **shared
    )
    law = NULL_LAWS["N4" if decay else "N3"]
    found = law.distance(RECORDS, {**shared, "weight_decay": decay} if decay else shared)
    np.testing.assert_allclose(found, mean_distance(motion), rtol=0.01)


def test_n4_keeps_the_overlap_that_its_formula_assumes():
    rng = np.random.default_rng(3)
    motion = sgd.scale_invariant_walk(
        RECORDS,
        dimension=60,
        start_norm=3.0,
        gradient_norm=8.0,
        learning_rate=0.05,
        weight_decay=0.02,
        walkers=100,
        rng=rng,
    )
    expected = 9.0 * np.exp(-0.05 * 0.02 * RECORDS)
    # the overlap fluctuates by about ‖w_t‖‖w₀‖/√(dimension·walkers) = 0.2 once it has decayed
    np.testing.assert_allclose(motion.overlap.mean(axis=1), expected, atol=0.8)


def test_n4_with_vanishing_decay_is_n3():
    shared = {"learning_rate": 0.05, "gradient_norm": 8.0, "start_norm": 3.0}
    for decay, tolerance in ((0.0, 1e-15), (1e-18, 1e-14)):
        for quantity in ("distance", "slope"):
            np.testing.assert_allclose(
                getattr(NULL_LAWS["N4"], quantity)(RECORDS, {**shared, "weight_decay": decay}),
                getattr(NULL_LAWS["N3"], quantity)(RECORDS, shared),
                rtol=tolerance,
            )


@pytest.mark.parametrize("force", [1e-9, 1e-3, 8.0], ids=["decay alone", "both", "gradient"])
@pytest.mark.parametrize("exponent", [1e-12, 1e-8, 1e-3, 1.0, 40.0])
def test_n4_keeps_ten_digits_however_little_has_decayed(exponent, force):
    t, start_norm, decay = 1000.0, 3.0, 1e-4
    rate = exponent / (decay * t)
    found = NULL_LAWS["N4"].distance(
        [t],
        {
            "learning_rate": rate,
            "weight_decay": decay,
            "gradient_norm": force,
            "start_norm": start_norm,
        },
    )
    with localcontext() as context:
        context.prec = 80
        eta, lam, g, n = (Decimal(float(x)) for x in (rate, decay, force, start_norm))
        x = eta * lam * Decimal(t)
        fourth = eta * g**2 / (2 * lam) * (1 - (-4 * x).exp()) + n**4 * (-4 * x).exp()
        expected = (fourth.sqrt() + n**2 - 2 * n**2 * (-x).exp()).sqrt()
    assert found[0] == pytest.approx(float(expected), rel=1e-13)


@pytest.mark.parametrize("drive", [1e-12, 1e-6, 0.1, 1e3])
def test_n5_keeps_its_digits_at_early_times(drive):
    # y = γd solves e^y + y = 1 + drive
    y = float(NULL_LAWS["N5"].distance([1.0], {"learning_rate": drive, "margin": 1.0})[0])
    with localcontext() as context:
        context.prec = 60
        exact = Decimal(y).exp() + Decimal(y) - 1
    assert float(exact) == pytest.approx(drive, rel=1e-13)


@pytest.mark.parametrize("product", [1e-14, 1e-9, 0.3])
def test_n2_slope_keeps_its_digits_at_early_times(product):
    # one mode from rest: d² = v·(1 − q²), q = 1 − ηh, so d' = −v·q²·ln q/√(v·(1 − q²)) at t = 1
    parameters = {
        "learning_rate": product,
        "batch_size": 1.0,
        "curvatures": [1.0],
        "start": [0.0],
        "noise": [1.0],
    }
    found = NULL_LAWS["N2"].slope([1.0], parameters)[0]
    with localcontext() as context:
        context.prec = 60
        rate = Decimal(product)
        q, v = 1 - rate, rate / (2 - rate)
        expected = -v * q**2 * q.ln() / (v * (1 - q**2)).sqrt()
    assert found == pytest.approx(float(expected), rel=1e-13)


def test_n5_equals_gradient_descent_to_1_percent():
    # mirror images about the first axis: the component along it is a one-dimensional flow
    x = np.array([[0.8, 0.5], [0.8, -0.5], [0.8, 1.5], [0.8, -1.5]])
    motion = sgd.separable_logistic(x, RECORDS, learning_rate=0.05)
    found = NULL_LAWS["N5"].distance(RECORDS, {"learning_rate": 0.05, "margin": 0.8})
    np.testing.assert_allclose(found, mean_distance(motion), rtol=0.01)


def test_n5_late_slope_is_one_over_the_margin_for_any_separable_data():
    # support vectors (1, 0) and (0, 1) by hand: the margin is 1/√2, other points lie further out
    x = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 1.5], [1.0, 3.0]])
    records = np.unique(np.geomspace(1000, 100_000, 12).astype(int))
    d = mean_distance(sgd.separable_logistic(x, records, learning_rate=1.0))
    slope = displacement.log_slope(records, d)
    np.testing.assert_allclose(slope[1:-1], np.sqrt(2), rtol=0.02)


def test_n6_equals_fractional_brownian_motion_to_1_percent():
    # many independent coordinates of a fractional Brownian path; c = 2H = 0.7
    reach, coordinates = 64, 60_000
    paths = potential.fractional_brownian(
        reach, hurst=0.35, samples=coordinates, rng=np.random.default_rng(4)
    )[:, reach:]
    t = np.array([1, 4, 16, 64])
    simulated = np.sqrt(np.mean(paths[:, t] ** 2, axis=0))
    found = NULL_LAWS["N6"].distance(t, {"scale": 1.0, "exponent": 0.35})
    # the standard error of a root mean square of 60,000 normals is 0.3 %
    np.testing.assert_allclose(found, simulated, rtol=0.01)


def test_n7_equals_a_simulated_drifting_walk_to_1_percent():
    gradient, noise = np.array([0.3, 0.0, -0.1]), np.array([1.0, 4.0, 0.5])
    motion = sgd.drifting_walk(
        gradient,
        RECORDS,
        noise=noise,
        learning_rate=0.1,
        batch_size=8,
        walkers=30_000,
        rng=np.random.default_rng(5),
    )
    found = NULL_LAWS["N7"].distance(
        RECORDS,
        {
            "learning_rate": 0.1,
            "batch_size": 8.0,
            "gradient_sq": gradient @ gradient,
            "noise_trace": noise.sum(),
        },
    )
    np.testing.assert_allclose(found, mean_distance(motion), rtol=0.01)


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        (
            "N4",
            # d‖w‖⁴/dt = 2η²g² − 4ηλ‖w‖⁴ and d⟨w, w₀⟩/dt = −ηλ⟨w, w₀⟩
            lambda t, y: [2 * 0.05**2 * 64 - 4 * 0.05 * 0.02 * y[0], -0.05 * 0.02 * y[1]],
        ),
        ("N5", lambda t, y: [0.05 / (1 + np.exp(y[0] * 0.8)) * 0.8]),
    ],
)
def test_closed_forms_solve_their_differential_equations(name, rate):
    start = [81.0, 9.0] if name == "N4" else [0.0]
    t = np.array([1.0, 30.0, 1000.0])
    solution = solve_ivp(rate, (0, 1000), start, t_eval=t, rtol=1e-10, atol=1e-12).y
    if name == "N4":
        parameters = {
            "learning_rate": 0.05,
            "weight_decay": 0.02,
            "gradient_norm": 8.0,
            "start_norm": 3.0,
        }
        expected = np.sqrt(np.sqrt(solution[0]) + 9.0 - 2 * solution[1])
    else:
        parameters = {"learning_rate": 0.05, "margin": 0.8}
        expected = solution[0]
    np.testing.assert_allclose(NULL_LAWS[name].distance(t, parameters), expected, rtol=1e-7)


def test_n2_ends_at_its_stationary_variance():
    example = {**null.NOISY_QUADRATIC.example, "start": np.ones(30)}
    h, c = example["curvatures"], example["noise"]
    variance = 0.5 * c / (16 * h * (2 - 0.5 * h))
    late = NULL_LAWS["N2"].distance([1e7], example)
    # the start is forgotten: its square adds to the distance once per mode
    assert late[0] ** 2 == pytest.approx(30 + variance.sum(), rel=1e-9)


def test_n3_goes_from_the_root_to_the_fourth_root_of_time():
    t = np.geomspace(1e-3, 1e12, 400)
    d = NULL_LAWS["N3"].distance(t, null.SCALE_INVARIANT.example)
    exponent = displacement.local_exponent(t, d)
    assert exponent[2] == pytest.approx(0.5, abs=1e-3)
    assert exponent[-3] == pytest.approx(0.25, abs=1e-3)


def test_n7_turns_from_diffusion_to_drift_at_the_crossover():
    from ultraslow.diffusion.noise import drift_crossover

    example = null.CROSSOVER.example
    t = float(
        drift_crossover(example["noise_trace"] / example["gradient_sq"], example["batch_size"])
    )
    times = t * np.geomspace(1e-4, 1e4, 401)
    exponent = displacement.local_exponent(times, NULL_LAWS["N7"].distance(times, example))
    assert exponent[2] == pytest.approx(0.5, abs=1e-3)
    assert exponent[200] == pytest.approx(0.75, abs=1e-3)  # where both parts are equal
    assert exponent[-3] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(("rate", "product"), [(0.7, "1.4"), (0.5, "1")])
def test_overshooting_modes_are_refused(rate, product):
    with pytest.raises(ValueError, match=f"found the product {product}, expected values in"):
        null.QUADRATIC.distance(
            RECORDS, {"learning_rate": rate, "curvatures": [0.1, 2.0], "start": [1.0, 1.0]}
        )
