"""Covariances of the noise menu against loops and simulation."""

import numpy as np
import pytest

from ultraslow.analysis.growth.noise_models import (
    OFF_CLOCK,
    NoiseModel,
    menu,
    noise_covariance,
    simulate_noise,
    wandering,
)

TIMES = np.geomspace(2, 2e3, 25)


def element(model, i, j):
    """C_ij as written in the docstring, one element at a time."""
    t = TIMES
    scale = np.exp(np.mean(np.log(t)))
    spread = (t[i] / scale) ** model.power * (t[j] / scale) ** model.power
    same = float(i == j)
    if model.kind == "white":
        return spread * same
    if model.kind in ("walk_t", "walk_log_t"):
        power = model.power / model.hurst + (model.kind == "walk_t")
        clock = t**power / power if power else np.log(t)
        progress = (clock - clock[0]) / (clock[-1] - clock[0])
        ends = progress[i], progress[j], abs(progress[i] - progress[j])
        first, second, between = (end ** (2 * model.hurst) for end in ends)
        return (first + second - between) / 2 + 1 + model.nugget * same
    if model.kind == "smooth_log_t":
        lag = abs(np.log(t[i] / t[j])) / model.length
        return spread * ((1 - model.nugget) * (1 + lag) * np.exp(-lag) + model.nugget * same)
    lag = abs(np.log(t[i] / t[j])) if model.kind == "ar_log_t" else abs(t[i] - t[j])
    return spread * ((1 - model.nugget) * np.exp(-lag / model.length) + model.nugget * same)


@pytest.mark.parametrize("model", menu(TIMES), ids=str)
def test_covariance_of_every_model_matches_its_formula(model):
    count = TIMES.size
    expected = [[element(model, i, j) for j in range(count)] for i in range(count)]
    found = noise_covariance(model, TIMES)
    assert found == pytest.approx(np.array(expected), rel=1e-10)
    assert np.linalg.eigvalsh(found)[0] > 0


@pytest.mark.parametrize(
    "times", [TIMES, np.arange(1.0, 9.0), np.array([5, 6, 7, 8, 9, 10, 500, 1e7])]
)
def test_menu_can_be_factorized_on_any_times(times):
    for model in menu(times):
        np.linalg.cholesky(noise_covariance(model, times))


def test_menu_holds_every_kind_plain_and_with_independent_noise():
    models = menu(TIMES)
    assert len(set(models)) == len(models)
    plain = {"white", "ar_log_t", "ou_t", "walk_log_t", "walk_t"}
    assert {m.kind for m in models} == {*plain, "smooth_log_t"}
    assert {m.kind for m in models if m.nugget} == {"ar_log_t", "ou_t", "walk_log_t", "walk_t"}
    assert {m.kind for m in models if m.power} == {"white", "ar_log_t", "walk_log_t", "walk_t"}
    assert {m.kind for m in models if m.hurst != 0.5} == {"walk_log_t", "walk_t"}


def test_steps_of_a_walk_grow_and_go_on_as_its_parameters_say():
    # Steps over equal stretches of ln t: their standard deviation is that of the clock's power.
    for power, hurst in ((0.0, 0.5), (0.3, 0.5), (-0.2, 0.5), (0.3, 0.75)):
        exact = noise_covariance(NoiseModel("walk_log_t", power=power, hurst=hurst), TIMES)
        steps = np.diff(np.diff(exact, axis=0), axis=1)
        size = np.sqrt(np.diagonal(steps))
        growth = np.log(size[-1] / size[0]) / np.log(TIMES[-1] / TIMES[1])
        assert growth == pytest.approx(power, abs=0.01)
        correlation = steps[10, 11] / (size[10] * size[11])
        # Of neighbouring steps of fractional noise: 2^(2H − 1) − 1.
        assert correlation == pytest.approx(2 ** (2 * hurst - 1) - 1, abs=0.01)


def test_simulated_noise_has_the_covariance():
    model = NoiseModel("ar_log_t", length=1.0, nugget=0.3, power=0.1)
    sample = simulate_noise(model, TIMES, 40_000, rng=np.random.default_rng(0))
    exact = noise_covariance(model, TIMES)
    # An element's standard error is at most √2 · max C/√40000; five of them.
    assert np.cov(sample.T) == pytest.approx(exact, abs=5 * 1.5 * exact.max() / 200)


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match="kind: found 'pink'"):
        NoiseModel("pink")


# On another clock: a rate that rises and falls, its sum, and records of the iterations.
RATES = 0.02 + np.sin(np.pi * np.arange(1, 201) / 200)
AT = np.append([1, 3], np.arange(6, 201, 8))
SUMMED = np.cumsum(RATES)[AT - 1]


def driven(length, count, rng):
    """Weights x' = −x/ℓ + ξ update by update, with ξ ∝ rate, at the records."""
    weights, found = np.zeros(count), []
    for rate in RATES:
        weights = weights * np.exp(-rate / length) + rate * rng.standard_normal(count)
        found.append(weights)
    return np.array(found)[AT - 1]


