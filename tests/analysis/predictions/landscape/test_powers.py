import numpy as np
import pytest

from ultraslow.analysis.predictions.landscape.closure import _CLEAR
from ultraslow.analysis.predictions.landscape.powers import (
    log_power,
    power_advantage,
    seen_after,
)
from ultraslow.diffusion.recording.schedule import log_spaced

TIMES = log_spaced(3000, per_decade=12)


def powers_of_log(make, power, *, unit=5.0, seeds=4, **more):
    squares = [
        (1 + 0.01 * seed) * np.log1p(TIMES / unit)[:, None] ** (2 * power) for seed in range(seeds)
    ]
    return {
        f"s{seed}": make(seed=seed, records=TIMES, distance_sq=value * np.ones(3) / 3, **more)
        for seed, value in enumerate(squares)
    }


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 4.0])
def test_the_power_of_a_log_law_is_recovered(make, power):
    run = powers_of_log(make, power, seeds=1)["s0"]
    assert log_power(run) == pytest.approx(power, rel=0.01)


@pytest.mark.parametrize("power", [0.3, 0.5])
def test_a_power_of_time_is_no_power_of_its_logarithm(make, power):
    run = make(records=TIMES, distance_sq=TIMES[:, None] ** (2 * power) * np.ones(3) / 3)
    assert np.isnan(log_power(run))


def test_a_distance_without_a_logarithm_has_no_power(make):
    run = powers_of_log(make, 1.0, seeds=1)["s0"]
    run["distance_sq"][5] = np.nan
    assert np.isnan(log_power(run))


def test_a_logarithm_has_to_go_on_beyond_its_unit(make):
    # With τ = 30 of 3000 iterations two decades are left, with τ = 8 two and a half.
    assert np.isnan(log_power(powers_of_log(make, 1.0, unit=30.0, seeds=1)["s0"]))
    found = log_power(powers_of_log(make, 1.0, unit=8.0, seeds=1)["s0"])
    assert found == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("unit", [1.0, 5.0, 30.0])
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 4.0])
def test_a_power_of_the_logarithm_is_not_taken_for_one_of_time(make, power, unit):
    assert power_advantage(powers_of_log(make, power, unit=unit, seeds=1)["s0"]) < 0


@pytest.mark.parametrize("power", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("offset", [0.0, 2.0])
def test_a_power_of_time_fits_better_where_it_is_one(make, power, offset):
    squares = (offset + TIMES**power)[:, None] ** 2 * np.ones(3) / 3
    assert power_advantage(make(records=TIMES, distance_sq=squares)) > 5


def test_weights_that_stay_have_no_law(make):
    run = make(records=TIMES, distance_sq=np.ones((TIMES.size, 3)))
    assert np.isnan(power_advantage(run))
    run["distance_sq"][9] = np.nan
    assert np.isnan(power_advantage(run)) and np.isnan(seen_after(run))


@pytest.mark.parametrize(
    ("law", "is_power"),
    [
        (lambda t: np.log1p(t) ** 3, False),
        (lambda t: np.log1p(t / 30) ** 2, False),
        (np.sqrt, True),
    ],
    ids=["(ln t)^3", "(ln t/30)^2", "√t"],
)
def test_single_noisy_runs_are_told_to_be_powers_of_time_only_if_they_are(make, law, is_power):
    rng = np.random.default_rng(7)
    shares = np.ones(3) / 3
    for size in (0.002, 0.01) if not is_power else (0.002,):
        for _ in range(15):
            noise = np.interp(
                np.arange(TIMES.size),
                np.arange(0, TIMES.size, 3),
                rng.standard_normal(-(-TIMES.size // 3)),
            )
            squares = (law(TIMES) * np.exp(size * noise))[:, None] ** 2 * shares
            run = make(records=TIMES, distance_sq=squares)
            assert (power_advantage(run) > _CLEAR) == is_power
