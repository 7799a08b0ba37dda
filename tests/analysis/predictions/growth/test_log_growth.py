import numpy as np
import pytest
import xarray as xr
from scipy import stats

from ultraslow.analysis.predictions.growth.log_growth import across_seeds, log_growth, within_run
from ultraslow.analysis.runs.arms import Arm
from ultraslow.analysis.study import Study

ARM = Arm(64, "sqrt", 0.1)


def fits(exponents, **columns):
    exponents = np.asarray(exponents, dtype=float)
    values = {
        "exponent": exponents,
        "exponent_low": exponents - 0.1,
        "exponent_high": exponents + 0.3,
        "detectable": np.full(exponents.size, 0.28),
        "grown_decades": np.full(exponents.size, 3.0),
        **columns,
    }
    names = [f"r{k}" for k in range(exponents.size)]
    return xr.Dataset(
        {name: ("node", value) for name, value in values.items()},
        coords={"node": names, "run": ("node", names)},
    )


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_across_seeds_is_students_interval_of_the_mean(level):
    exponents = np.random.default_rng(0).normal(0.1, 0.05, 6)
    found = across_seeds(ARM, fits(exponents), level=level)
    expected = stats.ttest_1samp(exponents, 0).confidence_interval(level)
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-12)
    assert (found.value, found.n) == (pytest.approx(exponents.mean()), 6)
    assert found.name == "mean of 6 seeds at batch size 64"


def test_across_seeds_counts_the_decades_of_the_shortest_run():
    columns = {"grown_decades": [3.0, 2.6, 4.0], "decades": [1.0, 5.0, 5.0]}
    found = across_seeds(ARM, fits([0, 1, 2], **columns), level=0.95)
    assert found.decades == 2.6


def test_a_single_run_keeps_the_interval_of_its_fit():
    found = within_run(fits([0.2]).isel(node=0))
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.5))
    assert found.error == pytest.approx(0.1)  # 2.8 standard errors are told from 0
    assert (found.name, found.n) == ("run r0", 1)


@pytest.mark.parametrize(("low", "high", "farthest"), [(-0.3, 0.1, 0.3), (0.1, 0.2, 0.2)])
def test_the_far_end_is_the_one_farther_from_log_growth(low, high, farthest):
    one = fits([0.0], exponent_low=[low], exponent_high=[high])
    assert within_run(one.isel(node=0)).farthest == pytest.approx(farthest)


NAMES = ("exponent", "exponent_low", "exponent_high", "detectable")


def arms(make, seeds, sizes=(64,), **options):
    return {
        f"b{size}-s{seed}": make(run=f"b{size}-s{seed}", batch_size=size, seed=seed, **options)
        for size in sizes
        for seed in range(seeds)
    }


def fitted(runs, exponents, *, half=0.02, detectable=0.03, decades=3.5):
    """Fits of runs as `fit_totals` gives them, with chosen exponents."""
    exponents = np.asarray(exponents, dtype=float)
    columns = {
        "exponent": exponents,
        "exponent_low": exponents - half,
        "exponent_high": exponents + half,
        "detectable": np.full(exponents.size, detectable),
        "decades": np.full(exponents.size, decades),
        "grown_decades": np.full(exponents.size, decades),
        "onset": np.zeros(exponents.size),
        "first": np.ones(exponents.size, dtype=int),
        "last": np.full(exponents.size, 3000),
        "status": np.where(np.isfinite(exponents), "ok", "too_few_points"),
        "reason": np.where(np.isfinite(exponents), "", "too few records"),
    }
    return xr.Dataset(
        {name: ("node", values) for name, values in columns.items()},
        coords={
            "node": list(runs),
            "run": ("node", list(runs)),
            "batch_size": ("node", [int(run["batch_size"]) for run in runs.values()]),
        },
    )


def test_with_four_seeds_the_interval_is_students_t_across_seeds(make):
    runs = arms(make, 5)
    exponents = [0.01, -0.01, 0.02, 0.0, -0.015]
    verdict = log_growth(Study(runs, fitted=fitted(runs, exponents)))
    expected = stats.ttest_1samp(exponents, 0).confidence_interval(0.95)
    np.testing.assert_allclose([verdict.effect_low, verdict.effect_high], expected)
    assert verdict.verdict == "supported"
    assert "mean of 5 seeds at batch size 64" in verdict.effect_meaning
    assert verdict.sample.seeds == 5
    assert "across seeds" in verdict.assumptions[1]


