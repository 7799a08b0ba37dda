import math

import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.intervals.decision import joint_level
from ultraslow.analysis.predictions.growth.aging import (
    READINGS,
    Pairs,
    _Collapse,
    _verdict,
    aging,
    collapse_residuals,
    displacements,
)
from ultraslow.analysis.predictions.verdict import question
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording.schedule import log_spaced
from ultraslow.diffusion.sketch import two_time_refined

TIMES = log_spaced(10_000, per_decade=8)
STARTED = np.maximum(TIMES, 1).astype(float)


def grid():
    start, lag = np.meshgrid(np.geomspace(10, 500, 8), np.geomspace(1, 19, 10))
    return Pairs(start.ravel(), (start * lag).ravel())


@pytest.mark.parametrize("reading", range(len(READINGS)))
def test_each_reading_collapses_what_obeys_it(reading):
    pairs = grid()
    x = pairs.arguments()[reading]
    log_distance = 1.5 * np.log(pairs.start) ** 0.7
    law = 0.3 + 1.2 * x - 0.1 * x**2
    log_square = law + (log_distance if reading < 2 else 0.0)
    found = collapse_residuals(log_square, log_distance, pairs)
    assert found[reading] < 1e-10
    assert np.delete(found, reading).min() > 1e-3


def brownian(make, clock, *, seeds=5, components=1024, rng=None, **options):
    """Sketches of Brownian motion in a clock."""
    rng = rng or np.random.default_rng(0)
    steps = np.sqrt(np.diff(clock, prepend=0))[:, None]
    runs = {}
    for seed in range(seeds):
        walk = np.cumsum(steps * rng.standard_normal((TIMES.size, components)), axis=0)
        walk -= walk[0]
        squares = (walk**2).sum(axis=1)[:, None] * np.ones(3) / 3
        more = {"distance_sq": squares, "sketch": walk, **options}
        runs[f"s{seed}"] = make(seed=seed, records=TIMES, **more)
    return runs


def test_displacements_are_those_of_the_walk(make):
    run = brownian(make, STARTED, seeds=1)["s0"]
    start, end = TIMES[20], TIMES[28]
    pairs = Pairs(np.array([start * 1.0]), np.array([end - start * 1.0]))
    square, distance = displacements(run, pairs)
    walk = run["sketch"].values
    assert square[0] == pytest.approx(np.log(((walk[28] - walk[20]) ** 2).sum()), abs=1e-6)
    assert distance[0] == pytest.approx(np.log((walk[20] ** 2).sum()), abs=1e-9)
    # Where a sketch misses part of the norm, the exact distances from w_0 enter.
    run["distance_sq"][:] *= 1.3
    (square,), _ = displacements(run, pairs)
    norms = 1.3 * (walk[[20, 28]] ** 2).sum(axis=1)
    refined = two_time_refined(walk[[20, 28]], norms).value[0, 1]
    assert square == pytest.approx(np.log(refined), abs=1e-6)


@pytest.mark.parametrize(
    ("clock", "word"),
    [(np.log(STARTED + 1) ** 2, "supported"), (STARTED, "contradicted")],
)
def test_the_best_collapse_decides(make, clock, word):
    found = aging(Study(brownian(make, clock)))
    assert found.verdict == word
    assert (found.effect < 1) == (word == "supported")


def test_few_seeds_short_runs_and_no_sketch_are_named(make):
    assert "3 seeds at most" in aging(Study(brownian(make, STARTED, seeds=3, components=8))).reason
    runs = brownian(make, STARTED, components=8)
    short = {name: run.isel(iteration=TIMES <= 2000) for name, run in runs.items()}
    assert "sketches span 2.5 decades" in aging(Study(short)).reason
    needed = aging(Study(short))
    assert (needed.have, needed.need, needed.unit) == (
        TIMES[TIMES <= 2000][-1],
        3163,
        "iterations",
    )
    # From 10 to 4217 are 2.6 decades; eleven records are too few however far they reach.
    enough = {name: run.isel(iteration=TIMES <= 4500) for name, run in runs.items()}
    assert "sketches span 2.5 decades" not in aging(Study(enough)).reason
    sparse = np.flatnonzero(TIMES >= 10)[np.linspace(0, np.sum(TIMES >= 10) - 1, 11).astype(int)]
    thin = {name: run.isel(iteration=sparse) for name, run in runs.items()}
    assert "12 or more log-spaced records" in aging(Study(thin)).needed
    assert "'trajectory'" in aging(Study({"r": make(records=[0, 1])})).needed


def pairs_of(times):
    """Waiting times and lags by the definition: nearest records to grids even in ln t."""
    found = set()
    for wanted in np.geomspace(times[0], times[-1] / 20, 12):
        start = min(times, key=lambda t: (abs(t - wanted), t))
        later = [t for t in times if t >= 2 * start]
        for mark in start + np.geomspace(start, times[-1] - start, 16):
            found.add((start, min(later, key=lambda t: (abs(t - mark), t))))
    return np.array(sorted(found), dtype=float)


