import numpy as np
import pytest

from ultraslow.diffusion import scaling

M = np.array([32.0, 64, 256, 1000])


def test_sqrt_rules_keep_the_noise_of_an_update():
    for rule, data_size in (("sqrt", None), ("exact_sqrt", 4000)):
        eta = scaling.scaled_learning_rate(
            rule, 0.1, batch_size=M, base_batch_size=32, data_size=data_size
        )
        noise = eta**2 * scaling.noise_factor(M, data_size)
        np.testing.assert_allclose(noise, noise[0], rtol=1e-12)


def test_linear_rule_keeps_the_temperature_and_sqrt_lowers_it():
    def temperatures(rule):
        eta = scaling.scaled_learning_rate(rule, 0.1, batch_size=M, base_batch_size=32)
        return scaling.langevin_temperature(eta, M, noise_trace=7.0, weights=3)

    np.testing.assert_allclose(temperatures("linear"), temperatures("linear")[0], rtol=1e-12)
    np.testing.assert_allclose(temperatures("sqrt") * M**0.5, temperatures("sqrt")[0] * 32**0.5)
    np.testing.assert_allclose(temperatures("fixed") * M, temperatures("fixed")[0] * 32)


@pytest.mark.parametrize("rule", scaling.RULES)
def test_every_rule_returns_the_base_rate_at_the_base_batch_size(rule):
    eta = scaling.scaled_learning_rate(
        rule, 0.3, batch_size=64, base_batch_size=64, data_size=1000
    )
    assert float(eta) == pytest.approx(0.3, rel=1e-14)


def test_covariance_without_replacement_equals_all_batches():
    # the exact covariance over every subset of 3 out of 7 gradients, by enumeration
    from itertools import combinations

    gradients = np.random.default_rng(3).standard_normal((7, 2))
    means = np.array(
        [gradients[list(chosen)].mean(axis=0) for chosen in combinations(range(7), 3)]
    )
    expected = np.cov(means.T, bias=True)
    found = scaling.noise_factor(3, data_size=7) * np.cov(gradients.T)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_hyperbola_of_steps_and_examples():
    steps = scaling.steps_to_target(M, fewest_steps=50.0, critical_batch_size=300.0)
    examples = M * steps
    np.testing.assert_allclose((steps / 50 - 1) * (examples / (50 * 300) - 1), 1.0, rtol=1e-12)
    at_critical = scaling.steps_to_target(300, fewest_steps=50.0, critical_batch_size=300.0)
    assert float(at_critical) == 100.0


@pytest.mark.parametrize("rule", scaling.RULES)
def test_rules_compose(rule):
    def rate(base, start, end):
        return float(
            scaling.scaled_learning_rate(
                rule, base, batch_size=end, base_batch_size=start, data_size=5000
            )
        )

    assert rate(rate(0.1, 32, 256), 256, 1000) == pytest.approx(rate(0.1, 32, 1000), rel=1e-12)


@pytest.mark.parametrize("rule", scaling.RULES)
def test_rates_do_not_fall_with_the_batch_size(rule):
    eta = scaling.scaled_learning_rate(rule, 0.1, batch_size=M, base_batch_size=32, data_size=5000)
    assert (np.diff(eta) >= 0).all()


def test_exact_rule_becomes_the_root_rule_on_large_data_and_exceeds_it_on_small():
    def eta(rule, data_size):
        return scaling.scaled_learning_rate(
            rule, 0.1, batch_size=M, base_batch_size=32, data_size=data_size
        )

    np.testing.assert_allclose(eta("exact_sqrt", 1e9), eta("sqrt", None), rtol=1e-6)
    assert (eta("exact_sqrt", 1500)[1:] > eta("sqrt", None)[1:]).all()


def test_temperature_equals_the_spread_of_sgd_in_a_parabola():
    # small steps in V = h·w²/2 with gradient variance σ²/M: ⟨w²⟩ = T/h
    rate, h, variance, batch = 0.01, 1.0, 40.0, 8
    rng = np.random.default_rng(0)
    w = np.zeros(20_000)
    for _ in range(600):
        w -= rate * (h * w + np.sqrt(variance / batch) * rng.standard_normal(w.shape))
    found = scaling.langevin_temperature(rate, batch, noise_trace=variance, weights=1)
    assert np.mean(w**2) * h == pytest.approx(float(found), rel=0.04)


def test_what_is_absent_adds_nothing():
    # descent without noise and rest are both sound
    assert scaling.langevin_temperature(0.1, 8, noise_trace=0.0, weights=2) == 0
    assert scaling.langevin_temperature(0.0, 8, noise_trace=1.0, weights=2) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": "cubic"}, "rule: found 'cubic', expected one of"),
        ({"batch_size": 0}, "batch_size: found 0"),
        ({"base_batch_size": -1}, "base_batch_size: found -1"),
        ({"base_learning_rate": 0}, "base_learning_rate: found 0"),
        ({"rule": "exact_sqrt"}, "data_size: found None"),
        ({"rule": "exact_sqrt", "data_size": 128}, "found 128, expected values below data_size"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {
        "rule": "sqrt",
        "base_learning_rate": 0.1,
        "batch_size": 128,
        "base_batch_size": 64,
    }
    arguments |= change
    with pytest.raises(ValueError, match=message):
        scaling.scaled_learning_rate(
            arguments.pop("rule"), arguments.pop("base_learning_rate"), **arguments
        )


def test_batch_larger_than_the_data_and_momentum_one_are_refused():
    with pytest.raises(ValueError, match="batch_size: found 9, expected at most data_size 8"):
        scaling.noise_factor(9, 8)
    with pytest.raises(ValueError, match=r"momentum: found 1, expected a value in \[0, 1\)"):
        scaling.langevin_temperature(0.1, 8, noise_trace=1.0, weights=1, momentum=1.0)


def test_the_optimal_rate_minimizes_the_expected_loss_after_one_step():
    """Of L = ½ w·H·w with noise of covariance Σ/M, by a search over the rate."""
    rng = np.random.default_rng(5)
    root, noise = rng.standard_normal((2, 4, 4))
    hessian, sigma = root @ root.T, noise @ noise.T
    gradient = hessian @ rng.standard_normal(4)
    bend = gradient @ hessian @ gradient
    largest, scale = gradient @ gradient / bend, np.trace(hessian @ sigma) / bend
    rates = np.linspace(1e-4, 1.2 * largest, 200_001)
    for size in (1, 8, 512):
        mean_square = bend + np.trace(hessian @ sigma) / size
        change = -rates * (gradient @ gradient) + rates**2 / 2 * mean_square
        told = scaling.optimal_learning_rate(size, largest_rate=largest, noise_scale=scale)
        assert told == pytest.approx(rates[change.argmin()], rel=1e-3)


@pytest.mark.parametrize("bad", [{"noise_scale": 0.0}, {"largest_rate": -1.0}])
def test_the_optimal_rate_refuses_what_is_not_positive(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        scaling.optimal_learning_rate(64, **{"largest_rate": 0.1, "noise_scale": 9.0, **bad})
