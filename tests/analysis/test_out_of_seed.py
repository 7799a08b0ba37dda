import numpy as np
import pytest

from analysis.clocks import CLOCKS, ITERATION, NOISE, RATE, SAMPLES, clock_values
from analysis.excess import explained_excess
from analysis.out_of_seed import best_clock, clock_errors
from diffusion.schedule import log_spaced

TIMES = log_spaced(10_000, per_decade=8)


def sweep(make, clock, *, seeds=4, sizes=(64, 256)):
    """Distances 1 + ln(1 + clock) under the linear rule, a little different from seed to seed."""
    runs = {}
    for size in sizes:
        for seed in range(seeds):
            run = make(
                batch_size=size,
                seed=seed,
                records=TIMES,
                rate=0.1 * (size / 64) ** 0.75,
                scaling="linear",
            )
            moved = (1 + 0.001 * seed) * (TIMES > 0) * (1 + np.log1p(clock_values(run, clock)))
            runs[f"b{size}-s{seed}"] = run.assign(
                distance_sq=(("iteration", "tensor"), moved[:, None] ** 2 * np.ones(3) / 3)
            )
    return runs


def test_clocks_are_sums_over_updates(make):
    run = make(batch_size=256, rate=0.1, records=[0, 1, 10])
    expected = {
        ITERATION: [0, 1, 10],
        RATE: [0, 0.1, 1.0],
        NOISE: np.array([0, 0.01, 0.1]) / 256,
        SAMPLES: [0, 256, 2560],
    }
    for clock in CLOCKS:
        np.testing.assert_allclose(clock_values(run, clock), expected[clock], rtol=1e-12)


def test_the_summed_rate_follows_from_a_constant_one(make):
    run = make(rate=0.1, records=[0, 1, 10], learning_rate_sum=None)
    np.testing.assert_allclose(clock_values(run, RATE), [0, 0.1, 1.0])


@pytest.mark.parametrize("clock", CLOCKS)
def test_the_clock_that_curves_share_is_found(make, clock):
    runs = sweep(make, clock)
    errors = {name: np.mean(list(clock_errors(runs, name).values())) for name in CLOCKS}
    assert min(errors, key=errors.get) == clock
    assert errors[clock] < 0.01
    assert best_clock(runs).startswith(f"curves coincide best over {clock} (out-of-seed errors")


def test_an_error_is_that_of_the_other_seeds_of_the_other_arms(make):
    runs = sweep(make, ITERATION, seeds=2)
    errors = clock_errors(runs, ITERATION)
    # Each run is predicted by the one run of the other arm and seed: ln 1.001 apart.
    assert errors == {0: pytest.approx(np.log(1.001)), 1: pytest.approx(np.log(1.001))}


def test_one_seed_or_one_arm_scores_nothing(make):
    assert clock_errors(sweep(make, RATE, seeds=1), RATE) == {}
    assert best_clock(sweep(make, RATE, sizes=(64,))) == ""


def test_drift_explains_the_excess_that_the_theory_gives(make):
    runs = {f"b{size}": make(batch_size=size, seed=1) for size in (50, 1000)}
    found = explained_excess(runs)
    # The simulated noise scale is 200 within 1 %: (1 + 5)/(1 + 0.25) = 4.8
    assert "= 4.8" in found or "= 4.7" in found
    assert explained_excess({"a": make(scaling="linear")}) == ""
    assert explained_excess({"a": make(noise_trace=None)}) == ""