def left_by_a_cubic(x, y):
    return math.sqrt(np.mean((y - np.polyval(np.polyfit(x, y, 3), x)) ** 2))


def log_ratios(runs, couples):
    """Ln of the residual of aging in ln t over that of each other reading, mean over runs."""
    start, end = couples.T
    rows = [displacements(run, Pairs(start, end - start)) for run in runs]
    square, distance = np.mean(rows, axis=0)
    lag = end - start
    own = left_by_a_cubic(np.log(lag) / np.log(start), square - distance)
    others = (
        left_by_a_cubic(np.log(lag / start), square - distance),
        left_by_a_cubic(np.log(lag / start), square),
        left_by_a_cubic(np.log(lag), square),
    )
    return np.log([own / other for other in others])


def test_contradicting_intervals_hold_for_all_arms_together(make):
    runs = brownian(make, STARTED, components=64)
    twin = {f"b-{name}": run.assign_coords(batch_size=256) for name, run in runs.items()}
    halves = []
    for level, arms in ((0.9, 1), (0.95, 1), (0.9, 2)):
        found = aging(Study(runs if arms == 1 else runs | twin, level))
        assert found.verdict == "contradicted"
        quantile = stats.t.ppf(0.5 + joint_level(level, arms) / 2, 4)
        halves.append(math.log(found.effect / found.effect_low) / quantile)
    np.testing.assert_allclose(halves, halves[0], rtol=1e-9)


def test_arms_of_few_seeds_and_runs_at_rest_do_not_enter(make):
    runs = brownian(make, STARTED, components=8)
    few = {name: run.assign_coords(batch_size=256) for name, run in list(runs.items())[:2]}
    more = {f"few-{name}": run for name, run in few.items()}
    assert aging(Study(runs | more)).effect == aging(Study(runs)).effect
    for run in runs.values():
        run["distance_sq"][TIMES <= 20] = 0.0
        run["sketch"][TIMES <= 20] = 0.0
    found = aging(Study(runs))
    assert found.verdict == "undecidable" and math.isnan(found.effect)
    assert found.reason.startswith("No arm has 4 seeds that move and whose sketches span")
    assert "nan" not in found.needed


def test_short_runs_runs_at_rest_and_runs_without_noise_are_named_and_change_nothing(make):
    runs = brownian(make, STARTED, components=8, data_size=100)
    found = aging(Study(runs))
    quiet = {"batch_size": 100, "data_size": 100, "gradient_difference": 0.0}
    still = brownian(make, np.log(STARTED + 1) ** 2, components=8, **quiet)
    other = brownian(make, np.log(STARTED + 1) ** 2, components=8, batch_size=32, data_size=100)
    short = {name: run.isel(iteration=TIMES <= 2000) for name, run in other.items()}
    rest = brownian(make, STARTED, components=8, batch_size=16, data_size=100)
    for run in rest.values():
        run["sketch"][TIMES > 50] = run["sketch"].values[TIMES > 50][:1]
        run["distance_sq"][TIMES > 50] = run["distance_sq"].values[TIMES > 50][:1]
    more = {f"{k}{n}": r for k, part in enumerate((still, short, rest)) for n, r in part.items()}
    whole = aging(Study(runs | more))
    assert (whole.verdict, whole.effect, whole.reason) == (
        found.verdict,
        found.effect,
        found.reason,
    )
    told = " ".join(whole.assumptions)
    for why in ("no gradient noise", "less than 2.5 decades", "the weights come to rest"):
        assert f"5 runs left out: {why}" in told


def test_one_short_seed_does_not_shorten_the_others(make):
    runs = brownian(make, STARTED, seeds=6, components=8)
    runs["s5"] = runs["s5"].isel(iteration=TIMES <= 4500)
    found = aging(Study(runs))
    assert found.effect == aging(Study({k: v for k, v in runs.items() if k != "s5"})).effect
    assert found.span[1] == TIMES[-1]


def test_the_interval_is_the_jackknife_over_seeds(make):
    runs = brownian(make, np.log(STARTED + 1) ** 2, components=16)
    # One seed lacks a record in the middle, another a component of its sketch elsewhere.
    runs["s1"] = runs["s1"].drop_isel(iteration=20)
    runs["s2"]["sketch"][24, 3] = np.nan
    found = aging(Study(runs, 0.9))
    shared = [t for t in TIMES.tolist() if t >= 10 and t not in (TIMES[20], TIMES[24])]
    couples, kept = pairs_of(shared), list(runs.values())
    whole = log_ratios(kept, couples)
    without = [log_ratios(kept[:k] + kept[k + 1 :], couples) for k in range(5)]
    best = int(whole.argmax())
    pseudo = [5 * whole[best] - 4 * part[best] for part in without]
    low, high = stats.ttest_1samp(pseudo, 0).confidence_interval(0.9)
    expected = np.exp(whole[best] + np.array([0, (low - high) / 2, (high - low) / 2]))
    np.testing.assert_allclose([found.effect, found.effect_low, found.effect_high], expected)


