import numpy as np
import pytest

from ultraslow.analysis.predictions.landscape.barriers import (
    Crossing,
    _rise,
    barriers,
    crossings,
)
from ultraslow.analysis.runs.readings import measured_temperature
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording.schedule import log_spaced

TIMES = log_spaced(3000, per_decade=6)
FRACTION = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
HEIGHT = np.array([0.0, 0.5, 1.0, 0.5, -0.2])


def lines(heights):
    """Losses 1 + h·HEIGHT on the lines that end at the records with a height."""
    return np.array([1 + h * HEIGHT if np.isfinite(h) else HEIGHT * np.nan for h in heights])


def climbing(make, ratio, *, seeds=4, power=1.0):
    """Runs whose barriers are ratio·T·(ln Δt)^power between all records after iteration 1."""
    runs = {}
    for seed in range(seeds):
        plain = make(seed=seed, records=TIMES, rate=0.1)
        heights = np.full(TIMES.size, np.nan)
        for k in range(3, TIMES.size):
            heat = measured_temperature(plain, (TIMES[k - 1], TIMES[k]))
            heights[k] = ratio * heat * np.log(max(TIMES[k] - TIMES[k - 1], 1)) ** power
        heights[2] = 0.0
        more = {"line_loss": lines(heights * (1 + 0.05 * seed)), "fraction": FRACTION}
        runs[f"s{seed}"] = make(seed=seed, records=TIMES, rate=0.1, **more)
    return runs


def test_a_crossing_is_the_climb_from_its_start(make):
    heights = np.full(TIMES.size, np.nan)
    heights[[5, 9, 14]] = 0.1, 0.3, 0.0
    run = make(records=TIMES, line_loss=lines(heights), fraction=FRACTION)
    # The first line starts at iteration 0, where no rate is known yet.
    assert crossings(run) == [
        Crossing(TIMES[5], TIMES[9], pytest.approx(0.3), pytest.approx(np.log(1.3))),
        Crossing(TIMES[9], TIMES[14], 0.0, 0.0),
    ]


def test_a_line_starts_at_the_checkpoint_before_also_when_that_has_no_line(make):
    heights = np.full(TIMES.size, np.nan)
    heights[[5, 14]] = 0.1, 0.3
    center = np.where(np.isin(np.arange(TIMES.size), [0, 5, 9, 14]), 1.0, np.nan)[:, None]
    more = {"center_loss": center, "ensemble": ["noise"], "fraction": FRACTION}
    run = make(records=TIMES, line_loss=lines(heights), **more)
    assert [(item.start, item.end) for item in crossings(run)] == [(TIMES[9], TIMES[14])]


def test_lines_that_are_not_finite_are_left_out(make):
    heights = np.full(TIMES.size, np.nan)
    heights[[5, 9, 14]] = 0.1, 0.3, 0.2
    loss = lines(heights)
    loss[9, 2] = np.inf
    run = make(records=TIMES, line_loss=loss, fraction=FRACTION)
    assert [item.end for item in crossings(run)] == [TIMES[14]]


@pytest.mark.parametrize(
    ("ratio", "word"), [(1.0, "supported"), (0.0, "contradicted"), (10.0, "undecidable")]
)
def test_barriers_are_set_against_temperature(make, ratio, word):
    found = barriers(Study(climbing(make, ratio)))
    assert found.verdict == word
    if ratio:
        # factors 1, 1.05, 1.10, 1.15 over the seeds
        assert found.effect == pytest.approx(ratio * np.prod([1, 1.05, 1.1, 1.15]) ** 0.25)


def test_no_climb_at_all_is_told_as_a_bound(make):
    found = barriers(Study(climbing(make, 0.0)))
    assert (found.effect, found.effect_low) == (pytest.approx(1e-3), 0)
    assert "does not rise on the straight line" in found.reason
    assert "0.001 of T·ln Δt or less" in found.reason
    some = barriers(Study(climbing(make, 0.01)))
    assert 0 < some.effect_low < some.effect and "or less" not in some.reason


def test_high_straight_lines_ask_for_paths_of_least_barrier(make):
    found = barriers(Study(climbing(make, 10.0)))
    assert "a walker may go around" in found.reason
    assert "least barrier" in found.needed


def test_barriers_that_do_not_rise_are_not_activation(make):
    found = barriers(Study(climbing(make, 4.0, power=0.0)))
    assert found.verdict == "undecidable"
    assert "not shown to rise" in found.reason and "rise of the barrier" in found.effect_meaning


