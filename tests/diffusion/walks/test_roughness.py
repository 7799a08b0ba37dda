import numpy as np
import pytest

from ultraslow.diffusion.walks.roughness import structure


def test_against_a_naive_loop():
    differences = np.random.default_rng(0).standard_normal((3, 20)) + [[0.0], [1.0], [-2.0]]
    found = structure(differences)
    for radius, row in enumerate(differences):
        mean = sum(row) / 20
        variance = sum((x - mean) ** 2 for x in row) / 19
        rms = (sum(x * x for x in row) / 20) ** 0.5
        assert found.mean[radius] == pytest.approx(mean)
        assert found.standard_deviation[radius] == pytest.approx(variance**0.5)
        assert found.rms[radius] == pytest.approx(rms)
        # RMS² = mean² + (n − 1)/n·s²: the three are kept apart and still belong together.
        assert rms**2 == pytest.approx(mean**2 + 19 / 20 * variance)
        kurtosis = sum((x - mean) ** 4 for x in row) / 20 / variance**2
        spread = sum((x * x - rms**2) ** 2 for x in row) / 19
        assert found.mean_error[radius] == pytest.approx((variance / 20) ** 0.5)
        error = variance**0.5 * ((kurtosis - 17 / 19) / 80) ** 0.5
        assert found.standard_deviation_error[radius] == pytest.approx(error)
        assert found.rms_error[radius] == pytest.approx(spread**0.5 / (2 * rms * 20**0.5))
    assert found.directions == 20


@pytest.mark.parametrize("shape", ["normal", "exponential", "uniform"])
def test_stated_errors_are_those_over_many_samples(shape):
    rng = np.random.default_rng(1)
    samples = getattr(rng, shape)(size=(4000, 200))
    found = structure(samples)
    for statistic in ("mean", "standard_deviation", "rms"):
        spread = np.std(getattr(found, statistic), ddof=1)
        stated = np.mean(getattr(found, f"{statistic}_error") ** 2) ** 0.5
        # 4000 samples fix a spread to 1.1 %; the delta method at 200 directions is off by
        # several per cent where the fourth moment is itself noisy.
        assert stated == pytest.approx(spread, rel=0.07), statistic


def test_one_infinite_difference_is_counted_and_not_left_out():
    found = structure([[1.0, 2.0, 3.0], [1.0, np.inf, 3.0], [np.nan, np.nan, 1.0]])
    assert found.nonfinite.tolist() == [0, 1, 2]
    for name in ("mean", "standard_deviation", "rms"):
        for statistic in (getattr(found, name), getattr(found, f"{name}_error")):
            assert np.isfinite(statistic).tolist() == [True, False, False]


def test_differences_that_are_all_the_same():
    found = structure(np.zeros((2, 5)))
    for statistic in ("mean", "standard_deviation", "rms"):
        assert getattr(found, statistic).tolist() == [0.0, 0.0]
        assert getattr(found, f"{statistic}_error").tolist() == [0.0, 0.0]


def test_a_quadratic_has_known_mean_and_deviation():
    # To first order mean ΔL = r²·tr H/2N and std ΔL = r·|∇L|/√N, of every smooth loss.
    # On the unit sphere E v = 0, E v vᵀ = I/N, and odd and even parts of ΔL are uncorrelated:
    # Var ΔL = r²|g|²/N + r⁴·(N·tr H² − (tr H)²)/(2N²(N + 2)).
    rng = np.random.default_rng(2)
    n, g, h = 30, rng.standard_normal(30), rng.uniform(0, 2, 30)
    v = rng.standard_normal((40_000, n))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    radii = np.array([0.01, 0.1, 1.0, 10.0])
    found = structure([r * v @ g + r**2 * (v**2) @ h / 2 for r in radii])
    mean, spread = radii**2 * h.sum() / (2 * n), radii * np.linalg.norm(g) / np.sqrt(n)
    assert np.all(np.abs(found.mean - mean) < 4 * found.mean_error)
    fourth = radii**4 * (n * np.sum(h**2) - h.sum() ** 2) / (2 * n**2 * (n + 2))
    exact = np.sqrt(spread**2 + fourth)
    error = np.abs(found.standard_deviation - exact)
    assert np.all(error < 4 * found.standard_deviation_error)


def test_messages():
    with pytest.raises(ValueError, match=r"differences: found shape \(3, 1\)"):
        structure(np.zeros((3, 1)))
