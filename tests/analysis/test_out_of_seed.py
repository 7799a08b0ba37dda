import numpy as np
import pytest

from analysis.clocks import CLOCKS, ITERATION, NOISE, RATE, clock_values
from analysis.out_of_seed import best_clock, clock_errors
from diffusion.schedule import log_spaced

TIMES = log_spaced(10_000, per_decade=8)


def sweep(make, clock, *, seeds=4, sizes=(64, 256), power=0.75):
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
    runs = sweep(make, clock)
    errors = {name: np.mean(list(clock_errors(runs, name).values())) for name in CLOCKS}
    assert min(errors, key=errors.get) == clock
    assert errors[clock] < 0.01
    assert best_clock(runs).startswith(f"curves coincide best over {clock} (out-of-seed errors")


def test_an_error_is_that_of_the_other_seeds_of_the_other_arms(make):
    runs = sweep(make, ITERATION, seeds=2)
    errors = clock_errors(runs, ITERATION)
    # Each run is predicted by the one run of the other arm and seed: ln 1.001 apart.
    assert errors == {0: pytest.approx(np.log(1.001)), 1: pytest.approx(np.log(1.001))}


def test_errors_equal_a_naive_loop_over_runs(make):
    """Three arms and three seeds, of which one arm has a fourth, each with a curve of its own."""
    runs = sweep(make, RATE, seeds=3, sizes=(64, 256, 1024)) | sweep(make, RATE, sizes=(256,))
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
    assert clock_errors(runs, NOISE) == expected


def test_runs_without_a_seed_are_left_out_of_no_mean(make):
    runs = {name: run.drop_vars("seed") for name, run in sweep(make, RATE).items()}
    assert clock_errors(runs, RATE) == {} and best_clock(runs) == ""
    some = {
        name: run.drop_vars("seed") if name.endswith("s3") else run
        for name, run in sweep(make, RATE).items()
    }
    assert list(clock_errors(some, RATE)) == [0, 1, 2]


def test_one_clock_alone_is_not_the_best(make):
    runs = sweep(make, ITERATION, sizes=(64, 64 * 10**7))  # far apart on all other clocks
    assert [clock for clock in CLOCKS if clock_errors(runs, clock)] == [ITERATION]
    assert best_clock(runs) == ""


def test_of_clocks_that_run_alike_the_first_is_named(make):
    # Under the √M rule Ση²/M is proportional to the iterations.
    for seeds in (2, 3, 4):
        runs = sweep(make, ITERATION, seeds=seeds, sizes=(64, 256, 512), power=0.5)
        found = best_clock(runs)
        assert found.startswith("curves coincide best over iteration, not told from Ση²/M (")


def test_one_seed_or_one_arm_scores_nothing(make):
    assert clock_errors(sweep(make, RATE, seeds=1), RATE) == {}
    assert clock_errors(sweep(make, RATE, sizes=(64,)), RATE) == {}
    assert best_clock(sweep(make, RATE, sizes=(64,))) == ""


def test_only_the_last_common_decade_counts(make):
    runs = sweep(make, ITERATION)
    found = clock_errors(runs, ITERATION)
    for run in runs.values():
        run["distance_sq"][TIMES < 800] *= 1 + int(run["batch_size"]) / 64
    assert clock_errors(runs, ITERATION) == found


def test_less_than_a_common_decade_scores_nothing(make):
    runs = sweep(make, ITERATION)
    late = {
        name: run.isel(iteration=TIMES > 1200) if name.startswith("b256") else run
        for name, run in runs.items()
    }
    assert clock_errors(late, ITERATION) == {}


def test_a_clock_that_is_better_by_chance_is_not_told_from_the_next(make):
    runs = sweep(make, ITERATION)
    assert ", not told from" not in best_clock(runs)
    # Where seeds differ by factors, all clocks miss by about as much, in some seeds more.
    for name, run in runs.items():
        run["distance_sq"][:] *= 4.0 ** ((7 * int(name[-1]) + int(run["batch_size"]) // 64) % 5)
    assert ", not told from" in best_clock(runs)