def test_an_arm_without_any_climb_contradicts_beside_one_with_barriers(make):
    """Its climbs of nothing have no rise."""
    runs = climbing(make, 1.0)
    flat = climbing(make, 0.0)
    more = {f"f{name}": run.assign_coords(batch_size=256) for name, run in flat.items()}
    found = barriers(Study(runs | more))
    assert found.verdict == "contradicted" and "At batch size 256" in found.reason


def test_runs_whose_lines_lack_their_start_are_named_and_change_nothing(make):
    runs = climbing(make, 1.0)
    other = {f"f{name}": run.assign_coords(batch_size=256) for name, run in runs.items()}
    cut = {name: run.isel(fraction=slice(1, None)) for name, run in other.items()}
    found = barriers(Study(runs | cut))
    assert (found.verdict, found.effect) == ("supported", barriers(Study(runs)).effect)
    assert any("4 runs left out: lines that were not" in item for item in found.assumptions)


def test_lines_without_a_start_or_noise_say_so(make):
    runs = climbing(make, 1.0)
    cut = {name: run.isel(fraction=slice(1, None)) for name, run in runs.items()}
    assert "fraction 0" in barriers(Study(cut)).needed
    quiet = {name: run.drop_vars("noise_trace") for name, run in runs.items()}
    assert barriers(Study(quiet)).reason == "No run recorded noise_trace."
    assert barriers(Study({"r": make(records=[0, 1])})).reason == "No run recorded line_loss."


@pytest.mark.parametrize(
    ("ratio", "word"),
    # The interval over the seeds is ±12 %.
    [
        (0.2, "contradicted"),
        (0.3, "undecidable"),
        (0.45, "supported"),
        (2.2, "supported"),
        (3.0, "undecidable"),
        (9.0, "undecidable"),
    ],
)
def test_only_low_barriers_contradict(make, ratio, word):
    found = barriers(Study(climbing(make, ratio)))
    assert found.verdict == word
    assert found.null == pytest.approx((1 / 3, 3))


def crossing(length, barrier):
    return Crossing(100, 100 + length, barrier, barrier)


def test_the_rise_is_a_slope_in_units_of_the_mean():
    # (2 − 1)/ln 3.1 over the mean 1.5; below a factor of 3 there is too little to see one.
    assert _rise([crossing(10, 1.0), crossing(31, 2.0)]) == pytest.approx(1 / np.log(3.1) / 1.5)
    assert np.isnan(_rise([crossing(10, 1.0), crossing(29, 2.0)]))
    assert np.isnan(_rise([crossing(10, 0.0), crossing(31, 0.0)]))


def test_lines_after_the_constant_rate_are_left_out(make):
    rate = np.where(TIMES[-4] >= TIMES, 0.1, 0.01)
    heights = np.full(TIMES.size, np.nan)
    heights[[5, 9, -4, -2, -1]] = 0.1
    more = {"learning_rate": rate, "learning_rate_sum": None, "fraction": FRACTION}
    run = make(records=TIMES, line_loss=lines(heights), **more)
    assert [item.end for item in crossings(run)] == [TIMES[9], TIMES[-4]]


def test_the_order_of_the_fractions_does_not_matter(make):
    run = climbing(make, 1.0, seeds=1)["s0"]
    assert crossings(run.isel(fraction=[3, 0, 4, 2, 1])) == crossings(run)


@pytest.mark.parametrize(("lines_kept", "decided"), [(4, False), (5, True)])
def test_four_ways_are_needed(make, lines_kept, decided):
    # Of five lines the first has no checkpoint at a known rate to start from.
    runs = climbing(make, 1.0)
    for run in runs.values():
        run["line_loss"][:-lines_kept] = np.nan
        run["line_loss"][2] = np.nan
    found = barriers(Study(runs))
    assert np.isfinite(found.effect) == decided
    assert ("too few checkpoints: 3 pairs" in found.reason) == (not decided)
    if not decided:
        assert "6 checkpoints a run" in found.needed
        assert (found.have, found.need, found.unit) == (4.0, 6.0, "checkpoints")


def test_runs_without_any_way_between_checkpoints_ask_for_checkpoints(make):
    # As where the training set is fitted before the second checkpoint.
    runs = climbing(make, 1.0)
    for run in runs.values():
        run["line_loss"][:] = np.nan
        run["line_loss"][-1] = 1.0
        run["learning_rate"][-3:] = 0.01
    found = barriers(Study(runs))
    assert found.verdict == "undecidable" and "0 pairs" in found.reason
    assert "6 checkpoints a run" in found.needed
