import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.predictions.growth.straightness import random_motion
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording.schedule import log_spaced

TIMES = log_spaced(3000, per_decade=12)
UPDATES = np.diff(TIMES, prepend=0).astype(float)


def walks(make, ratio, *, fall=0.0, seeds=4, **options):
    """Runs of straightness ratio·(t/3000)^−fall, equal updates of squared length 1."""
    scale = ratio * (np.maximum(TIMES, 1) / 3000.0) ** -fall * TIMES
    share = np.array([0.5, 0.3, 0.2])
    return {
        f"s{seed}": make(
            seed=seed,
            records=TIMES,
            distance_sq=(1 + 0.01 * seed) * scale[:, None] * share,
            step_sq=UPDATES[:, None] * share,
            **options,
        )
        for seed in range(seeds)
    }


def test_r_is_the_squared_distance_over_the_path(make):
    found = random_motion(Study(walks(make, 0.2, fall=0.5)))
    # seeds 0.2·(1, 1.01, 1.02, 1.03): the geometric mean
    assert found.effect == pytest.approx(0.2 * np.prod([1, 1.01, 1.02, 1.03]) ** 0.25, rel=1e-9)
    assert found.verdict == "supported"
    assert "d ln R/d ln t = −0.500" in found.reason


def test_momentum_is_divided_out(make):
    plain, heavy = (random_motion(Study(walks(make, 19.0, momentum=m))) for m in (0.0, 0.9))
    assert heavy.effect == pytest.approx(plain.effect / 19)
    assert "momentum 0.9" in heavy.assumptions[0]


@pytest.mark.parametrize(
    ("ratio", "fall", "word"),
    [
        (1.0, 0.0, "contradicted"),
        (50.0, -0.5, "contradicted"),
        (0.2, 0.0, "undecidable"),
        (0.2, -0.2, "undecidable"),
        (0.6, 0.5, "undecidable"),
        # On either side of 1/3 and 0.9; the interval over the seeds is ±2 %.
        (0.3, 0.5, "supported"),
        (0.35, 0.5, "undecidable"),
        (0.93, 0.5, "contradicted"),
        (0.85, 0.5, "undecidable"),
        # Not far below 1, and falling no faster than t^−.1, or not at all.
        (0.79, 0.0, "contradicted"),
        (0.4, 0.05, "contradicted"),
        (0.4, 0.15, "undecidable"),
        (0.3, 0.0, "undecidable"),
        (0.33, 0.0, "undecidable"),
    ],
)
def test_r_is_judged_by_height_and_fall(make, ratio, fall, word):
    found = random_motion(Study(walks(make, ratio, fall=fall)))
    assert found.verdict == word
    assert bool(found.needed) == (word == "undecidable")


def test_a_share_that_stays_is_told_with_its_height(make):
    found = random_motion(Study(walks(make, 0.6, fall=0.05)))
    # The number is R, as where its height decides, and not the margin that decided.
    assert found.effect == pytest.approx(0.6 * np.prod([1, 1.01, 1.02, 1.03]) ** 0.25, rel=1e-9)
    assert found.effect_low < found.effect < found.effect_high
    assert found.null == pytest.approx((0, 1 / 3))
    assert "does not fall" in found.reason and "d ln R/d ln t = −0.050" in found.reason


def test_a_height_that_decides_is_told_before_a_share_that_stays(make):
    # The rising share of one arm lies farther from its bound than the height of the other.
    low = walks(make, 0.8, fall=-0.6)
    high = {f"h{k}": run.assign_coords(batch_size=256) for k, run in walks(make, 1.1).items()}
    found = random_motion(Study(low | high))
    assert found.verdict == "contradicted"
    assert "from 0.9 on it is not" in found.reason and "batch size 256" in found.effect_meaning
    assert "does not fall" in random_motion(Study(low)).reason


def spread(make, heights, falls):
    """Runs whose R ends at chosen heights after chosen falls, a run each."""
    runs = {}
    for seed, (height, fall) in enumerate(zip(heights, falls, strict=True)):
        (run,) = walks(make, height, fall=fall, seeds=1).values()
        runs[f"s{seed}"] = run.assign_coords(seed=seed)
    return runs


