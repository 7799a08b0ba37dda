import math
from dataclasses import replace

import numpy as np
import pytest

from ultraslow.analysis.intervals import Interval, seeds_to_decide
from ultraslow.analysis.intervals.contrast import unpaired
from ultraslow.analysis.predictions.batch_size.collapse import (
    _chance,
    _Ratios,
    _reason,
    best_clock,
    clock_errors,
    collapse,
    collapse_in_rate,
    collapsing,
    explained_excess,
)
from ultraslow.analysis.runs import last_common_decade, log_distance
from ultraslow.analysis.runs.readings import CLOCKS, ITERATION, NOISE, RATE, clock_values
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording.schedule import log_spaced


def sweep(make, slopes, *, seeds=3, **options):
    """Runs whose distances have the given slopes by batch size."""
    return {
        f"b{size}-s{seed}": make(
            batch_size=size, seed=seed, slope=slope * (1 + 0.005 * seed), **options
        )
        for size, slope in slopes.items()
        for seed in range(seeds)
    }


def test_curves_that_coincide_are_supported(make):
    verdict = collapse(Study(sweep(make, {64: 1.0, 256: 1.0, 1024: 1.0})))
    assert verdict.verdict == "supported"
    assert verdict.effect_low < 1 < verdict.effect_high
    assert (verdict.sample.runs, verdict.sample.seeds) == (9, 3)
    assert verdict.sample.batch_sizes == (64, 256, 1024)
    assert "constant in the compared decade" in verdict.assumptions[0]


def test_the_runs_that_are_compared_are_those_of_the_verdict(make):
    runs = sweep(make, {64: 1.0, 256: 1.0}) | {"lone": make(batch_size=1024)}
    verdict, compared = collapse(Study(runs)), collapsing(Study(runs))
    assert len(compared.runs) == verdict.sample.runs == 6
    assert "lone" not in compared.runs
    assert not collapsing(Study(runs).part(["lone"])).runs
    assert not collapsing(Study(runs), RATE).runs


def test_the_effect_is_the_ratio_of_the_extremes(make):
    # d = 1 + b ln t: over the last decade, in ln t, the mean of ln of the ratio by quadrature.
    time = np.linspace(math.log(300), math.log(3000), 2001)
    expected = math.exp(np.mean(np.log((1 + 2 * time) / (1 + time))))
    verdict = collapse(Study(sweep(make, {64: 1.0, 1024: 2.0})))
    assert verdict.verdict == "contradicted"
    assert verdict.effect == pytest.approx(expected, rel=0.005)
    assert verdict.effect_low < expected < verdict.effect_high
    assert "iterations 300 to 3000" in verdict.reason


def test_a_batch_size_in_the_middle_that_differs_is_not_supported(make):
    verdict = collapse(Study(sweep(make, {64: 1.0, 256: 1.5, 1024: 1.0})))
    assert verdict.verdict == "undecidable"
    assert (
        "batch 256 over batch 64" in verdict.reason
        or "batch 1024 over batch 256" in verdict.reason
    )


def test_curves_that_cross_are_not_supported(make):
    runs = sweep(make, {64: 1.0}) | sweep(make, {1024: 0.11}, exponent=0.4)
    assert collapse(Study(runs)).verdict != "supported"


def test_a_difference_that_dies_out_decides_nothing(make):
    # d = 1 + ln t against 1 + 3.75 (1 − t^−0.45)/0.45, which are equal at t = 3000.
    runs = sweep(make, {64: 1.0}) | sweep(make, {1024: 3.75}, exponent=-0.45)
    verdict = collapse(Study(runs))
    assert verdict.effect_low > 1.1
    assert verdict.verdict == "undecidable"
    assert verdict.needed == (
        "perhaps training on at the same rate until iteration 30,000: the ratio may still change, "
        "or lie near the margin, so that up to 15 seeds a batch size would decide fewer than 1% "
        "of studies"
    )


def test_a_ratio_near_the_margin_is_undecidable_and_says_how_many_seeds(make):
    verdict = collapse(Study(sweep(make, {64: 1.0, 1024: 1.12}, seeds=2)))
    assert verdict.verdict == "undecidable"
    assert "seeds" in verdict.needed


