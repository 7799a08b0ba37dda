import math

import numpy as np
import pytest
from scipy import optimize

from ultraslow.analysis.scores.best_rates import best_rates, tuned_rates
from ultraslow.diffusion.scaling import optimal_learning_rate

SIZES = [16, 64, 256, 1024, 4096]


def measured(*, largest=0.4, scale=300.0, noise=0.0, seed=0):
    rates = optimal_learning_rate(SIZES, largest_rate=largest, noise_scale=scale)
    luck = np.exp(noise * np.random.default_rng(seed).standard_normal(len(SIZES)))
    return dict(zip(SIZES, rates * luck, strict=True))


def test_exact_rates_give_back_the_noise_scale_and_the_largest_rate():
    found = best_rates(measured())
    assert found.status == "ok"
    assert found.noise_scale.value == pytest.approx(300.0, rel=1e-6)
    assert found.largest_rate == pytest.approx(0.4, rel=1e-6)
    assert found.record()["estimate"] == found.noise_scale.value


def test_the_fit_is_that_of_least_squares_of_the_logarithm():
    rates = measured(noise=0.1)
    found = best_rates(rates)

    def form(m, top, scale):
        return top - np.log1p(np.exp(scale) / m)

    (top, scale), _ = optimize.curve_fit(form, SIZES, np.log([*rates.values()]), p0=[-1.0, 5.0])
    assert found.noise_scale.value == pytest.approx(math.exp(scale), rel=1e-5)
    assert found.largest_rate == pytest.approx(math.exp(top), rel=1e-5)
    assert found.noise_scale.low < 300 < found.noise_scale.high


def test_rates_in_steps_are_covered_though_they_are_rounded():
    grid = np.log(2.0) * np.arange(-20, 5)
    held = []
    for scale in np.geomspace(60, 1200, 40):
        exact = np.log([*measured(scale=scale).values()])
        rounded = [grid[np.argmin(np.abs(grid - one))] for one in exact]
        found = best_rates(dict(zip(SIZES, np.exp(rounded), strict=True)))
        held.append(found.noise_scale.contains(scale))
    assert np.mean(held) >= 0.9


def test_rates_of_one_grid_are_not_taken_to_be_exact():
    """Rounded alike at all sizes they lie on a curve, and the truth half a step away."""
    rates = {16: 0.05, 32: 0.1, 64: 0.2, 128: 0.2, 256: 0.2}
    found = best_rates(rates)
    assert found.noise_scale.high > 2 * found.noise_scale.low


@pytest.mark.parametrize(
    ("power", "status", "words"),
    [
        (0.5, "misfit", "bend otherwise than ε_max/(1 + B/M)"),
        (1.3, "misfit", "grow faster than the batch size"),
        (-0.5, "misfit", "fall with the batch size"),
    ],
)
def test_rates_that_the_form_does_not_have_are_told(power, status, words):
    luck = np.exp(0.01 * np.random.default_rng(3).standard_normal(len(SIZES)))
    found = best_rates(dict(zip(SIZES, 0.01 * np.array(SIZES) ** power * luck, strict=True)))
    assert found.status == status and words in found.reason
    assert math.isnan(found.noise_scale.value) == (power != 0.5)


def test_open_ends_and_too_few_sizes_are_told():
    below = best_rates(measured(scale=1e9, noise=0.01))
    assert below.status == "unbounded" and "do not bound it above" in below.reason
    assert str(below).startswith("noise scale of the best rates larger than")
    few = best_rates({64: 0.1, 256: 0.2})
    assert few.status == "missing"
    assert str(few) == (
        "no noise scale of best learning rates: best rates of 3 batch sizes are needed, and there "
        "are 64, 256"
    )
    three = best_rates({64: 0.0985, 256: 0.2, 1024: 0.31})
    assert "could not be checked: 3 batch sizes, 4 needed" in three.reason


def test_repeated_searches_tell_by_how_they_differ():
    rng = np.random.default_rng(1)
    rates = {
        m: [rate * math.exp(x) for x in 0.1 * rng.standard_normal(3)]
        for m, rate in measured().items()
    }
    found = best_rates(rates)
    assert found.basis == "runs" and found.noise_scale.n == 15
    assert found.noise_scale.contains(300.0)
    assert found.rates[64] == pytest.approx(math.prod(rates[64]) ** (1 / 3))


def test_a_rate_at_the_edge_of_those_tried_may_not_be_the_best():
    tried = {64: [0.1, 0.2, 0.4], 256: [0.4, 0.2], 1024: [0.2, 0.8, 0.4], 4096: [0.4]}
    best = {64: 0.2, 256: 0.4, 1024: 0.4, 4096: 0.4}
    found = tuned_rates(tried, best, level=0.95)
    assert found.status == "missing" and found.reason.endswith("there are 64, 1024")
    assert found.notes == (
        "the best rate lies at the edge of those tried at batch sizes 256, 4096, left out",
        "rates were tried 2 times apart at most",
    )


def test_the_steps_between_rates_that_were_tried_are_in_the_interval():
    rates = measured(noise=0.02)
    tried = {size: [rate / 2, rate, rate * 2] for size, rate in rates.items()}
    rough, fine = tuned_rates(tried, rates, level=0.95), best_rates(rates)
    assert rough.noise_scale.value == fine.noise_scale.value
    # s² is (ln 2)²/12 = 0.2² where the rates lie 0.02 off the curve.
    assert rough.noise_scale.high > 1.5 * fine.noise_scale.high


def test_rates_that_go_like_a_power_of_the_batch_size_are_told_so_on_any_grid():
    found = best_rates({16: 0.01, 64: 0.02, 256: 0.04, 1024: 0.08, 4096: 0.16})
    assert found.notes == (
        "a power of M describes the best rates better: M^0.5, off by 0% at most where the form is "
        f"off by {found.departure:.0%}",
    )
    assert best_rates(measured(noise=0.02)).notes == ()
