"""Verdicts judged arm by arm: on sets with arms that say nothing, of many arms, and after advice.

The sets are those of `test_verdicts_physics`. What this measured stands in motion_table.md.
"""

import re
from collections import Counter

import numpy as np
import pytest
import test_verdicts_physics as physics
from test_verdicts_physics import FALSE, OPEN, TIMES, TRUE, logarithm, run, scan_fields, wobble

from ultraslow.analysis.predictions.growth.aging import aging
from ultraslow.analysis.predictions.growth.noise_off import noise_off
from ultraslow.analysis.predictions.growth.straightness import random_motion
from ultraslow.analysis.predictions.landscape.barriers import barriers
from ultraslow.analysis.predictions.landscape.closure import closed_loop, closure
from ultraslow.analysis.predictions.landscape.roughness import landscape_growth
from ultraslow.analysis.predictions.landscape.temperature import activation
from ultraslow.analysis.study import Study

DATA = 100_000
SHORT = TIMES <= 10  # fewer than four pairs of checkpoints, and a decade of the rest


def coordinates(runs, prefix, **more):
    """The runs under other names and with other coordinates."""
    return {f"{prefix}{name}": one.assign_coords(**more) for name, one in runs.items()}


def spoiled(rng, simulate, settings, other):
    """A set beside an arm of short runs, and one without noise, of which the opposite is true."""
    own = coordinates(simulate(rng, **settings), "", data_size=DATA)
    short = coordinates(simulate(rng, **other), "short", data_size=DATA, batch_size=512)
    still = coordinates(
        simulate(rng, **other), "still", data_size=DATA, batch_size=DATA, gradient_difference=0.0
    )
    return {
        **{name: one.isel(iteration=SHORT) for name, one in short.items()},
        **still,
        **own,
    }


def powers_set(rng, *, power, between, noise=0.003):
    """d = t^p, for which no power of ln t is there to be set against the landscape."""
    runs = {}
    for seed in range(physics.SEEDS):
        own = power + between * rng.standard_normal()
        distance = 0.5 * np.maximum(TIMES, 0) ** own * wobble(rng, noise)
        more = scan_fields(rng, gamma=0.5, rise=0.0, kinds=("isotropic",), directions=24)
        runs[f"s{seed}"] = run(distance, seed=seed, **more)
    return runs


def of_arms(rng, simulate, settings, count):
    """The set at several batch sizes, of the same temperature."""
    runs = {}
    for k in range(count):
        fresh = simulate(rng, **settings)
        for name, one in coordinates(fresh, f"a{k}", batch_size=64 * 2**k).items():
            heat = {"noise_trace": one["noise_trace"] * 2**k} if "noise_trace" in one else {}
            runs[name] = one.assign(heat)
    return runs


def rates_set(rng, *, shares, between):
    """Runs with and without noise at several learning rates, a share of slopes each."""
    runs = {}
    for k, share in enumerate(shares):
        rate = 0.1 * 2**k
        for name, one in physics.noise_off_set(rng, share=share, between=between).items():
            told = {
                "learning_rate": one["learning_rate"] * 2**k,
                "learning_rate_sum": rate * TIMES,
            }
            sums = ("iteration", told["learning_rate_sum"])
            runs[f"r{k}-{name}"] = one.assign(
                learning_rate=told["learning_rate"], learning_rate_sum=sums
            )
    return runs