SHORTAGES = {
    "no rule": ({64: 1.0, 1024: 1.0}, {"scaling": "linear"}, "found: linear", "scaling 'sqrt'"),
    "rule missing": ({64: 1.0, 1024: 1.0}, {"scaling": None}, "found: none recorded", "'sqrt'"),
    "one batch size": ({64: 1.0}, {}, "Only batch size 64", "a second batch size"),
    "one seed": (
        {64: 1.0, 256: 1.0},
        {"seeds": 1},
        "Fewer than two",
        "batch size 64, batch size 256",
    ),
    "equal rates": ({64: 1.0, 256: 1.0}, {"rate": 0.1}, "do not follow √M", "do follow √M"),
    "no rate": (
        {64: 1.0, 256: 1.0},
        {"learning_rate": None},
        "In some runs the learning rate was not recorded",
        "recorded rate",
    ),
    "short": ({64: 1.0, 256: 1.0}, {"last": 50}, "only from iteration 1 to 50", "iteration 100"),
}


@pytest.mark.parametrize("case", SHORTAGES)
def test_what_is_missing_is_named(make, case):
    slopes, options, reason, needed = SHORTAGES[case]
    verdict = collapse(Study(sweep(make, slopes, **options)))
    assert verdict.verdict == "undecidable"
    assert reason in verdict.reason
    assert needed in verdict.needed
    assert math.isnan(verdict.effect)


def test_runs_of_another_model_are_not_compared(make):
    runs = sweep(make, {64: 1.0}) | sweep(make, {256: 1.0}, model="resnet20")
    verdict = collapse(Study(runs))
    assert verdict.verdict == "undecidable"
    assert "model: resnet20, resnet8" in verdict.reason


def test_two_recordings_of_one_seed_are_one_seed(make):
    runs = sweep(make, {64: 1.0, 256: 1.0}, seeds=1)
    verdict = collapse(Study(runs | {f"{name}-again": run for name, run in runs.items()}))
    assert verdict.verdict == "undecidable"
    assert "Fewer than two batch sizes have 2 seeds" in verdict.reason


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_an_arm_without_a_distance_in_the_compared_decade_is_named(make, value):
    runs = sweep(make, {64: 1.0, 256: 1.0})
    for name, run in runs.items():
        if name.startswith("b256"):
            run["distance_sq"][-10:] = value
            runs[name] = run.assign_coords(run="broken")
    verdict = collapse(Study(runs))
    assert verdict.verdict == "undecidable"
    assert f"run broken is {value:g} at iteration" in verdict.reason


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_one_seed_that_broke_off_blocks_nothing(make, value):
    runs = sweep(make, {64: 1.0, 256: 1.0}, seeds=4)
    broken = runs["b256-s1"].copy(deep=True)
    broken["distance_sq"][-30:] = value
    without = {name: run for name, run in runs.items() if name != "b256-s1"}
    found, alone = collapse(Study(runs | {"b256-s1": broken})), collapse(Study(without))
    assert (found.verdict, found.effect) == (alone.verdict, alone.effect)
    assert alone.verdict == "supported"


def test_ghost_batches_are_named_or_said_to_be_unknown(make):
    known = sweep(make, {64: 1.0, 256: 1.0}, ghost_size=32)
    assert "batch statistics over 32 samples" in collapse(Study(known)).assumptions
    unknown = collapse(Study(sweep(make, {64: 1.0, 256: 1.0}))).assumptions
    assert any("ghost batch size not recorded" in item for item in unknown)


def test_ghost_batches_of_different_sizes_are_not_compared(make):
    runs = sweep(make, {64: 1.0}, ghost_size=64) | sweep(make, {256: 1.0}, ghost_size=256)
    assert "ghost_size: 256, 64" in collapse(Study(runs)).reason


