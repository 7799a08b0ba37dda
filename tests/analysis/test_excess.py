import numpy as np
import pytest

from analysis.excess import explained_excess


def test_drift_explains_the_excess_that_the_theory_gives(make):
    runs = {f"b{size}": make(batch_size=size, seed=1) for size in (50, 1000)}
    found = explained_excess(runs)
    # The simulated noise scale is 200 within 1 %: (1 + 5)/(1 + 0.25) = 4.8
    assert "= 4.8" in found or "= 4.7" in found
    assert explained_excess({"a": make(scaling="linear")}) == ""
    assert explained_excess({"a": make(noise_trace=None)}) == ""


def known(make, size, trace, square, **options):
    """A run whose last decade, iterations 10 to 100, has these moments; before it, others."""
    late = np.array([False, False, False, True, True, True])[:, None]
    return make(
        batch_size=size,
        records=[0, 1, 10, 20, 50, 100],
        noise_trace=np.where(late, trace, 9000.0) * np.ones(3) / 3,
        gradient_sq=np.where(late, square, 1.0) * np.ones(3) / 3,
        **options,
    )


def test_the_noise_scale_is_a_ratio_of_sums_over_the_last_decade(make):
    # (100 + 700)/(1 + 3) = 200, where the mean of the ratios 100/1 and 700/3 is 167; and
    # (1 + 200/200)/(1 + 50/200) = 1.6.
    runs = {"large": known(make, 200, 700.0, 3.0), "small": known(make, 50, 100.0, 1.0)}
    assert explained_excess(runs) == (
        "with the noise scale of all runs together, B = 200, drift would make squared updates at "
        "batch size 200 (1 + M/B)/(1 + M₀/B) = 1.600 times those at 50"
    )


def test_recorded_paths_say_how_much_longer_updates_were(make):
    """Sums over records at 20, 50 and 100 of updates since iteration 10, over three tensors."""
    steps = {200: np.array([9.0, 9, 9, 20, 60, 100]), 50: np.array([9.0, 9, 9, 10, 30, 50])}
    runs = {
        f"b{size}": known(make, size, 300.0, 1.0, step_sq=steps[size][:, None] * np.ones(3))
        for size in steps
    }
    assert explained_excess(runs).endswith("times those at 50; the recorded paths make it 2.000")
    runs["b50"]["step_sq"] = 0 * runs["b50"]["step_sq"]
    assert "paths" not in explained_excess(runs)
    del runs["b50"]["step_sq"]
    assert "paths" not in explained_excess(runs)


@pytest.mark.parametrize(("trace", "square"), [(-100.0, 1.0), (100.0, -1.0), (0.0, 1.0)])
def test_moments_that_give_no_noise_scale_explain_nothing(make, trace, square):
    runs = {f"b{size}": known(make, size, trace, square) for size in (50, 200)}
    assert explained_excess(runs) == ""


def test_one_run_under_another_rule_explains_nothing(make):
    runs = {"a": known(make, 50, 100.0, 1.0), "b": known(make, 200, 1.0, 1.0, scaling="linear")}
    assert explained_excess(runs) == ""
