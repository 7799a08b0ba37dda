import re

import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.predictions.landscape.roughness import (
    LossScan,
    _finding,
    exponent,
    landscape_growth,
    outer_half,
    scans,
)
from ultraslow.analysis.study import Study

RADII = np.geomspace(0.1, 10, 9)
SIGNS = np.array([1.0, -1.0, 1.0, -1.0])


def scan(gamma=1.0, *, mean=None, noise=0.0):
    """ΔL = mean(r) ± r^γ along four directions."""
    rise = np.zeros(RADII.size) if mean is None else mean(RADII)
    return LossScan(0, RADII, rise[:, None] + RADII[:, None] ** gamma * SIGNS, noise)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_a_power_of_the_radius_is_recovered(gamma):
    assert exponent(scan(gamma)) == pytest.approx(gamma, rel=1e-12)


def test_evaluation_noise_is_subtracted_and_what_it_dominates_left_out():
    # The spread over four directions is 2/√3·√(r² + σ²) with σ of the same form as the noise.
    noise, signal = 0.3, RADII
    deviation = np.sqrt(signal**2 + noise**2) * np.sqrt(3 / 4)
    noisy = LossScan(0, RADII, deviation[:, None] * SIGNS, noise)
    kept = np.isfinite(noisy.spread())
    np.testing.assert_array_equal(kept, np.hypot(signal, noise) > 2 * noise)
    np.testing.assert_allclose(noisy.spread()[kept], signal[kept], rtol=1e-12)
    assert exponent(noisy) == pytest.approx(1.0, rel=1e-12)


def test_the_crossover_is_where_the_mean_overtakes_the_spread():
    # mean 3 r² against a spread of 1.155 r, the mean known to ± 2·0.577 r: r > 0.77
    assert scan(mean=lambda r: 3 * r**2).crossover() == pytest.approx(RADII[RADII > 0.77][0])
    assert scan().crossover() == np.inf


def test_the_share_of_falling_steps():
    assert scan().falling(0.0) == (16, 32)
    assert scan(mean=lambda r: 5 * r).falling(0.0) == (0, 32)
    assert scan().falling(20.0) == (0, 0)
    assert scan(noise=100.0).falling(0.0) == (0, 0)


def test_few_or_close_radii_have_no_exponent():
    assert np.isnan(exponent(scan(), low=5.0))
    close = LossScan(0, np.array([1.0, 1.5, 2.0, 2.9]), np.ones((4, 4)) * SIGNS, 0.0)
    assert np.isnan(exponent(close))


def test_the_outer_half_in_the_logarithm():
    assert outer_half(scan()) == pytest.approx(1.0)


def test_scans_are_read_up_to_the_distance_travelled(make):
    values = np.full((5, 1, 9, 4), np.nan)
    values[2, 0] = scan().difference
    values[4, 0, :, :3] = scan().difference[:, :3]  # three directions are too few
    fields = {"ensemble": ["filter"], "direction": np.arange(4), "radius": RADII}
    run = make(records=[0, 1, 2, 4, 8], loss_difference=values, **fields)
    (found,) = scans(run, "filter", reach=2.0)
    assert found.iteration == 2
    np.testing.assert_allclose(found.radius, RADII[RADII <= 2])
    assert scans(run, "isotropic", reach=2.0) == []
    assert scans(run, "filter", reach=0.01) == []
    assert scans(make(records=[0, 1]), "filter", reach=1.0) == []


def test_a_scan_ends_where_a_direction_diverges(make):
    values = np.full((2, 1, 9, 4), np.nan)
    values[1, 0] = scan().difference
    values[1, 0, 6:, 2] = np.inf
    fields = {"ensemble": ["noise"], "direction": np.arange(4), "radius": RADII}
    (found,) = scans(make(records=[0, 1], loss_difference=values, **fields), "noise", reach=9.0)
    np.testing.assert_allclose(found.radius, RADII[:6])