@pytest.mark.parametrize(
    ("extremes", "everywhere", "least", "most"),
    [
        # (mean, end) and all pairs as (centre, half width) in ln d; the margin is 0.1.
        (((0.01, 0.095), (0.01, 0.095)), ((0.01, 0.095),), 9, 21),
        (((0.20, 0.11), (0.20, 0.11)), ((0.20, 0.11),), 9, 21),
        # The nearer to the margin, the more: beyond what is advised.
        (((0.14, 0.11), (0.14, 0.11)), ((0.14, 0.11),), 0, 0),
        # On both sides of the margin, or beyond it on both sides: no number decides.
        (((0.11, 0.04), (-0.01, 0.11)), ((0.30, 0.01),), 0, 0),
        (((0.20, 0.01), (-0.20, 0.01)), ((0.20, 0.01),), 0, 0),
    ],
)
def test_more_seeds_are_advised_only_where_they_would_decide(extremes, everywhere, least, most):
    def ratio(centre, half):
        return Interval(centre, centre - half, centre + half, 5)

    found = _Ratios(
        tuple(ratio(*pair) for pair in extremes),
        [ratio(*pair) for pair in everywhere],
        limit=0.1,
        level=0.95,
        sharp=0.95,
    )
    assert least <= seeds_to_decide(_chance(found, None), 5).count <= most


@pytest.mark.slow
@pytest.mark.parametrize("slope", [1.0, 1.05, 1.15, 1.2])  # the margin is 1.1
def test_seeds_that_are_advised_decide(make, slope):
    rng = np.random.default_rng(8)
    decided = []
    while len(decided) < 25:
        spreads = {size: 0.05 * rng.standard_normal(60) for size in (64, 256)}

        def verdict(count, spreads=spreads):
            runs = {
                f"b{size}-s{seed}": make(
                    batch_size=size, seed=seed, last=300, records=FEW, noise=0.0
                ).pipe(scaled, (slope if size == 256 else 1.0) * np.exp(spreads[size][seed]))
                for size in (64, 256)
                for seed in range(count)
            }
            return collapse(Study(runs))

        found = verdict(4)
        if found.verdict != "undecidable" or not found.need <= 60:
            decided += [True] if found.verdict != "undecidable" else []
            continue
        assert (found.have, found.unit) == (4, "seeds")
        decided.append(verdict(int(found.need)).verdict != "undecidable")
    assert np.mean(decided) >= 0.8 - 2 * np.sqrt(0.16 / 25)


FEW = [0, 1, 10, 30, 100, 300]


def scaled(run, factor):
    """The run with its distances times a factor."""
    return run.assign(distance_sq=run["distance_sq"] * factor**2)


def test_arms_off_the_rule_and_short_ones_change_nothing(make):
    runs = sweep(make, {64: 1.0, 256: 1.0})
    alone = collapse(Study(runs))
    others = {
        "a rate of another sweep": sweep(make, {256: 2.0}, rate=0.3, seeds=2),
        "an arm that ended early": sweep(make, {1024: 2.0}, last=50),
    }
    for name, more in others.items():
        found = collapse(Study({f"a-{k}": run for k, run in more.items()} | runs))
        assert (found.verdict, found.effect) == (alone.verdict, alone.effect), name
        assert any("left out at batch size" in item for item in found.assumptions), name
    assert alone.verdict == "supported"
    assert alone.null == (1 / 1.1, 1.1)
    assert alone.span == (300, 3000)


def test_one_run_without_distances_in_the_decade_blocks_nothing(make):
    runs = sweep(make, {64: 1.0, 256: 1.0}, seeds=4)
    without = {name: run for name, run in runs.items() if name != "b256-s1"}
    broken = runs["b256-s1"].copy(deep=True)
    broken["distance_sq"][-10:-6] = np.nan
    found, alone = collapse(Study(runs | {"b256-s1": broken})), collapse(Study(without))
    assert (found.verdict, found.effect) == (alone.verdict, alone.effect)
    assert any("without a distance in the decade" in item for item in found.assumptions)


def in_rate(make, slopes, *, seeds=3, power=1.0, **options):
    """Runs of distance slope·ln(1 + Ση)^power under the linear rule."""
    runs = {}
    for size, slope in slopes.items():
        for seed in range(seeds):
            rate = 0.1 * size / 64
            more = {"rate": rate, "scaling": "linear"} | options
            run = make(batch_size=size, seed=seed, **more)
            grown = slope * (1 + 0.003 * seed) * np.log1p(rate * run["iteration"].values)
            grown = grown ** (power if size > 64 else 1.0)
            squares = grown[:, None] ** 2 * np.array([0.5, 0.3, 0.2])
            runs[f"b{size}-s{seed}"] = run.assign(distance_sq=(("iteration", "tensor"), squares))
    return runs