FALLS = {"ratio": 0.05, "fall": 0.8, "between": 0.1}
DRIFT = {"ratio": 30.0, "fall": -0.6, "between": 0.3}
SPOILED = {
    "P9 falls": (random_motion, physics.straight_set, TRUE, FALLS, DRIFT),
    "P9 drift": (random_motion, physics.straight_set, FALSE, DRIFT, FALLS),
    "P8 aging": (aging, physics.aging_set, TRUE, {"kind": "log squared"}, {"kind": "time"}),
    "P8 stationary": (aging, physics.aging_set, FALSE, {"kind": "time"}, {"kind": "log squared"}),
    "P10 closed": (
        closure,
        physics.closure_set,
        TRUE,
        {"ratio": 1.0, "between": 0.2},
        {"ratio": 12.0, "between": 0.2},
    ),
    "P10 apart": (
        closure,
        physics.closure_set,
        FALSE,
        {"ratio": 12.0, "between": 0.2},
        {"ratio": 1.0, "between": 0.2},
    ),
    "P1' closed": (
        closed_loop,
        physics.loop_set,
        TRUE,
        {"power": 2.0, "gamma": 0.5, "between": 0.05},
        {"power": 1.0, "gamma": 0.33, "between": 0.02},
    ),
    "P7 barriers": (
        barriers,
        physics.barrier_set,
        TRUE,
        {"share": 1.0, "between": 0.2},
        {"share": 0.0, "between": 0.2},
    ),
    "P5 activated": (
        activation,
        physics.activation_set,
        TRUE,
        {"power": 1.0, "between": 0.1},
        {"power": 0.21, "between": 0.1},
    ),
}


