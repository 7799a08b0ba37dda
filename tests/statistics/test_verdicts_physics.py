"""Verdicts on simulated sets whose truth is known: right as often as promised, rarely wrong.

Each case is a set of runs of which the prediction is true, false, or beyond what the data can
tell. One set of each is judged by default; the slow suite judges enough for the shares.
"""

from collections import Counter

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.predictions.batch_size.collapse import collapse_in_rate
from ultraslow.analysis.predictions.growth.aging import aging
from ultraslow.analysis.predictions.growth.noise_off import noise_off
from ultraslow.analysis.predictions.growth.straightness import random_motion
from ultraslow.analysis.predictions.landscape.barriers import barriers
from ultraslow.analysis.predictions.landscape.closure import closed_loop, closure
from ultraslow.analysis.predictions.landscape.roughness import landscape_growth
from ultraslow.analysis.predictions.landscape.temperature import activation
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording import contract
from ultraslow.diffusion.recording.schedule import log_spaced

SEEDS = 5
TIMES = log_spaced(10_000, per_decade=12)
STARTED = np.maximum(TIMES, 1)
UPDATES = np.diff(TIMES, prepend=0)
WEIGHTS = 100
RADII = np.geomspace(0.3, 10, 8)
RATE = 0.1


def run(distance, *, seed, batch_size=64, rate=RATE, **more):
    """A recording of one trajectory with the given fields besides."""
    values = {
        "iteration": TIMES,
        "tensor": ["w"],
        "tensor_size": [WEIGHTS],
        "distance_sq": (distance**2)[:, None],
        "weight_sq": np.full((TIMES.size, 1), 1e4),
        "overlap": np.full((TIMES.size, 1), 1e4),
        "learning_rate": np.full(TIMES.size, rate),
        "learning_rate_sum": rate * TIMES,
        "run": f"b{batch_size}-{rate}-s{seed}",
        "batch_size": batch_size,
        "seed": seed,
        **more,
    }
    return xr.Dataset.from_dict(contract.pack(values))


def wobble(rng, noise=0.003):
    """Relative noise of a trajectory, autoregressive in ln t."""
    kept = np.exp(-np.diff(np.log(STARTED)))
    values = rng.standard_normal(TIMES.size)
    for k, share in enumerate(kept):
        values[k + 1] = share * values[k] + np.sqrt(1 - share**2) * values[k + 1]
    return np.exp(noise * values) * (TIMES > 0)


def spread(rng, size):
    """A factor that differs from seed to seed."""
    return float(np.exp(size * rng.standard_normal()))


def logarithm(rng, slope=1.0, power=1.0):
    """d = slope·ln(1 + t)^power with noise."""
    return slope * np.log1p(STARTED) ** power * wobble(rng)


def noise_fields(temperature, *, batch_size=64, rate=RATE):
    """Noise records of a run without momentum, of that temperature."""
    trace = 2 * temperature * batch_size * WEIGHTS / rate
    measured = np.where(TIMES > 0, trace, np.nan)[:, None]
    return {"noise_trace": measured, "gradient_sq": 0 * measured + 1, "noise_updates": UPDATES}