def test_curves_in_the_summed_rate_are_compared_where_they_overlap(make):
    found = collapse_in_rate(Study(in_rate(make, {64: 1.0, 256: 1.0, 1024: 1.0})))
    assert found.prediction == "P2'"
    assert found.verdict == "supported"
    # the last decade of the smallest batch size: 0.1 · 3000 = 300
    assert "Over Ση from 30 to 300" in found.reason
    assert "The ratio of log-slopes is 1.000" in found.reason


def test_curves_apart_in_the_summed_rate_are_contradicted(make):
    found = collapse_in_rate(Study(in_rate(make, {64: 1.0, 1024: 1.3})))
    assert found.verdict == "contradicted"
    assert found.effect == pytest.approx(1.3, rel=0.01)


def test_other_log_slopes_contradict_where_distances_meet(make):
    # ln(1 + Ση) between 3.4 and 5.7, to the power 1.4 and divided by that of the middle
    found = collapse_in_rate(Study(in_rate(make, {64: 1.0, 1024: 0.66}, power=1.4)))
    assert found.verdict == "contradicted"
    assert "log-slopes" in found.reason


def test_the_linear_rule_is_asked_for_and_checked(make):
    assert "scaling 'linear'" in collapse_in_rate(Study(sweep(make, {64: 1.0, 256: 1.0}))).needed
    wrong = in_rate(make, {64: 1.0, 256: 1.0}, rate=0.1)
    assert "do not follow M (rate/M by" in collapse_in_rate(Study(wrong)).reason


def test_batch_sizes_too_far_apart_share_no_decade_of_the_summed_rate(make):
    runs = in_rate(make, {64: 1.0, 65536: 1.0}, last=300)
    found = collapse_in_rate(Study(runs))
    assert found.verdict == "undecidable"
    assert "share less than a decade of Ση" in found.reason


def test_what_else_a_sweep_says_is_noted(make):
    noted = collapse(Study(sweep(make, {64: 1.0, 1024: 1.0}))).assumptions
    assert any(
        item.startswith("curves coincide best over iteration, not told from Ση²/M")
        for item in noted
    )
    # (1 + 1024/200)/(1 + 64/200) = 4.6 with the simulated noise scale of 200
    assert any("(1 + M/B)/(1 + M₀/B) = 4.6" in item for item in noted)


@pytest.mark.parametrize("slope", [0.4, 1.0, 3.0])
def test_the_full_batch_decides_nothing(make, slope):
    """What it does is left to H-b; the verdict is that of the other batch sizes."""
    runs = sweep(make, {64: 1.0, 256: 1.0}, data_size=4096)
    alone = collapse(Study(runs))
    found = collapse(Study(runs | sweep(make, {4096: slope}, data_size=4096)))
    assert (alone.verdict, found.verdict) == ("supported", "supported")
    assert (found.effect, found.effect_low) == (alone.effect, alone.effect_low)
    assert found.sample == alone.sample
    (note,) = [item for item in found.assumptions if "set aside" in item]
    assert note.startswith("batch size 4096 set aside: drawn without replacement")
    assert not any("set aside" in item for item in alone.assumptions)
    # Neither the reason nor what is told in short speaks of all.
    assert (alone.about, found.about) == ("", "batch sizes 64 and 256")
    assert "every two batch sizes have moved equally far" in alone.reason
    assert "batch sizes 64 and 256 have moved equally far" in found.reason
    gone = " Batch size 4096, near the training set's size, is set aside."
    assert found.brief.endswith(gone) and not alone.brief


def test_batch_sizes_that_cannot_be_compared_are_told(make):
    runs = sweep(make, {64: 1.0, 256: 1.0, 512: 1.0}) | {"lone": make(batch_size=1024)}
    found = collapse(Study(runs))
    assert found.about == "batch sizes 64, 256 and 512"
    assert "every two of batch sizes 64, 256 and 512 have moved equally far" in found.reason
    assert found.brief.endswith(" Batch size 1024 could not be compared.")


RATIO = Interval(0.2, 0.05, 0.35, 3, "batch 1024 over batch 64")
PAIR = replace(RATIO, name="batch 1024 over batch 256")


