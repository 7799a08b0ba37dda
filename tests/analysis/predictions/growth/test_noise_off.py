import math

import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.predictions.growth.noise_off import _word, noise_off, ratio_of_means
from ultraslow.analysis.study import Study


def sets(make, share, *, seeds=4, digests=("w", "w"), **options):
    """Noisy runs of log-slope 1 and full-batch runs of log-slope `share`."""
    runs = {}
    for seed in range(seeds):
        slope = 1 + 0.02 * seed
        pair = {"noisy": (64, slope, digests[0]), "still": (1000, share * slope, digests[1])}
        for name, (size, value, digest) in pair.items():
            same = {"gradient_difference": 0.0} if name == "still" else {}
            run = make(
                batch_size=size,
                seed=seed,
                slope=value,
                data_size=1000,
                noise=0.0,
                **{"rate": 0.1, **same, **options},
            )
            runs[f"{name}{seed}"] = run.assign_attrs(initial_sha256=f"{digest}{seed}")
    return runs


def test_fiellers_interval_holds_the_ratios_that_a_t_test_does_not_reject():
    rng = np.random.default_rng(0)
    x, y = rng.normal(1, 0.3, 6), rng.normal(3, 0.3, 6)
    found = ratio_of_means(x, y, level=0.9)
    grid = np.linspace(0, 1, 20_001)
    kept = grid[stats.ttest_1samp(x - grid[:, None] * y, 0, axis=1).pvalue > 0.1]
    assert found.low == pytest.approx(kept.min(), abs=1e-4)
    assert found.high == pytest.approx(kept.max(), abs=1e-4)


def test_a_denominator_that_may_be_0_bounds_nothing():
    found = ratio_of_means(np.array([1.0, 2.0, 3.0]), np.array([1.0, -1.0, 0.5]), level=0.95)
    assert (found.low, found.high) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("share", "word"),
    [(0.0, "supported"), (1.0, "contradicted"), (0.3, "undecidable"), (0.6, "contradicted")],
)
def test_the_ratio_of_slopes_is_judged(make, share, word):
    found = noise_off(Study(sets(make, share)))
    assert found.verdict == word
    assert found.effect == pytest.approx(share, abs=1e-9)
    assert found.sample.runs == 8
    assert "compared by their hash" in found.assumptions[0]
    assert found.assumptions[1] == "4 pairs at learning rate 0.1, noise of batch size 64"
    assert (found.null, found.span) == ((-0.1, 0.1), (300, 3000))


def test_slowing_down_is_decided_by_no_number_of_seeds(make):
    found = noise_off(Study(sets(make, 0.3)))
    assert found.needed.startswith("nothing up to 18 seeds with and without noise, as the mean")
    assert found.needed.endswith("beyond iteration 3000 would show cannot be told from these")


def test_missing_arms_are_named(make):
    runs = sets(make, 0.0)
    noisy = {name: run for name, run in runs.items() if "noisy" in name}
    still = {name: run for name, run in runs.items() if "still" in name}
    none = noise_off(Study(noisy))
    assert "4 seeds at the full batch" in none.needed and "learning rate 0.1" in none.needed
    assert (none.have, none.need, none.unit) == (0, 4, "seeds")
    assert none.reason.startswith("No run saw the whole training set")
    few = dict(list(noisy.items())[:2])
    more = {f"b{name}": run for name, run in of_rate(make, 0.0, 0.05).items() if "noisy" in name}
    # The arm that has the seeds is to be paired, and not the first one.
    assert "learning rate 0.05" in noise_off(Study(few | more)).needed
    assert "of which 4 are needed as well" in noise_off(Study(few)).needed
    assert noise_off(Study(still)).reason == (
        "No run has noise to compare with: all are at the full batch (4 runs)."
    )
    assert noise_off(Study({"r": make()})).reason == "No run recorded data_size."


def test_other_initial_weights_make_no_pair(make):
    found = noise_off(Study(sets(make, 0.0, digests=("v", "w"))))
    assert found.verdict == "undecidable"
    assert found.reason.startswith("0 seeds with and without noise from the same weights")
    assert (found.have, found.need) == (0, 4)


def of_rate(make, share, rate, **options):
    runs = sets(make, share, rate=rate, **options)
    return {f"r{rate}-{name}": run for name, run in runs.items()}


def test_pairs_are_of_one_learning_rate_whatever_runs_are_called_and_others_are_there(make):
    """Full-batch runs of other rates and noisy arms without a partner change nothing."""
    runs = sets(make, 0.6)
    found = noise_off(Study(runs))
    others = {name: run for name, run in of_rate(make, 9.0, 0.4).items() if "still" in name}
    noisy = {name: run for name, run in of_rate(make, 0.0, 0.2).items() if "noisy" in name}
    for more in (others, noisy, others | noisy):
        assert noise_off(Study(runs | more)).reason == found.reason
        assert noise_off(Study(more | runs)).effect == found.effect
        renamed = {f"{9 - k}": run for k, run in enumerate((runs | more).values())}
        assert noise_off(Study(renamed)).reason == found.reason
    assert "At learning rate 0.1" in found.reason


