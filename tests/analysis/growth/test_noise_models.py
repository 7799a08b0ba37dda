"""Covariances of the noise menu against loops and simulation."""

import numpy as np
import pytest

from ultraslow.analysis.growth.noise_models import (
    NoiseModel,
    menu,
    noise_covariance,
    simulate_noise,
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
        clock = t if model.kind == "walk_t" else np.log(t)
        progress = (clock[min(i, j)] - clock[0]) / (clock[-1] - clock[0])
        return spread * (progress + 1 + model.nugget * same)
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
    assert {m.kind for m in models} == {"white", "ar_log_t", "ou_t", "walk_log_t", "walk_t"}
    assert {m.kind for m in models if m.nugget} == {"ar_log_t", "ou_t", "walk_log_t", "walk_t"}
    assert {m.kind for m in models if m.power} == {"white", "ar_log_t"}


def test_simulated_noise_has_the_covariance():
    model = NoiseModel("ar_log_t", length=1.0, nugget=0.3, power=0.1)
    sample = simulate_noise(model, TIMES, 40_000, rng=np.random.default_rng(0))
    exact = noise_covariance(model, TIMES)
    # An element's standard error is at most √2 · max C/√40000; five of them.
    assert np.cov(sample.T) == pytest.approx(exact, abs=5 * 1.5 * exact.max() / 200)


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match="kind: found 'pink'"):
        NoiseModel("pink")