def test_directions_along_the_trajectory_are_taken_from_all_records(make):
    values = np.full((4, 1, 9, 4), np.nan)
    for row in (1, 2, 3):
        values[row, 0, :, :2] = row * scan().difference[:, :2]
    fields = {"ensemble": ["trajectory"], "direction": np.arange(4), "radius": RADII}
    run = make(records=[0, 1, 2, 4], loss_difference=values, **fields)
    (found,) = scans(run, "trajectory", reach=9.0)
    assert found.difference.shape == (8, 6)
    assert found.iteration == 4


LANDSCAPE_GROWTH_RADII = np.geomspace(0.1, 6, 12)


def runs_with(make, *, gamma=1.0, rise=2.5, kinds=("isotropic", "trajectory"), seeds=5, **options):
    """Loss differences r^γ·(rise + ξ), ξ drawn anew at each radius, at two records."""
    rng = np.random.default_rng(options.pop("draw", 0))
    runs = {}
    for seed in range(seeds):
        values = np.full((5, len(kinds), LANDSCAPE_GROWTH_RADII.size, 64), np.nan)
        for row in (1, 3):
            xi = rng.standard_normal((len(kinds), LANDSCAPE_GROWTH_RADII.size, 64))
            values[row] = LANDSCAPE_GROWTH_RADII[:, None] ** gamma * (rise + xi)
        runs[f"s{seed}"] = make(
            seed=seed,
            records=[0, 1, 10, 100, 1000],
            loss_difference=values,
            ensemble=list(kinds),
            direction=np.arange(64),
            radius=LANDSCAPE_GROWTH_RADII,
            **options,
        )
    return runs


def test_growth_with_the_distance_beyond_the_crossover_is_supported(make):
    found = landscape_growth(Study(runs_with(make)))
    assert found.verdict == "supported"
    assert found.effect == pytest.approx(1.0, abs=0.1)
    assert "isotropic" in found.assumptions[0]
    assert "trajectory" in found.assumptions[0]


@pytest.mark.parametrize("gamma", [0.4, 1.6])
def test_another_exponent_contradicts_on_either_side_of_the_crossover(make, gamma):
    for rise in (2.5, 0.0):
        found = landscape_growth(Study(runs_with(make, gamma=gamma, rise=rise)))
        assert found.verdict == "contradicted"
        assert found.effect == pytest.approx(gamma, abs=0.1)
        assert found.null == pytest.approx((0.8, 1.2))
        assert found.span == (1.0, 100.0) and f"γ = {found.effect:.3f}" in found.reason


def test_below_the_crossover_agreement_says_nothing(make):
    found = landscape_growth(Study(runs_with(make, rise=0.0)))
    assert found.verdict == "undecidable"
    assert "any smooth loss" in found.reason
    assert "between the crossover" in found.needed


def test_a_loss_that_only_rises_has_no_barriers(make):
    found = landscape_growth(Study(runs_with(make, rise=40.0)))
    assert found.verdict == "contradicted"
    assert "At batch size 64 none of the " in found.reason
    assert "steps outward along" in found.reason and "5% or more" in found.reason
    # The effect is what decides, and not γ, which lies within its own zone.
    assert (found.effect, found.null[0]) == (0.0, 0.05)
    # Of n independent steps none falls in 5 % of cases at this share.
    steps = int(re.search(r"none of the ([\d,]+) steps", found.reason)[1].replace(",", ""))
    assert found.effect_high == pytest.approx(1 - 0.05 ** (1 / steps))
    assert found.effect_meaning.startswith("share of steps outward")


def test_the_share_of_a_handful_of_steps_is_no_finding():
    """Of 60 steps in four seeds none falls in 5 % of cases where one in twenty does."""
    rising = scan(mean=lambda r: 5 * r)
    part = LossScan(0, RADII[:4], rising.difference[:4], 0.0)
    assert _finding([rising]).falling == 0.0
    assert _finding([part]).steps == 12 and np.isnan(_finding([part]).falling)
    assert _finding([part, part]).falling == 0.0


