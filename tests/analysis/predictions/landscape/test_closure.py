import numpy as np
import pytest

from ultraslow.analysis.predictions.evidence import LONG_SEEDS
from ultraslow.analysis.predictions.landscape.closure import (
    closed_loop,
    closure,
    landscape_exponent,
)
from ultraslow.analysis.predictions.landscape.roughness import scans_of
from ultraslow.analysis.runs.readings import measured_temperature, slope
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording.schedule import log_spaced

TIMES = log_spaced(3000, per_decade=12)
RADII = np.geomspace(0.1, 6, 9)


def landscape(gamma, strength=1.0, rise=0.0, directions=16):
    """Loss differences strength·r^γ·(rise + ξ) at the first record, ξ = ±1."""
    values = np.full((TIMES.size, 1, RADII.size, directions), np.nan)
    signs = np.where(np.arange(directions) % 2, 1.0, -1.0)
    values[0, 0] = strength * RADII[:, None] ** gamma * (rise + signs)
    axes = {"ensemble": ["isotropic"], "direction": np.arange(directions), "radius": RADII}
    return {"loss_difference": values, **axes}


def powers_of_log(make, power, *, unit=5.0, seeds=4, **more):
    squares = [
        (1 + 0.01 * seed) * np.log1p(TIMES / unit)[:, None] ** (2 * power) for seed in range(seeds)
    ]
    return {
        f"s{seed}": make(seed=seed, records=TIMES, distance_sq=value * np.ones(3) / 3, **more)
        for seed, value in enumerate(squares)
    }


@pytest.mark.parametrize(("gamma", "word"), [(0.5, "supported"), (1.8, "contradicted")])
def test_growth_is_set_against_the_landscape(make, gamma, word):
    found = closed_loop(Study(powers_of_log(make, 2.0, **landscape(gamma))))
    assert found.verdict == word
    assert found.effect == pytest.approx(2 * gamma, rel=0.01)


def test_a_smooth_loss_below_its_crossover_is_no_landscape(make):
    found = closed_loop(Study(powers_of_log(make, 1.0, **landscape(1.0))))
    assert found.verdict == "undecidable"
    assert "beyond the crossover" in found.needed
    beyond = closed_loop(Study(powers_of_log(make, 1.0, **landscape(1.0, rise=3.0))))
    assert beyond.verdict == "supported"
    # An arm below it beside one that measures a landscape: its q = 2 is no contradiction.
    rough = powers_of_log(make, 2.0, **landscape(0.5))
    near = powers_of_log(make, 2.0, batch_size=256, **landscape(1.0))
    both = closed_loop(Study(rough | {f"n{name}": run for name, run in near.items()}))
    assert both.verdict == "supported" and both.sample.batch_sizes == (64,)
    assert any("4 runs left out: scans so close to the weights" in a for a in both.assumptions)


def test_a_departure_below_the_crossover_is_told_by_its_interval(make):
    """γ of 0.95 is what curvature makes of 1; 0.85 by 0.01 is another exponent."""
    words = [
        closed_loop(Study(powers_of_log(make, 1.2, **landscape(gamma)))).verdict
        for gamma in (0.95, 0.85)
    ]
    assert words == ["undecidable", "supported"]


def test_the_exponent_tells_whether_it_is_beyond_the_crossover(make):
    inside = powers_of_log(make, 1.0, seeds=1, **landscape(0.7))["s0"]
    beyond = powers_of_log(make, 1.0, seeds=1, **landscape(0.7, rise=3.0))["s0"]
    assert landscape_exponent(scans_of(inside)) == (pytest.approx(0.7), False)
    assert landscape_exponent(scans_of(beyond)) == (pytest.approx(0.7), True)


def test_closure_is_the_slope_times_the_strength_over_the_temperature(make):
    runs = powers_of_log(make, 1.0, rate=0.1, **landscape(1.0, strength=0.02))
    one = runs["s0"]
    spread = 0.02 * np.sqrt(16 / 15)  # the standard deviation of ±1 over 16 directions
    span = (300.0, 3000.0)
    expected = slope(one, span) * spread / measured_temperature(one, span)
    assert closure(Study({"a": one} | runs)).effect == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("judge", [closed_loop, closure])
def test_what_is_missing_is_named(make, judge):
    found = judge(Study({"r": make(records=[0, 1, 2])}))
    assert found.reason == "No run recorded loss_difference."
    assert "landscape scans" in found.needed
    few = Study(powers_of_log(make, 2.0, seeds=3, **landscape(0.5)))
    assert "3 seeds at most" in judge(few).reason
    assert (judge(few).have, judge(few).need, judge(few).unit) == (3, 4, LONG_SEEDS)


def powers_of_time(make, power=0.8, *, seeds=5, **more):
    """d = t^p with noise of 1 % a record."""
    runs = {}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        distance = np.maximum(TIMES, 0) ** power * np.exp(0.01 * rng.standard_normal(TIMES.size))
        squares = distance[:, None] ** 2 * np.ones(3) / 3
        runs[f"p{seed}"] = make(seed=seed, records=TIMES, distance_sq=squares, **more)
    return runs