@pytest.mark.parametrize(("seeds", "exponents"), [(3, [0.0, 0.02, -0.01]), (1, [0.5])])
def test_with_fewer_seeds_nothing_is_decided(make, seeds, exponents):
    """However clear the interval of a run is: it says nothing of the next seed."""
    runs = arms(make, seeds)
    verdict = log_growth(Study(runs, fitted=fitted(runs, exponents)))
    assert verdict.verdict == "undecidable"
    assert verdict.effect == max(exponents)
    assert "No arm has 4 seeds" in verdict.reason
    assert verdict.needed == "4 seeds or more at one batch size"
    assert "spread between seeds is not covered" in verdict.assumptions[1]


def test_an_arm_of_few_seeds_decides_nothing_beside_others(make):
    full, few = arms(make, 4), arms(make, 2, sizes=(256,))
    runs = full | few
    verdict = log_growth(Study(runs, fitted=fitted(runs, [0.0, 0.01, -0.01, 0.005, 0.5, 0.51])))
    assert verdict.verdict == "supported"
    assert (verdict.sample.runs, verdict.sample.batch_sizes) == (4, (64,))
    assert "2 runs left out: their arms have fewer than 4 seeds" in verdict.assumptions


@pytest.mark.parametrize(
    ("exponents", "verdict"),
    [
        ([0.0, 0.01, -0.01, 0.005], "supported"),
        ([0.30, 0.32, 0.29, 0.31], "contradicted"),
        ([-0.30, -0.32, -0.29, -0.31], "contradicted"),
        ([0.04, 0.10, 0.07, 0.06], "undecidable"),
        ([0.0, 0.2, -0.2, 0.1], "undecidable"),
    ],
)
def test_one_arm_is_judged_by_its_interval_against_the_margin(make, exponents, verdict):
    runs = arms(make, 4)
    assert log_growth(Study(runs, fitted=fitted(runs, exponents))).verdict == verdict


def test_one_arm_beyond_the_margin_contradicts_whatever_the_others_say(make):
    runs = arms(make, 4, sizes=(64, 256))
    verdict = log_growth(
        Study(runs, fitted=fitted(runs, [0, 0.01, -0.01, 0, 0.3, 0.31, 0.29, 0.3]))
    )
    assert verdict.verdict == "contradicted"
    assert "batch size 256" in verdict.reason
    assert "a power of t" in verdict.reason


def test_one_arm_that_is_open_leaves_all_open(make):
    runs = arms(make, 4, sizes=(64, 256))
    verdict = log_growth(
        Study(runs, fitted=fitted(runs, [0, 0.01, -0.01, 0, 0.0, 0.1, -0.1, 0.05]))
    )
    assert verdict.verdict == "undecidable"
    assert "batch size 256" in verdict.reason


def test_many_arms_need_intervals_that_hold_jointly(make):
    runs = arms(make, 4, sizes=(64, 128, 256, 512, 1024))
    spread = 0.035 * np.array([-1.5, -0.5, 0.5, 1.5]) / np.std([-1.5, -0.5, 0.5, 1.5], ddof=1)
    exponents = np.tile(0.01 * spread, 5)
    exponents[-4:] = 0.14 + spread
    # The last arm's interval is 0.14 ± 0.073 at 97.5 %; at 99.5 %, as one of five, ± 0.131.
    alone = {name: run for name, run in runs.items() if "1024" in name}
    assert log_growth(Study(alone, fitted=fitted(alone, exponents[-4:]))).verdict == "contradicted"
    assert log_growth(Study(runs, fitted=fitted(runs, exponents))).verdict == "undecidable"


def test_undecidable_says_how_many_seeds_or_decades(make):
    runs = arms(make, 1)
    verdict = log_growth(Study(runs, fitted=fitted(runs, [0.0], half=0.2, detectable=0.28)))
    # se = 0.28/2.8 = 0.1; an interval inside ±0.05 with 80 % power needs 3.24 se ≤ 0.05: a ratio
    # of 6.48, hence 42 seeds or 3.5 · 6.48^0.4 = 7.4 decades.
    assert verdict.verdict == "undecidable"
    assert "about 42 seeds" in verdict.needed
    assert "7.4 decades" in verdict.needed


def test_an_unbounded_interval_is_undecidable(make):
    runs = arms(make, 1)
    fits = fitted(runs, [0.3], detectable=np.inf)
    fits["exponent_low"][:], fits["exponent_high"][:] = -np.inf, np.inf
    verdict = log_growth(Study(runs, fitted=fits))
    assert verdict.verdict == "undecidable"
    assert "not identified" in verdict.needed