@pytest.mark.parametrize(
    ("kinds", "needed"), [(("filter",), "along the trajectory"), (("trajectory",), "along random")]
)
def test_one_kind_of_direction_cannot_support(make, kinds, needed):
    found = landscape_growth(Study(runs_with(make, kinds=kinds)))
    assert found.verdict == "undecidable"
    assert needed in found.needed
    assert (
        landscape_growth(Study(runs_with(make, kinds=kinds, gamma=0.4))).verdict == "contradicted"
    )


def test_one_kind_of_two_suffices_to_contradict(make):
    runs = runs_with(make)
    for run in runs.values():
        run["loss_difference"][:, 1] *= LANDSCAPE_GROWTH_RADII[:, None] ** -0.6
    found = landscape_growth(Study(runs))
    assert found.verdict == "contradicted"
    assert "trajectory directions" in found.effect_meaning
    assert "along trajectory directions" in found.reason


def test_radii_beyond_the_distance_travelled_are_not_used(make):
    found = landscape_growth(Study(runs_with(make, slope=0.0)))  # the distance stays 1
    beyond = landscape_growth(Study(runs_with(make, slope=1.0)))
    assert found.effect != beyond.effect


def test_few_seeds_and_no_scans_are_named(make):
    assert "3 seeds at most" in landscape_growth(Study(runs_with(make, seeds=3))).reason
    assert "landscape scans" in landscape_growth(Study({"r": make(records=[0, 1])})).needed
    mode = runs_with(make)
    known = {name: run.assign_attrs(landscape_mode="train") for name, run in mode.items()}
    assert (
        "mode of batch normalization during scans: train"
        in landscape_growth(Study(known)).assumptions
    )


def test_the_interval_holds_for_both_kinds_of_direction_together(make):
    found = landscape_growth(Study(runs_with(make, gamma=0.4)))
    kind = found.effect_meaning.split(" directions")[0].split(", ")[-1]
    gammas = []
    for run in runs_with(make, gamma=0.4).values():
        # The distance has grown to 1 + ln 1000: all radii up to 6 are used.
        measured = scans(run, kind, reach=7.0)
        gammas.append(np.mean([exponent(scan, low=scan.crossover()) for scan in measured]))
    # Two kinds and two numbers of each share an error of 5 %, half of which is kept back.
    low, high = stats.ttest_1samp(gammas, 0).confidence_interval(1 - 0.05 / 8)
    assert (found.effect_low, found.effect_high) == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("gamma", "word"), [(1.25, "contradicted"), (0.75, "contradicted"), (1.12, "supported")]
)
def test_the_margin_is_a_fifth(make, gamma, word):
    runs = runs_with(make, gamma=gamma, rise=2.5, seeds=12)
    assert landscape_growth(Study(runs)).verdict == word


@pytest.mark.parametrize(
    ("rise", "word"), [(2.5, "supported"), (6.4, "undecidable"), (40.0, "contradicted")]
)
def test_an_exponent_supports_with_signs_of_barriers(make, rise, word):
    """γ is 1 in each; the share of falling steps is 0.2, some 5 % and 0."""
    found = landscape_growth(Study(runs_with(make, rise=rise)))
    assert found.verdict == word
    assert (found.effect < 0.1) == (word != "supported")


def test_a_kind_of_direction_below_its_crossover_leaves_it_open(make):
    runs, flat = runs_with(make), runs_with(make, rise=0.0)
    for name, run in runs.items():
        run["loss_difference"][:, 1] = flat[name]["loss_difference"].values[:, 1]
    assert landscape_growth(Study(runs)).verdict == "undecidable"


def test_a_kind_that_some_runs_measured_is_judged_by_those(make):
    more = {"extra": runs_with(make, kinds=("isotropic",), seeds=1)["s0"].assign_coords(seed=9)}
    found = landscape_growth(Study(runs_with(make) | more))
    assert found.verdict == "supported"
    assert found.assumptions[0] == "directions: isotropic, trajectory"