def scan_fields(
    rng, *, gamma, strength=1.0, rise=1.2, kinds=("isotropic", "trajectory"), directions=24
):
    """Loss differences strength·r^γ·(rise + ξ(ln r)) at two records, ξ wandering along a line."""
    found = np.full((TIMES.size, len(kinds), RADII.size, directions), np.nan)
    kept = np.exp(-2 * np.diff(np.log(RADII)))
    for row in (0, TIMES.size // 2):
        for kind in range(len(kinds)):
            xi = rng.standard_normal((RADII.size, directions))
            for k, share in enumerate(kept):
                xi[k + 1] = share * xi[k] + np.sqrt(1 - share**2) * xi[k + 1]
            found[row, kind] = strength * RADII[:, None] ** gamma * (rise + xi)
    return {
        "ensemble": list(kinds),
        "direction": np.arange(directions),
        "radius": RADII,
        "loss_difference": found,
    }


def straight_set(rng, *, ratio, fall, between):
    """R(t) = ratio·(t/last)^−fall, with updates of constant length."""
    runs = {}
    for seed in range(SEEDS):
        path = UPDATES.astype(float)[:, None]
        wanted = ratio * (STARTED / TIMES[-1]) ** -fall * spread(rng, between)
        distance = np.sqrt(wanted * TIMES) * wobble(rng)
        runs[f"s{seed}"] = run(distance, seed=seed, step_sq=path)
    return runs


def noise_off_set(rng, *, share, between):
    """Full-batch runs whose log-slope is `share` of the noisy ones' after a common start."""
    runs = {}
    for seed in range(SEEDS):
        scale = spread(rng, between)
        noisy = scale * logarithm(rng)
        start = np.log1p(np.minimum(TIMES, 100))
        own = share * spread(rng, between) if share else 0.05 * between * rng.standard_normal()
        still = scale * (start + own * (np.log1p(TIMES) - start)) * wobble(rng, 0.0005)
        runs[f"n{seed}"] = run(noisy, seed=seed, data_size=1000)
        same = {"data_size": 1000, "gradient_difference": 0.0}
        runs[f"q{seed}"] = run(still, seed=seed, batch_size=1000, **same)
    return runs


def activation_set(rng, *, power, between, gamma=1.0):
    """Log-slopes ∝ T^power at four temperatures."""
    runs = {}
    for seed in range(SEEDS):
        for size in (32, 64, 128, 256):
            heat = 64 / size
            distance = logarithm(rng, heat**power * spread(rng, between))
            more = scan_fields(rng, gamma=gamma, kinds=("isotropic",)) if size == 64 else {}
            runs[f"b{size}-s{seed}"] = run(distance, seed=seed, batch_size=size, **more)
    return runs


def landscape_set(rng, *, gamma, rise, between):
    """Scans of one exponent a run, which differs from seed to seed."""
    return {
        f"s{seed}": run(
            10 * logarithm(rng),
            seed=seed,
            **scan_fields(rng, gamma=gamma + between * rng.standard_normal(), rise=rise),
        )
        for seed in range(SEEDS)
    }


def barrier_set(rng, *, share, between):
    """Barriers of `share`·T·ln Δt between checkpoints four a decade."""
    heat, fraction = 0.01, np.linspace(0, 1, 9)
    shape = 4 * fraction * (1 - fraction)
    runs = {}
    for seed in range(SEEDS):
        rows = np.arange(6, TIMES.size, 3)
        lines = np.full((TIMES.size, fraction.size), np.nan)
        scale = spread(rng, between)
        for before, row in zip(rows, rows[1:], strict=False):
            height = share * heat * np.log(TIMES[row] - TIMES[before]) * scale
            height *= spread(rng, 0.2)
            fall = 0.002 * fraction
            lines[row] = 1 + height * shape - fall
        lines[rows[0]] = 1 - 0.1 * fraction
        more = {"fraction": fraction, "line_loss": lines, **noise_fields(heat)}
        runs[f"s{seed}"] = run(logarithm(rng), seed=seed, **more)
    return runs


def aging_set(rng, *, kind, components=1024, seeds=SEEDS):
    """Sketches of walks of independent components.

    Brownian motion in the clock (ln t)², where Δ²/d²(s) = (ln(s + τ)/ln s)² − 1; in ln t, where
    Δ² = ln(1 + τ/s); and in t, where Δ² = τ.
    """
    clocks = {
        "log squared": np.log(STARTED + 1.0) ** 2,
        "log": np.log(STARTED + 1.0),
        "time": STARTED.astype(float),
    }
    runs = {}
    for seed in range(seeds):
        steps = np.sqrt(np.diff(clocks[kind], prepend=0))[:, None]
        position = np.cumsum(steps * rng.standard_normal((TIMES.size, components)), axis=0)
        position -= position[0]
        runs[f"s{seed}"] = run(np.linalg.norm(position, axis=1), seed=seed, sketch=position)
    return runs


def closure_set(rng, *, ratio, between):
    """Log-slope over T/c equal to `ratio`."""
    heat, strength = 0.02, 0.01
    runs = {}
    for seed in range(SEEDS):
        slope = ratio * heat / strength * spread(rng, between)
        scans = scan_fields(rng, gamma=1.0, strength=strength)
        distance = logarithm(rng, slope)
        runs[f"s{seed}"] = run(distance, seed=seed, **scans, **noise_fields(heat))
    return runs


def loop_set(rng, *, power, gamma, between):
    """d = ln(1 + t)^power on a landscape of exponent γ."""
    return {
        f"s{seed}": run(
            logarithm(rng, 5.0, power + between * rng.standard_normal()),
            seed=seed,
            **scan_fields(rng, gamma=gamma, rise=0.0, kinds=("isotropic",), directions=64),
        )
        for seed in range(SEEDS)
    }


def rate_set(rng, *, ratio, between, steeper=0.0):
    """Three batch sizes under the linear rule, coinciding in Ση but for a factor."""
    runs = {}
    for size, factor in ((64, 1.0), (256, np.sqrt(ratio)), (1024, ratio)):
        rate = RATE * size / 64
        power = 1 + steeper * np.log(size / 64)
        for seed in range(SEEDS):
            grown = np.log1p(rate * TIMES) ** power * spread(rng, between) * factor
            distance = grown * wobble(rng)
            runs[f"b{size}-s{seed}"] = run(
                distance, seed=seed, batch_size=size, rate=rate, scaling="linear"
            )
    return runs


TRUE, FALSE, OPEN = "supported", "contradicted", "undecidable"
CASES = {
    "P9 falls": (random_motion, straight_set, TRUE, {"ratio": 0.05, "fall": 0.8, "between": 0.1}),
    "P9 diffusion": (
        random_motion,
        straight_set,
        FALSE,
        {"ratio": 1.0, "fall": 0.0, "between": 0.02},
    ),
    "P9 drift": (
        random_motion,
        straight_set,
        FALSE,
        {"ratio": 30.0, "fall": -0.6, "between": 0.3},
    ),
    "P9 open": (random_motion, straight_set, OPEN, {"ratio": 0.5, "fall": 0.1, "between": 0.6}),
    "P9 stays": (random_motion, straight_set, FALSE, {"ratio": 0.7, "fall": 0.0, "between": 0.1}),
    "P9 begins to fall": (
        random_motion,
        straight_set,
        OPEN,
        {"ratio": 0.6, "fall": 0.4, "between": 0.1},
    ),
    "P6 rest": (noise_off, noise_off_set, TRUE, {"share": 0.0, "between": 0.1}),
    "P6 alike": (noise_off, noise_off_set, FALSE, {"share": 0.9, "between": 0.1}),
    "P6 open": (noise_off, noise_off_set, OPEN, {"share": 0.3, "between": 0.2}),
    "P5 activated": (activation, activation_set, TRUE, {"power": 1.0, "between": 0.1}),
    "P5 weak": (activation, activation_set, FALSE, {"power": 0.21, "between": 0.1}),
    "P5 open": (activation, activation_set, OPEN, {"power": 1.0, "between": 2.0}),
    "P4 linear": (
        landscape_growth,
        landscape_set,
        TRUE,
        {"gamma": 1.0, "rise": 2.5, "between": 0.02},
    ),
    "P4 rough": (
        landscape_growth,
        landscape_set,
        FALSE,
        {"gamma": 0.5, "rise": 2.5, "between": 0.02},
    ),
    "P4 bowl": (
        landscape_growth,
        landscape_set,
        FALSE,
        {"gamma": 2.0, "rise": 8.0, "between": 0.02},
    ),
    "P4 smooth": (
        landscape_growth,
        landscape_set,
        OPEN,
        {"gamma": 1.0, "rise": 0.0, "between": 0.0},
    ),
    "P4 open": (
        landscape_growth,
        landscape_set,
        OPEN,
        {"gamma": 1.0, "rise": 2.5, "between": 0.6},
    ),
    "P7 barriers": (barriers, barrier_set, TRUE, {"share": 1.0, "between": 0.2}),
    "P7 downhill": (barriers, barrier_set, FALSE, {"share": 0.0, "between": 0.2}),
    "P7 open": (barriers, barrier_set, OPEN, {"share": 0.4, "between": 1.0}),
    "P8 log squared": (aging, aging_set, TRUE, {"kind": "log squared"}),
    "P8 stationary": (aging, aging_set, FALSE, {"kind": "time"}),
    "P8 log": (aging, aging_set, FALSE, {"kind": "log", "seeds": 12}),
    "P8 open": (aging, aging_set, OPEN, {"kind": "log squared", "components": 2}),
    "P10 closed": (closure, closure_set, TRUE, {"ratio": 1.0, "between": 0.2}),
    "P10 apart": (closure, closure_set, FALSE, {"ratio": 12.0, "between": 0.2}),
    "P10 open": (closure, closure_set, OPEN, {"ratio": 1.0, "between": 2.5}),
    "P1' closed": (closed_loop, loop_set, TRUE, {"power": 2.0, "gamma": 0.5, "between": 0.05}),
    "P1' apart": (closed_loop, loop_set, FALSE, {"power": 1.0, "gamma": 0.33, "between": 0.02}),
    "P1' smooth": (closed_loop, loop_set, OPEN, {"power": 1.0, "gamma": 1.0, "between": 0.02}),
    "P1' open": (closed_loop, loop_set, OPEN, {"power": 3.0, "gamma": 0.33, "between": 2.0}),
    "P2' together": (collapse_in_rate, rate_set, TRUE, {"ratio": 1.0, "between": 0.01}),
    "P2' apart": (collapse_in_rate, rate_set, FALSE, {"ratio": 1.4, "between": 0.02}),
    "P2' slopes": (
        collapse_in_rate,
        rate_set,
        FALSE,
        {"ratio": 1.0, "between": 0.01, "steeper": 0.2},
    ),
    "P2' open": (collapse_in_rate, rate_set, OPEN, {"ratio": 1.0, "between": 0.3}),
}


@pytest.mark.parametrize("sets", [1, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CASES)
def test_simulated_sets_are_judged_rightly(case, sets):
    judge, simulate, truth, settings = CASES[case]
    rng = np.random.default_rng([2017, sum(map(ord, case))])
    found = Counter(judge(Study(simulate(rng, **settings))).verdict for _ in range(sets))
    wrong = {TRUE: FALSE, FALSE: TRUE}.get(truth)
    # Where the truth is the prediction or its opposite, the other is wrong; where the data cannot
    # tell, either is.
    mistakes = found[wrong] if wrong else sets - found[OPEN]
    assert found[truth] >= 0.9 * sets, found
    assert mistakes <= (0.01 if wrong else 0.1) * sets, found