def test_short_and_failed_runs_are_left_out_and_named(make):
    runs = arms(make, 7)
    fits = fitted(runs, [0.0, np.nan, 0.9, 0.9, 0.0, 0.01, -0.01])
    fits["decades"][2] = 1.2
    fits["grown_decades"][3] = 1.1
    fits["onset"][3] = 240.0
    verdict = log_growth(Study(runs, fitted=fits))
    assert verdict.verdict == "supported"
    assert verdict.sample.runs == 4
    assert verdict.assumptions[-3:] == (
        "left out b64-s1: too few records",
        "left out b64-s2: 1.20 decades of constant learning rate, 2.5 needed",
        "left out b64-s3: growth sets in at iteration 240: 1.10 decades of it, 2.5 needed",
    )


def test_a_minority_of_usable_runs_does_not_speak_for_all(make):
    runs = arms(make, 3)
    verdict = log_growth(Study(runs, fitted=fitted(runs, [0.0, np.nan, np.nan])))
    assert verdict.verdict == "undecidable"
    assert verdict.reason == "Only 1 of 3 runs can be used: too few records."
    assert (
        verdict.needed
        == "more records in the phase of constant learning rate, up to iteration 3000"
    )


def test_a_set_of_short_runs_is_undecidable_and_says_how_long(make):
    runs = arms(make, 4)
    fits = fitted(runs, [0, 0, 0, 0], decades=2.0)
    fits["onset"][1] = 9.0
    verdict = log_growth(Study(runs, fitted=fits))
    assert verdict.verdict == "undecidable"
    assert verdict.reason == (
        "None of the 4 runs can be used: 2.00 decades of constant learning rate, 2.5 needed."
    )
    # (1 + 9)·10^2.5 − 9 = 3153
    assert "until iteration 3200 or later; it was constant up to iteration 3000" in verdict.needed


def test_reasons_are_given_once_with_the_number_of_their_runs(make):
    runs = arms(make, 7)
    fits = fitted(runs, [0.0] * 7)
    fits["decades"][:] = [2.0, 2.0, 2.0, 1.5, 1.4, 1.3, 1.2]
    reason = log_growth(Study(runs, fitted=fits)).reason
    assert reason.startswith("None of the 7 runs can be used: 2.00 decades of constant")
    assert "2.5 needed (3 runs); 1.50" in reason
    assert reason.endswith("others in the JSON file (2 runs).")


def test_runs_without_a_rate_are_told_what_to_record(make):
    runs = arms(make, 1, learning_rate=None)
    verdict = log_growth(Study(runs))
    assert verdict.reason == "The run cannot be used: the learning rate was not recorded."
    assert verdict.needed.startswith("recordings that hold the learning rate")


@pytest.mark.parametrize(("middle", "words"), [(0.3, "α < 2"), (-0.3, "α > 2")])
def test_a_contradiction_names_the_other_reading(make, middle, words):
    runs = arms(make, 4)
    reason = log_growth(
        Study(runs, fitted=fitted(runs, middle + np.array([0, 0.01, -0.01, 0])))
    ).reason
    assert f"(ln t)^(2/α) with {words}, is not told apart" in reason


def test_runs_of_one_name_are_all_left_out_by_name(make):
    runs = {f"n{k}": make(run="same", seed=k) for k in range(5)}
    fits = fitted(runs, [0.0, 0.0, 0.0, np.nan, np.nan])
    fits = fits.assign_coords(run=("node", ["same"] * 5))
    noted = [
        item
        for item in log_growth(Study(runs, fitted=fits)).assumptions
        if item.startswith("left out")
    ]
    assert len(noted) == 2


def test_runs_of_another_kind_are_not_thrown_together(make):
    runs = arms(make, 2) | {"other": make(data="cifar10", seed=9)}
    verdict = log_growth(Study(runs, fitted=fitted(runs, [0.0] * 3)))
    assert verdict.verdict == "undecidable"
    assert "data: cifar10, digits" in verdict.reason


def test_a_copy_of_a_run_is_no_further_seed(make):
    runs = arms(make, 2)
    doubled = runs | {f"{name}-copy": run for name, run in runs.items()}
    assert log_growth(Study(doubled, fitted=fitted(doubled, [0.0] * 4))).sample.runs == 2