def test_what_follows_a_drop_of_the_rate_is_not_used(make):
    rate = np.where(TIMES <= 6000, 0.1, 0.01)
    sums = np.cumsum(rate * np.diff(TIMES, prepend=0))
    more = {"learning_rate": rate, "learning_rate_sum": sums}
    runs = brownian(make, STARTED, components=64, **more)
    cut = {name: run.sel(iteration=TIMES <= 6000) for name, run in runs.items()}
    assert aging(Study(runs)).effect == aging(Study(cut)).effect
    assert aging(Study(runs)).reason == aging(Study(cut)).reason


TOLD, OPEN, AGAINST, NEAR = (-2.0, -1.0), (-1.0, 1.0), (1.0, 2.0), (-0.5, -0.01)


def collapse(arm, ends):
    """Ln of ratios to the three other readings, the first of which is the best."""
    low, high = np.array([[ends[0], -9.0, -8.0], [ends[1], -8.0, -7.0]])
    middle = (low + high) / 2
    return _Collapse(arm, 5, middle, low, high, middle + (high - low) * SEEDS[:, None], 3000.0)


SEEDS = np.array([-0.4, -0.2, 0.0, 0.2, 0.4])


@pytest.mark.parametrize(
    ("arms", "word", "arm"),
    [
        ((TOLD, TOLD), "supported", "a"),
        ((TOLD, OPEN), "undecidable", "b"),
        ((AGAINST, TOLD), "contradicted", "a"),
        ((TOLD, AGAINST), "contradicted", "b"),
        # Below 1, and perhaps by less than the margin of 10 %: what one arm shows stays shown.
        ((NEAR, NEAR), "undecidable", "a"),
        ((TOLD, NEAR), "supported", "a"),
        # On the other side of both margins: ln 1.1 is 0.095 and ln 2 is 0.693.
        ((TOLD, (-0.5, -0.11)), "supported", "b"),
        ((TOLD, (0.7, 1.5)), "contradicted", "b"),
        ((TOLD, (0.3, 1.5)), "undecidable", "b"),
        ((TOLD, (0.5, 0.6)), "undecidable", "b"),
    ],
)
def test_all_arms_support_and_one_contradicts(make, arms, word, arm):
    found = [collapse(name, ends) for name, ends in zip("ab", arms, strict=True)]
    verdict = _verdict(question("P8", ""), Study({"r": make(records=[0, 1])}), found, found)
    low, high = dict(zip("ab", arms, strict=True))[arm]
    assert (verdict.verdict, f"At {arm}" in verdict.reason) == (word, True)
    ends = verdict.effect_low, verdict.effect_high
    assert ends == pytest.approx((math.exp(low), math.exp(high)))
    assert bool(verdict.needed) == (word == "undecidable")
    assert f"'{READINGS[1]}'" in verdict.reason


def test_a_contradiction_needs_the_wider_intervals(make):
    narrow, wide = collapse("a", (1.0, 2.0)), collapse("a", (0.5, 2.5))
    verdict = _verdict(question("P8", ""), Study({"r": make(records=[0, 1])}), [narrow], [wide])
    assert verdict.verdict == "undecidable"


@pytest.mark.parametrize("clock", [np.log(STARTED + 1) ** 2, STARTED])
def test_measured_displacements_need_no_sketch(make, clock):
    """As of checkpoints: the verdict is that of sketches which hold every weight."""
    sketched = brownian(make, clock)
    measured = {}
    for name, run in sketched.items():
        walk = run["sketch"].values
        squares = ((walk[:, None] - walk[None]) ** 2).sum(axis=-1)
        more = {"since": TIMES, "displacement_sq": (("iteration", "since"), squares)}
        measured[name] = run.drop_vars("sketch").assign(more).set_coords("since")
    found, expected = aging(Study(measured)), aging(Study(sketched))
    assert found.verdict == expected.verdict
    assert found.effect == pytest.approx(expected.effect, rel=1e-3)
    assert not any("estimated from sketches" in text for text in found.assumptions)
    assert any("estimated from sketches" in text for text in expected.assumptions)
    mixed = aging(Study({**sketched, "s0": measured["s0"]}))
    assert "displacements estimated from sketches of the weights in 4 of 5 runs" in (
        mixed.assumptions
    )
    thinned = {name: run.isel(iteration=slice(None, None, 2)) for name, run in measured.items()}
    assert aging(Study(thinned)).verdict == expected.verdict