def test_each_rate_is_compared_and_one_contradicts(make):
    rest, grows = sets(make, 0.0), of_rate(make, 0.9, 0.4)
    assert noise_off(Study(rest | of_rate(make, 0.0, 0.4))).verdict == "supported"
    found = noise_off(Study(rest | grows))
    assert found.verdict == "contradicted" and "At learning rate 0.4" in found.reason


def test_no_common_rate_is_told_with_the_rates(make):
    runs = sets(make, 0.6)
    still = {name: run for name, run in runs.items() if "still" in name}
    noisy = {name: run for name, run in of_rate(make, 0.0, 0.2).items() if "noisy" in name}
    found = noise_off(Study(still | noisy))
    assert found.reason == (
        "No noisy run has the learning rate of the full-batch runs, 0.1; they have 0.2."
    )
    assert "4 seeds of a noisy arm at learning rate 0.1" in found.needed


def test_full_batches_that_nobody_measured_are_not_without_noise(make):
    measured = sets(make, 1.0).items()
    runs = {n: run.drop_vars("gradient_difference", errors="ignore") for n, run in measured}
    found = noise_off(Study(runs))
    assert found.verdict == "undecidable" and math.isnan(found.effect)
    assert found.reason.startswith("The 4 runs at the full batch cannot be told to be without")
    ghosts = {
        name: run.assign_coords(gradient_difference=0.4) if "still" in name else run
        for name, run in runs.items()
    }
    assert noise_off(Study(ghosts)).reason.startswith("Updates at the full batch differ")


def test_a_noisy_arm_may_be_one_of_added_noise(make):
    still = {name: run for name, run in sets(make, 0.6).items() if "still" in name}
    noisy = {
        f"i{seed}": make(
            batch_size=1000,
            data_size=1000,
            seed=seed,
            slope=1 + 0.02 * seed,
            noise=0.0,
            rate=0.1,
            added_noise=0.01,
        )
        for seed in range(4)
    }
    found = noise_off(Study(still | noisy))
    assert found.effect == pytest.approx(0.6, abs=1e-9)
    assert "added noise 0.01" in found.reason


def test_what_is_said_of_full_batches_is_true_of_the_whole_folder(make):
    noisy = {name: run for name, run in sets(make, 0.0).items() if "noisy" in name}
    ladder = {"full": make(batch_size=500, data_size=500, weight_decay=0.1)}
    folder = Study(noisy | ladder)
    reason = noise_off(folder.part(noisy)).reason
    assert reason.startswith("None of these 4 runs saw the whole training set in each update")
    assert "those of the folder that did (1) differ in data size and weight decay" in reason


def test_three_pairs_are_too_few(make):
    assert "3 seeds with and without" in noise_off(Study(sets(make, 0.0, seeds=3))).reason


def test_short_runs_are_still_on_their_way_down(make):
    short = {name: run.isel(iteration=slice(0, 20)) for name, run in sets(make, 1.0).items()}
    found = noise_off(Study(short))
    assert found.verdict == "undecidable"
    assert "2.5 decades of constant learning rate" in found.reason


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.09, 0.09, "supported"),
        (-0.2, 0.05, "undecidable"),
        (-0.05, 0.2, "undecidable"),
        (0.51, 1.5, "contradicted"),
        (0.45, 1.5, "undecidable"),  # 0.98 on average, but not surely above one half
        (-3.0, -0.2, "undecidable"),
        (-math.inf, math.inf, "undecidable"),
    ],
)
def test_the_whole_interval_decides(low, high, word):
    assert _word(Interval((low + high) / 2, low, high, 4)) == word


def test_a_denominator_below_0_bounds_nothing():
    found = ratio_of_means(np.array([1.0, 1.1, 1.2]), np.array([-3.0, -3.1, -2.9]), level=0.95)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_the_noisy_arm_is_that_of_the_smallest_batch_size(make):
    runs = sets(make, 0.6)
    for seed in range(4):
        more = {"batch_size": 256, "seed": seed, "data_size": 1000, "noise": 0.0, "rate": 0.1}
        runs[f"large{seed}"] = make(slope=100.0, **more)
    found = noise_off(Study(runs))
    assert found.effect == pytest.approx(0.6, abs=1e-9)
    assert "noise of batch size 64" in found.assumptions[1]


def test_runs_that_make_no_pair_do_not_shorten_the_others(make):
    runs = sets(make, 0.6)
    found = noise_off(Study(runs))
    short = make(batch_size=64, seed=9, data_size=1000, noise=0.0, rate=0.1, last=700)
    with_short = noise_off(Study(runs | {"short": short}))
    assert (with_short.effect, with_short.reason) == (found.effect, found.reason)


def test_a_short_run_is_left_out_with_its_partner(make):
    whole = sets(make, 1.0, seeds=5)
    runs = whole | {"still4": whole["still4"].sel(iteration=slice(0, 250))}
    found, four = noise_off(Study(runs)), noise_off(Study(sets(make, 1.0)))
    assert (found.effect, found.reason) == (four.effect, four.reason)
    assert (found.sample.runs, found.sample.seeds) == (8, 4)
    runs = sets(make, 1.0)
    runs["still2"] = runs["still2"].sel(iteration=slice(0, 250))
    assert noise_off(Study(runs)).verdict == "undecidable"
    assert noise_off(Study(runs)).reason.startswith("3 seeds with and without noise")