@pytest.mark.parametrize("place", range(3))
def test_the_ratio_of_the_extremes_is_told_once(place):
    """At the end it stands already; elsewhere it is told when that was."""
    times = [Interval(0.1, 0.05, 0.15, 3, RATIO.name)] * 3
    times[place] = replace(RATIO, value=0.3, high=0.45)
    found = _reason(_Ratios((RATIO, RATIO), times, 0.095, 0.95, 0.975), "Ση")
    assert "of all pairs" not in found and "by chance" not in found
    when = ("at the start", "in the middle", "")[place]
    assert (f"; {when} it was 1.350 [1.051, 1.568] times." in found) == bool(when)
    assert found.endswith("counts as one curve.") == (not when)


@pytest.mark.parametrize(("end", "still"), [(0.3, False), (0.2, True), (0.15, True)])
def test_only_a_ratio_that_has_not_grown_is_still_so(end, still):
    last = Interval(end, end - 0.05, end + 0.05, 3, RATIO.name)
    first = replace(RATIO, low=0.15)
    found = _reason(_Ratios((first, last), [first, last, last], 0.095, 0.95, 0.975), "Ση")
    assert ("and still" in found) == still
    assert f"{math.exp(end):.3f} [" in found


def test_a_pair_that_is_far_apart_for_sure_is_no_chance():
    extremes = replace(RATIO, low=-0.1)
    far = replace(PAIR, value=0.5, low=0.3, high=0.7)
    wide = replace(far, low=0.2, high=0.8)
    told = [
        _reason(_Ratios((extremes,) * 2, [far], 0.095, 0.95, 0.975, 0.0, (surely,)), "Ση")
        for surely in (wide, replace(far, low=0.01))
    ]
    assert ["which is no chance" in one for one in told] == [True, False]
    assert ["may be so by chance" in one for one in told] == [False, True]


def test_the_full_batch_does_not_hide_a_difference(make):
    runs = sweep(make, {64: 1.0, 256: 1.5, 4096: 1.0}, data_size=4096)
    found = collapse(Study(runs))
    assert (found.verdict, found.sample.batch_sizes) == ("contradicted", (64, 256))


def test_one_batch_size_beside_the_full_batch_is_no_sweep(make):
    found = collapse(Study(sweep(make, {64: 1.0, 1024: 3.0}, data_size=1024)))
    assert found.verdict == "undecidable"
    assert found.reason.startswith("Only batch size 64 was run under the √M rule. Batch size 1024")
    assert "= 0.000 of what rates ∝ √M stand for." in found.reason
    assert found.needed.endswith("far below the size of the training set")


def test_a_wider_margin_leaves_more_arms_in(make):
    # √((1 − 1024/4096)/(1 − 64/4096)) = 0.873
    runs = sweep(make, {64: 1.0, 256: 1.0, 1024: 1.0}, data_size=4096)
    assert collapse(Study(runs)).sample.batch_sizes == (64, 256)


def test_the_full_batch_has_no_temperature_under_the_linear_rule(make):
    runs = in_rate(make, {64: 1.0, 256: 1.0, 4096: 2.0}, data_size=4096)
    found = collapse_in_rate(Study(runs))
    assert found.verdict == "supported"
    assert any("rates ∝ M stand for" in item for item in found.assumptions)