@pytest.mark.parametrize("sets", [1, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", SPOILED)
def test_arms_that_cannot_speak_take_no_answer_away(case, sets):
    judge, simulate, truth, settings, other = SPOILED[case]
    rng = np.random.default_rng([2018, sum(map(ord, case))])
    found = Counter(
        judge(Study(spoiled(rng, simulate, settings, other))).verdict for _ in range(sets)
    )
    assert found[truth] >= 0.9 * sets, found
    assert found[{TRUE: FALSE, FALSE: TRUE}[truth]] <= 0.01 * sets, found


MANY = {
    "P9 falls": (random_motion, physics.straight_set, TRUE, FALLS),
    "P9 diffusion": (
        random_motion,
        physics.straight_set,
        FALSE,
        {"ratio": 1.0, "fall": 0.0, "between": 0.05},
    ),
    "P10 closed": (closure, physics.closure_set, TRUE, {"ratio": 1.3, "between": 0.4}),
    "P10 apart": (closure, physics.closure_set, FALSE, {"ratio": 6.0, "between": 0.4}),
    "P7 barriers": (barriers, physics.barrier_set, TRUE, {"share": 1.0, "between": 0.3}),
    "P4 linear": (
        landscape_growth,
        physics.landscape_set,
        TRUE,
        {"gamma": 1.0, "rise": 2.5, "between": 0.04},
    ),
    "P4 rough": (
        landscape_growth,
        physics.landscape_set,
        FALSE,
        {"gamma": 0.5, "rise": 2.5, "between": 0.1},
    ),
    "P1' power of t": (closed_loop, powers_set, "not applicable", {"power": 0.5, "between": 0.05}),
}


@pytest.mark.parametrize("sets", [1, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", MANY)
def test_five_arms_say_what_one_does(case, sets):
    judge, simulate, truth, settings = MANY[case]
    rng = np.random.default_rng([2019, sum(map(ord, case))])
    found = Counter(judge(Study(of_arms(rng, simulate, settings, 5))).verdict for _ in range(sets))
    assert found[truth] >= 0.9 * sets, found
    assert sum(found[word] for word in {TRUE, FALSE} - {truth}) <= 0.01 * sets, found


POWERS = {
    "diffusion": (powers_set, "not applicable", {"power": 0.5, "between": 0.05}),
    "small power": (powers_set, "not applicable", {"power": 0.25, "between": 0.02}),
    "noisy": (powers_set, "not applicable", {"power": 0.5, "between": 0.02, "noise": 0.01}),
    "log": (physics.loop_set, TRUE, {"power": 1.4, "gamma": 0.7, "between": 0.02}),
    "log squared": (physics.loop_set, TRUE, {"power": 2.0, "gamma": 0.5, "between": 0.05}),
    "log cubed": (physics.loop_set, TRUE, {"power": 3.0, "gamma": 0.36, "between": 0.05}),
}


@pytest.mark.parametrize("sets", [1, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", POWERS)
def test_powers_of_time_are_told_from_powers_of_its_logarithm(case, sets):
    simulate, truth, settings = POWERS[case]
    rng = np.random.default_rng([2020, sum(map(ord, case))])
    found = Counter(closed_loop(Study(simulate(rng, **settings))).verdict for _ in range(sets))
    assert found[truth] >= 0.9 * sets, found
    wrong = {TRUE, FALSE, "not applicable"} - {truth}
    assert sum(found[word] for word in wrong) <= 0.01 * sets, found


RATES = {
    "rest at three rates": ((0.0, 0.0, 0.0), TRUE),
    "growth at one of three": ((0.0, 0.0, 0.9), FALSE),
    "slowing down at all": ((0.3, 0.3, 0.3), OPEN),
}


@pytest.mark.parametrize("sets", [1, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", RATES)
def test_descent_without_noise_is_compared_at_each_rate(case, sets):
    shares, truth = RATES[case]
    rng = np.random.default_rng([2021, sum(map(ord, case))])
    runs = (rates_set(rng, shares=shares, between=0.1) for _ in range(sets))
    found = Counter(noise_off(Study(one)).verdict for one in runs)
    assert found[truth] >= 0.9 * sets, found
    assert sum(found[word] for word in {TRUE, FALSE} - {truth}) <= 0.01 * sets, found


# Sets of five seeds that mostly leave it open, and how they are continued.
ADVISED = {
    "P9": (random_motion, physics.straight_set, {"ratio": 0.2, "fall": 0.5, "between": 0.5}),
    "P9 driven": (random_motion, physics.straight_set, {"ratio": 1.5, "fall": 0, "between": 0.5}),
    "P10": (closure, physics.closure_set, {"ratio": 1.5, "between": 0.8}),
    "P10 apart": (closure, physics.closure_set, {"ratio": 6.0, "between": 0.8}),
    "P7": (barriers, physics.barrier_set, {"share": 0.8, "between": 0.8}),
    "P5": (activation, physics.activation_set, {"power": 1.1, "between": 0.5}),
    "P5 weak": (activation, physics.activation_set, {"power": 0.4, "between": 0.5}),
    "P6": (noise_off, physics.noise_off_set, {"share": 0.8, "between": 0.6}),
    "P4": (landscape_growth, physics.landscape_set, {"gamma": 1.0, "rise": 2.5, "between": 0.15}),
    "P1'": (closed_loop, physics.loop_set, {"power": 2.0, "gamma": 0.5, "between": 0.6}),
}


def continued(runs, rng, simulate, settings, count):
    """The runs with more seeds of the same kind, so many in all."""
    there, physics.SEEDS = physics.SEEDS, count - physics.SEEDS
    try:
        fresh = simulate(rng, **settings)
    finally:
        physics.SEEDS = there
    more = {
        f"more-{name}": one.assign_coords(seed=int(one["seed"]) + there)
        for name, one in fresh.items()
    }
    return runs | more


@pytest.mark.parametrize("sets", [1, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", ADVISED)
def test_as_many_seeds_as_advised_decide(case, sets):
    """Four times of five, or as often as is told."""
    judge, simulate, settings = ADVISED[case]
    rng = np.random.default_rng([2022, sum(map(ord, case))])
    followed, decided, told = 0, 0, 0.0
    for _ in range(12 * sets):
        runs = simulate(rng, **settings)
        found = judge(Study(runs))
        if found.verdict != OPEN:
            continue
        assert found.needed
        if found.unit != "seeds" or not found.need <= 60:
            continue
        more = continued(runs, rng, simulate, settings, int(found.need))
        decided += judge(Study(more)).verdict != OPEN
        share = re.search(r"decides (\d+)% of studies", found.needed)
        told += int(share[1]) / 100 if share else 0.8
        followed += 1
        if followed == sets:
            break
    assert sets == 1 or followed >= sets / 2, followed
    assert sets == 1 or decided >= told, (decided, told, followed)


def test_what_is_simulated_is_what_it_says():
    rng = np.random.default_rng(0)
    assert len(of_arms(rng, physics.straight_set, FALLS, 3)) == 3 * physics.SEEDS
    assert float(logarithm(rng)[-1]) > 5