@pytest.mark.parametrize("length", [5.0, 40.0, np.inf])
def test_noise_that_the_rate_drives_is_that_of_its_updates(length):
    model = NoiseModel("ou_rate", length) if np.isfinite(length) else NoiseModel("walk_rate")
    shape = noise_covariance(model, SUMMED, AT.astype(float))
    walk = driven(length, 40_000, np.random.default_rng(0))
    if model.wanders:  # their offset is free: what counts is how they go on from the first
        walk, shape = walk - walk[0], shape - shape[:1] - shape[:, :1] + shape[0, 0]
    wanted = np.cov(walk)
    # The rate between records is taken as its mean, which adds a little to the counting error.
    scale = np.trace(wanted) / np.trace(shape)
    np.testing.assert_allclose(shape * scale, wanted, atol=0.05 * wanted.max())


def test_the_menu_of_another_clock_is_a_menu_of_covariances():
    models = menu(SUMMED, AT.astype(float))
    kept = tuple(model for model in menu(SUMMED) if model.kind != "smooth_log_t")
    assert models[: len(kept)] == kept
    assert all(model.kind in OFF_CLOCK for model in models[len(kept) :])
    for model in models:
        np.linalg.cholesky(noise_covariance(model, SUMMED, AT.astype(float)))
    same = NoiseModel("walk_iteration"), NoiseModel("ou_iteration", 20.0)
    plain = NoiseModel("walk_t"), NoiseModel("ou_t", 20.0)
    for one, other in zip(same, plain, strict=True):
        found = noise_covariance(one, SUMMED, AT.astype(float))
        np.testing.assert_array_equal(found, noise_covariance(other, AT.astype(float)))


def test_noise_off_the_clock_asks_for_iterations():
    with pytest.raises(ValueError, match="found ou_rate.*, which asks for iterations"):
        noise_covariance(NoiseModel("ou_rate", 5.0), SUMMED)


def test_a_rate_that_stays_near_0_leaves_covariances_that_can_be_factored():
    rates = np.where(np.arange(1, 1001) < 500, 1.0, 1e-9)
    at = np.unique(np.geomspace(1, 1000, 60).round()).astype(int)
    summed = np.cumsum(rates)[at - 1]
    models = menu(summed, at.astype(float))
    for model in (one for one in models if one.kind in OFF_CLOCK):
        np.linalg.cholesky(noise_covariance(model, summed, at.astype(float)))


@pytest.mark.parametrize(
    "model",
    [
        NoiseModel("walk_log_t", hurst=0.75),
        NoiseModel("walk_t", nugget=0.03),
        NoiseModel("smooth_log_t", length=0.6),
        NoiseModel("ar_log_t", length=0.5, nugget=0.25, power=0.3),
        NoiseModel("ou_t", length=40.0),
    ],
    ids=str,
)
def test_wandering_is_the_conditional_mean_of_the_joint_normal(model):
    """Against the covariance of records and others together, as the textbook has it."""
    rng = np.random.default_rng(3)
    times = np.array([1.0, 2, 5, 11, 30, 70, 200])
    others = np.array([1.5, 20.0, 150.0])
    residuals = rng.standard_normal(times.size)
    joint = np.concatenate([times, others])
    order = np.argsort(joint)
    whole = np.empty((joint.size, joint.size))
    whole[np.ix_(order, order)] = noise_covariance(model, joint[order])
    k = times.size
    wanted = whole[k:, :k] @ np.linalg.solve(whole[:k, :k], residuals)
    assert wandering(model, times, residuals, others) == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_wandering_meets_the_records_where_none_of_them_is_independent():
    times = np.geomspace(1, 1000, 30)
    residuals = np.random.default_rng(5).standard_normal(30).cumsum()
    model = NoiseModel("walk_log_t", hurst=0.75)
    assert wandering(model, times, residuals, times) == pytest.approx(residuals, abs=1e-3)
    smoothed = wandering(NoiseModel("walk_log_t", nugget=0.5), times, residuals, times)
    assert np.std(np.diff(smoothed)) < 0.7 * np.std(np.diff(residuals))
    assert wandering(NoiseModel("white"), times, residuals, times) == pytest.approx(0 * times)


def test_wandering_on_a_clock_asks_for_iterations():
    iterations = np.arange(1.0, 21.0)
    clock = np.cumsum(np.where(iterations < 10, 0.1, 0.02))
    residuals = np.sin(iterations / 3)
    for kind, length in (("walk_rate", 0.0), ("walk_iteration", 0.0), ("ou_rate", 0.4)):
        found = wandering(
            NoiseModel(kind, length=length), clock, residuals, clock, iterations=iterations
        )
        assert found == pytest.approx(residuals, abs=1e-3), kind