def test_intervals_across_seeds_decide_and_not_means(make):
    # Means of ln R below 1/3, and of the fall above 0, whose t intervals reach beyond.
    heights, falls = np.array([0.05, 0.1, 0.4, 0.8]), np.array([0.6, 0.1, -0.2, 0.1])
    found = random_motion(Study(spread(make, heights, np.full(4, 0.5)), 0.9))
    assert found.verdict == "undecidable"
    low, high = stats.ttest_1samp(np.log(heights), 0).confidence_interval(0.9)
    assert (found.effect_low, found.effect_high) == pytest.approx((np.exp(low), np.exp(high)))
    found = random_motion(Study(spread(make, 0.1 + 1e-5 * np.arange(4), falls), 0.9))
    assert found.verdict == "undecidable"
    # The fall decides: its mean, and the numbers that would tell it from 0.
    assert found.effect == pytest.approx(-0.15) and "falls" in found.effect_meaning
    assert found.need > found.have == 4 and "which decides" in found.needed
    low, high = stats.ttest_1samp(-falls, 0).confidence_interval(0.9)
    ends = f"[{low:.3f}, {high:.3f}]".replace("-", "−")
    assert f"d ln R/d ln t = −0.150 {ends}" in found.reason


@pytest.mark.parametrize("gap", [5, -3])
def test_a_path_with_a_gap_is_no_path(make, gap):
    runs = walks(make, 0.2, fall=0.5)
    runs["s1"]["step_sq"][gap] = np.nan
    found = random_motion(Study(runs))
    assert found.verdict == "undecidable"
    assert "no arm has 4" in found.reason


def test_few_known_distances_in_the_last_decade_have_no_fall(make):
    runs = walks(make, 0.2, fall=0.5)
    runs["s1"]["distance_sq"][(TIMES >= 300) & (TIMES < 3000)] = np.nan
    found = random_motion(Study(runs))
    assert found.verdict == "undecidable"
    assert "no arm has 4" in found.reason


def test_the_path_of_a_repaired_recording_is_none(make):
    runs = walks(make, 0.2, fall=0.5)
    runs["s1"].attrs["gaps"] = "[[40, 55]]"
    assert random_motion(Study(runs)).verdict == "undecidable"


def test_three_seeds_and_short_runs_decide_nothing(make):
    assert "3 seeds at most" in random_motion(Study(walks(make, 0.2, fall=0.5, seeds=3))).reason
    short = {name: run.isel(iteration=slice(0, 20)) for name, run in walks(make, 0.2).items()}
    assert "2.5 decades" in random_motion(Study(short)).needed
    # Records from 1 to 290 are 2.46 decades.
    ends = {last: walks(make, 0.05, fall=0.5) for last in (290, 400)}
    words = [
        random_motion(
            Study({n: run.sel(iteration=last >= TIMES) for n, run in runs.items()})
        ).verdict
        for last, runs in ends.items()
    ]
    assert words == ["undecidable", "supported"]


def test_runs_without_a_path_are_told_the_probe(make):
    found = random_motion(Study({"r": make(records=[0, 1, 2])}))
    assert found.reason == "No run recorded step_sq."
    assert "'path'" in found.needed


def test_every_arm_has_to_fall(make):
    falling, level = walks(make, 0.2, fall=0.5), walks(make, 0.2, batch_size=256)
    found = random_motion(Study(falling | {f"large-{name}": run for name, run in level.items()}))
    assert found.verdict == "undecidable"
    assert found.needed == "training on at the same rate until iteration 30,000"
    assert "batch size 256" in found.reason
    assert "d ln R/d ln t = 0.000" in found.reason  # of the arm that does not