def test_drift_explains_the_excess_that_the_theory_gives(make):
    runs = {f"b{size}": make(batch_size=size, seed=1) for size in (50, 1000)}
    found = explained_excess(Study(runs))
    # The simulated noise scale is 200 within 1 %: (1 + 5)/(1 + 0.25) = 4.8
    assert "= 4.8" in found or "= 4.7" in found
    linear = {f"b{size}": make(batch_size=size, rate=0.01 * size / 50) for size in (50, 1000)}
    assert explained_excess(Study(linear)) == ""
    assert explained_excess(Study({"a": make()})) == ""
    unheard = {f"b{size}": make(batch_size=size, noise_trace=None) for size in (50, 1000)}
    assert explained_excess(Study(unheard)) == ""


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
    assert explained_excess(Study(runs)) == (
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
    assert explained_excess(Study(runs)).endswith(
        "times those at 50; the recorded paths make it 2.000"
    )
    runs["b50"]["step_sq"] = 0 * runs["b50"]["step_sq"]
    assert "paths" not in explained_excess(Study(runs))
    del runs["b50"]["step_sq"]
    assert "paths" not in explained_excess(Study(runs))


@pytest.mark.parametrize(("trace", "square"), [(-100.0, 1.0), (100.0, -1.0), (0.0, 1.0)])
def test_moments_that_give_no_noise_scale_explain_nothing(make, trace, square):
    runs = {f"b{size}": known(make, size, trace, square) for size in (50, 200)}
    assert explained_excess(Study(runs)) == ""


def test_one_run_under_another_rule_explains_nothing(make):
    linear = {"scaling": "linear", "rate": 0.04 * math.sqrt(50 / 64)}
    runs = {"a": known(make, 50, 100.0, 1.0), "b": known(make, 200, 1.0, 1.0, **linear)}
    assert explained_excess(Study(runs)) == ""


TIMES = log_spaced(10_000, per_decade=8)


def sweep_out_of_seed(make, clock, *, seeds=4, sizes=(64, 256), power=0.75):
    """Distances 1 + ln(1 + clock) under the linear rule, a little different from seed to seed."""
    runs = {}
    for size in sizes:
        for seed in range(seeds):
            run = make(
                batch_size=size,
                seed=seed,
                records=TIMES,
                rate=0.1 * (size / 64) ** power,
                scaling="linear",
            )
            moved = (1 + 0.001 * seed) * (TIMES > 0) * (1 + np.log1p(clock_values(run, clock)))
            runs[f"b{size}-s{seed}"] = run.assign(
                distance_sq=(("iteration", "tensor"), moved[:, None] ** 2 * np.ones(3) / 3)
            )
    return runs


@pytest.mark.parametrize("clock", CLOCKS)
def test_the_clock_that_curves_share_is_found(make, clock):
    runs = sweep_out_of_seed(make, clock)
    errors = {name: np.mean(list(clock_errors(Study(runs), name).values())) for name in CLOCKS}
    assert min(errors, key=errors.get) == clock
    assert errors[clock] < 0.01
    assert best_clock(Study(runs)).startswith(
        f"curves coincide best over {clock} (out-of-seed errors"
    )


def test_an_error_is_that_of_the_other_seeds_of_the_other_arms(make):
    runs = sweep_out_of_seed(make, ITERATION, seeds=2)
    errors = clock_errors(Study(runs), ITERATION)
    # Each run is predicted by the one run of the other arm and seed: ln 1.001 apart.
    assert errors == {0: pytest.approx(np.log(1.001)), 1: pytest.approx(np.log(1.001))}


def test_errors_equal_a_naive_loop_over_runs(make):
    """Three arms and three seeds, of which one arm has a fourth, each with a curve of its own."""
    runs = sweep_out_of_seed(make, RATE, seeds=3, sizes=(64, 256, 1024)) | sweep_out_of_seed(
        make, RATE, sizes=(256,)
    )
    rng = np.random.default_rng(0)
    for run in runs.values():
        bend = 1 + 0.1 * rng.standard_normal() * np.log1p(TIMES) ** rng.uniform(0.5, 1.5)
        run["distance_sq"] = run["distance_sq"] * (bend**2)[:, None]
    clocks = {name: clock_values(run, NOISE) for name, run in runs.items()}
    last = min(clock[-1] for clock in clocks.values())
    times = np.geomspace(last / 10, last, 33)
    logs = {
        name: np.interp(
            np.log(times),
            np.log(clocks[name][1:]),
            np.log(np.sqrt(run["distance_sq"].values[1:].sum(axis=1))),
        )
        for name, run in runs.items()
    }
    expected = {}
    for seed in range(3):
        squares = []
        for size in (64, 256, 1024):
            others = [
                log
                for name, log in logs.items()
                if not name.startswith(f"b{size}-") and not name.endswith(f"s{seed}")
            ]
            squares.append(np.mean((logs[f"b{size}-s{seed}"] - np.mean(others, axis=0)) ** 2))
        expected[seed] = pytest.approx(np.sqrt(np.mean(squares)), rel=1e-9)
    assert clock_errors(Study(runs), NOISE) == expected


def test_runs_without_a_seed_are_left_out_of_no_mean(make):
    runs = {name: run.drop_vars("seed") for name, run in sweep_out_of_seed(make, RATE).items()}
    assert clock_errors(Study(runs), RATE) == {} and best_clock(Study(runs)) == ""
    some = {
        name: run.drop_vars("seed") if name.endswith("s3") else run
        for name, run in sweep_out_of_seed(make, RATE).items()
    }
    assert list(clock_errors(Study(some), RATE)) == [0, 1, 2]


def test_one_clock_alone_is_not_the_best(make):
    runs = sweep_out_of_seed(
        make, ITERATION, sizes=(64, 64 * 10**7)
    )  # far apart on all other clocks
    assert [clock for clock in CLOCKS if clock_errors(Study(runs), clock)] == [ITERATION]
    assert best_clock(Study(runs)) == ""


def test_of_clocks_that_run_alike_the_first_is_named(make):
    # Under the √M rule Ση²/M is proportional to the iterations.
    for seeds in (2, 3, 4):
        runs = sweep_out_of_seed(make, ITERATION, seeds=seeds, sizes=(64, 256, 512), power=0.5)
        found = best_clock(Study(runs))
        assert found.startswith("curves coincide best over iteration, not told from Ση²/M (")


def test_one_seed_or_one_arm_scores_nothing(make):
    assert clock_errors(Study(sweep_out_of_seed(make, RATE, seeds=1)), RATE) == {}
    assert clock_errors(Study(sweep_out_of_seed(make, RATE, sizes=(64,))), RATE) == {}
    assert best_clock(Study(sweep_out_of_seed(make, RATE, sizes=(64,)))) == ""


def test_only_the_last_common_decade_counts(make):
    runs = sweep_out_of_seed(make, ITERATION)
    found = clock_errors(Study(runs), ITERATION)
    for run in runs.values():
        run["distance_sq"][TIMES < 800] *= 1 + int(run["batch_size"]) / 64
    assert clock_errors(Study(runs), ITERATION) == found


def test_less_than_a_common_decade_scores_nothing(make):
    runs = sweep_out_of_seed(make, ITERATION)
    late = {
        name: run.isel(iteration=TIMES > 1200) if name.startswith("b256") else run
        for name, run in runs.items()
    }
    assert clock_errors(Study(late), ITERATION) == {}


def test_a_clock_that_is_better_by_chance_is_not_told_from_the_next(make):
    runs = sweep_out_of_seed(make, ITERATION)
    assert ", not told from" not in best_clock(Study(runs))
    # Where seeds differ by factors, all clocks miss by about as much, in some seeds more.
    for name, run in runs.items():
        run["distance_sq"][:] *= 4.0 ** ((7 * int(name[-1]) + int(run["batch_size"]) // 64) % 5)
    assert ", not told from" in best_clock(Study(runs))


def test_what_contradicts_is_held_to_half_of_the_error(make):
    """Of one measure 97.5 %, and of two 98.75 %: seeds that differ by half seldom seem apart."""
    runs = sweep(make, {64: 1.0, 1024: 1.3})
    found = collapse(Study(runs))
    times = last_common_decade(runs)
    means = {
        size: [log_distance(run, times).mean() for run in runs.values() if run.batch_size == size]
        for size in (64, 1024)
    }
    expected = unpaired(means[1024], means[64]).interval(0.975)
    assert (found.effect_low, found.effect_high) == pytest.approx(
        (np.exp(expected.low), np.exp(expected.high)), rel=1e-6
    )
    told = "the ratios of the extremes have 97.5% intervals, those of all pairs 95% ones"
    assert told in found.assumptions


def test_the_farthest_of_several_pairs_is_told_to_be_that_by_chance_where_it_is_far():
    """Beyond the margin by itself it decides nothing: the extremes do, named beforehand."""
    extremes = Interval(0.4, -0.4, 1.2, 3, "batch 1024 over batch 64")
    far = Interval(0.6, 0.15, 1.05, 3, "batch 1024 over batch 256")
    near = replace(far, low=-0.1)
    told = [
        _reason(_Ratios((extremes,) * 2, pairs, 0.095, 0.95, 0.975, 0.0, [extremes] * 2), "Ση")
        for one in (replace(far, high=1.3), replace(near, high=1.3))
        for pairs in [[extremes, one]]
    ]
    assert ["by chance" in one for one in told] == [True, False]