@pytest.mark.parametrize("power", [0.3, 0.5, 0.8])
def test_where_growth_is_a_power_of_time_nothing_is_asked(make, power):
    found = closed_loop(Study(powers_of_time(make, power, **landscape(0.5))))
    assert found.verdict == "not applicable" and not found.needed
    assert "grows like a power of t at batch size 64" in found.reason
    assert found.span == (1.0, 3000.0)


@pytest.mark.parametrize("seeds", [1, 3])
def test_no_more_seeds_are_asked_for_where_few_go_like_powers_of_time(make, seeds):
    runs = dict(list(powers_of_time(make, **landscape(0.5)).items())[:seeds])
    found = closed_loop(Study(runs))
    assert found.verdict == "undecidable" and f"(now {seeds})" in found.reason
    assert "more seeds are unlikely" in found.needed
    logarithms = closed_loop(Study(powers_of_log(make, 2.0, seeds=seeds, **landscape(0.5))))
    assert logarithms.needed.startswith("4 seeds or more")


def test_arms_of_powers_are_named_and_the_others_judged(make):
    runs = powers_of_log(make, 2.0, **landscape(1.8))
    others = powers_of_time(make, batch_size=256, **landscape(0.5))
    assert closed_loop(Study(runs)).verdict == "contradicted"
    found = closed_loop(Study(runs | others))
    assert found.verdict == "contradicted"
    assert found.sample.batch_sizes == (64,)
    assert any(
        "5 runs left out: their distance grows like a power" in a for a in found.assumptions
    )


def test_runs_without_noise_climb_no_barriers(make):
    quiet = {"batch_size": 100, "data_size": 100, "gradient_difference": 0.0}
    runs = powers_of_log(make, 2.0, **quiet, **landscape(1.8))
    assert closed_loop(Study(runs)).verdict == "undecidable"
    walking = powers_of_log(make, 2.0, data_size=100, **landscape(1.8))
    named = {f"q{name}": run for name, run in runs.items()}
    found = closed_loop(Study(walking | named))
    assert found.verdict == "contradicted"
    assert any("4 runs left out: no gradient noise" in item for item in found.assumptions)


def test_a_late_logarithm_is_told_until_when_to_train(make):
    # τ = 30 of 3000 iterations: 2.5 decades after it end at iteration 9487.
    found = closed_loop(Study(powers_of_log(make, 1.0, unit=30.0, **landscape(0.5))))
    assert found.verdict == "undecidable"
    assert (found.have, found.unit) == (3000.0, "iterations")
    assert found.need == pytest.approx(1.25 * 30 * 10**2.5, rel=0.1)
    assert "until iteration" in found.needed


@pytest.mark.parametrize(
    ("gamma", "word"),
    [(0.7, "supported"), (0.8, "contradicted"), (0.36, "supported"), (0.31, "contradicted")],
)
def test_the_margin_of_the_product_is_a_factor_of_one_and_a_half(make, gamma, word):
    # q = 2: products of 1.4 and 1.6, and of 0.72 and 0.62; 1/1.5 = 0.67.
    assert (
        closed_loop(Study(powers_of_log(make, 2.0, **landscape(gamma, rise=3.0)))).verdict == word
    )


@pytest.mark.parametrize(
    ("ratio", "word"),
    [(2.8, "supported"), (3.3, "contradicted"), (0.36, "supported"), (0.3, "contradicted")],
)
def test_the_margin_of_the_closure_is_a_factor_of_three(make, ratio, word):
    unit = closure(Study(powers_of_log(make, 1.0, rate=0.1, **landscape(1.0)))).effect
    found = closure(
        Study(powers_of_log(make, 1.0, rate=0.1, **landscape(1.0, strength=ratio / unit)))
    )
    assert found.effect == pytest.approx(ratio, rel=1e-6)
    assert found.verdict == word


def test_the_strength_of_a_landscape_is_read_at_its_largest_radius(make):
    # std(ΔL) = r^½ there: c = r^½/r = 6^−½ of what it is for std(ΔL) = r.
    rough, smooth = (
        closure(Study(powers_of_log(make, 1.0, rate=0.1, **landscape(gamma)))).effect
        for gamma in (0.5, 1.0)
    )
    assert rough / smooth == pytest.approx(6**-0.5)


def test_below_the_crossover_the_exponent_is_that_of_the_outer_radii(make):
    more = landscape(0.0)
    # std(ΔL) ∝ r^0.3 up to the geometric middle of the radii, and r^1.3 from there on.
    middle = np.sqrt(0.1 * 6)
    law = np.where(middle > RADII, RADII**0.3, middle**-1.0 * RADII**1.3)
    more["loss_difference"] = more["loss_difference"] * law[:, None]
    run = powers_of_log(make, 1.0, seeds=1, **more)["s0"]
    assert landscape_exponent(scans_of(run)) == (pytest.approx(1.3), False)


def test_short_runs_close_nothing(make):
    runs = powers_of_log(make, 1.0, rate=0.1, **landscape(1.0))
    short = {name: run.sel(iteration=slice(0, 250)) for name, run in runs.items()}
    found = closure(Study(short))
    assert found.verdict == "undecidable"
    assert "2.5 decades of constant rate" in found.needed