def test_runs_without_noise_and_short_ones_are_named_and_change_nothing(make):
    runs = walks(make, 0.2, fall=0.5, data_size=100)
    found = random_motion(Study(runs))
    quiet = {"batch_size": 100, "data_size": 100, "gradient_difference": 0.0}
    still = {f"q{name}": run for name, run in walks(make, 9.0, fall=-1, **quiet).items()}
    short = {
        f"t{name}": run.isel(iteration=slice(0, 20))
        for name, run in walks(make, 9.0, batch_size=32, data_size=100).items()
    }
    more = random_motion(Study(runs | still | short))
    assert (more.verdict, more.effect, more.reason) == (found.verdict, found.effect, found.reason)
    assert any("4 runs left out: no gradient noise" in item for item in more.assumptions)
    assert any("4 runs left out: not 2.5 decades" in item for item in more.assumptions)
    alone = random_motion(Study(still))
    assert alone.verdict == "undecidable" and (alone.have, alone.need) == (0, 4)


def test_an_arm_of_which_little_is_known_does_not_take_the_answer_away(make):
    """Means near one third in another arm, whose interval reaches far."""
    clear = walks(make, 0.1, fall=0.5)
    wide = spread(make, [0.05, 0.1, 0.4, 0.8], np.full(4, 0.5))
    wide = {f"w{name}": run.assign_coords(batch_size=256) for name, run in wide.items()}
    assert random_motion(Study(wide)).verdict == "undecidable"
    assert random_motion(Study(clear | wide)).verdict == "supported"


def test_two_arms_say_together_what_none_does_alone(make):
    """ln R of 0.9 and above by 1.5 standard errors: not by one arm, but by all of six."""
    heights = 0.9 * np.exp(0.05 + 0.05 * np.array([-1.5, -0.5, 0.5, 1.5]))
    runs = {}
    for size in (32, 64, 128, 256, 512, 1024):
        for name, run in spread(make, heights, np.full(4, 0.3)).items():
            runs[f"b{size}-{name}"] = run.assign_coords(batch_size=size)
    one = {name: run for name, run in runs.items() if name.startswith("b32-")}
    assert random_motion(Study(one)).verdict == "undecidable"
    found = random_motion(Study(runs))
    assert found.verdict == "contradicted"
    assert "No arm says so by itself, all together do." in found.reason


def test_the_fall_is_that_of_the_last_decade(make):
    # R rises as t^½ up to iteration 300 and falls as t^−½ from there on.
    ratio = 0.2 * np.minimum(np.maximum(TIMES, 1) / 300, 300 / np.maximum(TIMES, 1)) ** 0.5
    squares = (ratio * TIMES)[:, None] * np.ones(3) / 3
    runs = {
        name: run.assign(distance_sq=(("iteration", "tensor"), (1 + 1e-5 * k) * squares))
        for k, (name, run) in enumerate(walks(make, 0.2).items())
    }
    found = random_motion(Study(runs))
    assert found.verdict == "supported"
    assert "d ln R/d ln t = −0.500" in found.reason


def test_r_is_read_where_the_constant_rate_ends(make):
    rate = np.where(TIMES <= 2000, 0.1, 0.01)
    more = {"learning_rate": rate, "learning_rate_sum": None}
    runs = walks(make, 0.2, fall=0.5, **more)
    cut = {name: run.sel(iteration=TIMES <= 2000) for name, run in runs.items()}
    whole, part = random_motion(Study(runs)), random_motion(Study(cut))
    assert (whole.effect, whole.reason) == (part.effect, part.reason)


def test_the_path_begins_with_the_first_update(make):
    runs = walks(make, 0.2, fall=0.5)
    found = random_motion(Study(runs)).effect
    for run in runs.values():
        run["step_sq"][0] = 1e6
    assert random_motion(Study(runs)).effect == found


def test_the_iteration_that_is_told_is_the_last_of_the_arm_that_is_named(make):
    """A shorter arm beside it had lent its own."""
    runs = walks(make, 2.0, batch_size=64)
    short = walks(make, 1.0, batch_size=256)
    last = int(TIMES[TIMES >= 500][0])
    cut = {f"short-{name}": run.sel(iteration=slice(0, last)) for name, run in short.items()}
    found = random_motion(Study(runs | cut))
    assert found.verdict == "contradicted" and found.effect_meaning.endswith("at batch size 64")
    assert "At batch size 64 the squared distance at iteration 3000 is" in found.reason
    assert found.span[1] == 3000
