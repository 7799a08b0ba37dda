"""What holds of all predictions: names, order and runs that cannot enter change no verdict.

The sets are small, and verdicts on them may stay open; they may not depend on what says nothing.
"""

import numpy as np
import pytest

from ultraslow.analysis.growth import fit_totals
from ultraslow.analysis.predictions.table import TESTS
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording.schedule import log_spaced

TIMES = log_spaced(3000, per_decade=8)
STARTED = np.maximum(TIMES, 1).astype(float)
RADII = np.geomspace(0.3, 5, 8)
FRACTION = np.linspace(0, 1, 5)
DATA = 4096
CHECKPOINTS = np.searchsorted(TIMES, [90, 180, 360, 750, 1500, 3000])


def landscape(rng):
    """Loss differences r·(2.5 + ξ) and barriers between six checkpoints."""
    found = np.full((TIMES.size, 2, RADII.size, 8), np.nan)
    lines = np.full((TIMES.size, FRACTION.size), np.nan)
    for row in CHECKPOINTS:
        found[row] = RADII[:, None] * (2.5 + rng.standard_normal((2, RADII.size, 8)))
        lines[row] = 1 + (0.02 + 0.005 * rng.random()) * 4 * FRACTION * (1 - FRACTION)
    return {
        "ensemble": ["isotropic", "trajectory"],
        "direction": np.arange(8),
        "radius": RADII,
        "loss_difference": found,
        "fraction": FRACTION,
        "line_loss": lines,
    }


def trajectory(rng, exponent, scale):
    """Distances scale·(1 + (t^p − 1)/p) that wobble, with a sketch and a path."""
    growth = np.log(STARTED) if exponent == 0 else np.expm1(exponent * np.log(STARTED)) / exponent
    wobble = np.cumsum(rng.standard_normal(TIMES.size)) / np.sqrt(TIMES.size)
    distance = scale * (1 + growth) * np.exp(0.004 * wobble) * (TIMES > 0)
    steps = np.diff(distance, prepend=0)[:, None] * rng.standard_normal((TIMES.size, 8))
    sketch = np.cumsum(steps, axis=0)
    lengths = np.linalg.norm(sketch, axis=1)
    sketch *= np.divide(distance, lengths, out=np.zeros_like(lengths), where=lengths > 0)[:, None]
    path = np.diff(STARTED, prepend=1.0)[:, None] * 0.05
    squares = distance[:, None] ** 2 * np.array([0.6, 0.3, 0.1])
    return {"distance_sq": squares, "sketch": sketch, "step_sq": path * np.array([0.6, 0.3, 0.1])}


def simulated(make, exponent, *, seeds=4):
    """Three batch sizes under the √M rule, one under the linear one, and descent without noise."""
    runs = {}
    arms = [(64, "sqrt", 0.1), (256, "sqrt", 0.2), (1024, "sqrt", 0.4), (256, "linear", 0.4)]
    arms += [(64, "linear", 0.1), (DATA, "fixed", 0.1)]
    for size, scaling, rate in arms:
        for seed in range(seeds):
            rng = np.random.default_rng([seed, size, len(scaling)])
            scale = 1 + 0.03 * rng.standard_normal()
            held_out = np.full((TIMES.size, 1), np.nan)
            held_out[-1] = 0.9 - 0.01 * np.log2(size / 64) + 0.003 * rng.standard_normal()
            free = {"gradient_difference": 0.0} if size == DATA else {}
            runs[f"{scaling}-b{size}-s{seed}"] = make(
                run=f"{scaling}-b{size}-s{seed}",
                batch_size=size,
                seed=seed,
                records=TIMES,
                rate=rate,
                scaling=scaling,
                data_size=DATA,
                metric=["accuracy"],
                held_out=held_out,
                **trajectory(rng, exponent if size < DATA else -0.8, scale),
                **landscape(rng),
                **free,
            )
    return runs


def strangers(make):
    """Runs that no verdict can be about: short, diverged early or late, or without a rate."""
    rng = np.random.default_rng(9)
    options = {"data_size": DATA, "records": TIMES, "rate": 0.1}
    whole = {**trajectory(rng, 0.9, 3.0), **landscape(rng)}
    runs = {
        f"short{k}": make(run=f"short{k}", batch_size=size, seed=k, **options, **whole).isel(
            iteration=slice(0, 6)
        )
        for k, size in enumerate((64, 256, 512, 2048, 512, 512, 512))
    }
    lost = make(run="lost", batch_size=64, seed=11, **options, **whole)
    lost["distance_sq"][5:] = np.nan
    lost["sketch"][5:] = np.nan
    lost["loss"][5:] = np.nan
    share = TIMES / TIMES[-1]
    late = make(run="late", batch_size=64, seed=13, **options, **whole)
    for name in ("distance_sq", "sketch", "loss", "step_sq", "noise_trace", "gradient_sq"):
        late[name][share > 0.7] = np.nan
    cut = make(run="cut", batch_size=64, seed=14, **options, **whole)
    cut = cut.isel(iteration=share < 0.7)
    silent = make(run="silent", batch_size=64, seed=12, data_size=DATA, records=TIMES[:4])
    return {
        **runs,
        "lost": lost,
        "late": late,
        "cut": cut,
        "silent": silent.drop_vars("learning_rate"),
    }


@pytest.fixture(scope="module")
def studies(make):
    """Sets of runs by name, with those that cannot enter, and the fits of all of them."""
    found = {}
    for name, exponent in (("logarithm", 0.0), ("power", 0.5)):
        runs, more = simulated(make, exponent), strangers(make)
        found[name] = runs, more, fit_totals({**runs, **more})
    return found


def study(runs, fits):
    """The runs with their fits, which go by their names."""
    rows = [str(run["run"].values) for run in runs.values()]
    order = fits.assign_coords(node=fits["run"].values).sel(node=rows)
    return Study(dict(runs), fitted=order.assign_coords(node=list(runs)))


def said(prediction, runs, fits):
    """What a verdict says of the data, beside whom it left out, and its numbers."""
    found = TESTS[prediction](study(runs, fits))
    numbers = *found.null, *found.span, found.effect, found.effect_low, found.effect_high
    # What is missing may be another thing where there are more runs.
    told = (found.reason, found.needed) if found.verdict != "undecidable" else ()
    return (found.verdict, *told), np.array(numbers)


@pytest.mark.parametrize("law", ["logarithm", "power"])
@pytest.mark.parametrize("prediction", TESTS)
def test_names_order_and_runs_that_cannot_enter_change_nothing(studies, prediction, law):
    runs, more, fits = studies[law]
    words, numbers = said(prediction, runs, fits)
    turned = {f"{k:02}": run for k, run in enumerate(reversed(runs.values()))}
    for others in (turned, more | turned):
        found, other = said(prediction, others, fits)
        assert found == words
        np.testing.assert_allclose(other, numbers, rtol=1e-9, equal_nan=True)
