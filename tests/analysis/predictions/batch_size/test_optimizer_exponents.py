import math

import numpy as np
import pytest

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.predictions.batch_size.optimizer_exponents import (
    OptimizerExponents,
    optimizer_exponents,
)
from ultraslow.analysis.predictions.batch_size.slope_law import SlopeLaw
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording.schedule import log_spaced

TIMES = log_spaced(3000, per_decade=10)
ARMS = ((64, 0.05, "sqrt"), (256, 0.1, "sqrt"), (1024, 0.2, "sqrt"), (1024, 0.05, "fixed"))
# Exponents x and y of d ∝ η^x·M^−y, and of B ∝ η^u·M^v.
TRUE = {"sgd": (1.0, 0.5, 0.2, 0.1), "muon": (0.9, 0.9, 0.0, 0.3), "adamw": (0.4, -0.1, 0.0, 0.0)}


def study(make, *, arms=ARMS, seeds=4, spread=0.0, optimizers=TRUE, **options):
    """Runs of d = (η/0.05)^x·(64/M)^y·(1 + ln t), alike but for a factor of each run."""
    rng, runs = np.random.default_rng(7), {}
    for name, (x, y, u, v) in optimizers.items():
        for size, rate, rule in arms:
            for seed in range(seeds):
                factor = (rate / 0.05) ** x * (64 / size) ** y
                factor *= math.exp(spread * rng.standard_normal())
                run = make(
                    batch_size=size, rate=rate, scaling=rule, seed=seed, optimizer=name,
                    noise=0.0, records=TIMES, **options,
                )  # fmt: skip
                scale = 200 * (rate / 0.05) ** u * (size / 64) ** v
                run["distance_sq"] = run["distance_sq"] * factor**2
                run["noise_trace"] = run["gradient_sq"] * scale
                runs[f"{name}-{rule}{size}-s{seed}"] = run
    return Study(runs)


def by_place(found):
    return {(one.optimizer, one.of, one.clock): one for one in found}


def test_known_exponents_come_back_for_each_optimizer(make):
    found = by_place(optimizer_exponents(study(make)))
    for label, (x, y, u, v) in {"SGD": TRUE["sgd"], "AdamW": TRUE["adamw"]}.items():
        law = found[label, "distance", "iteration"].law
        assert (law.rate.value, law.size.value) == pytest.approx((x, y), abs=1e-6)
        assert law.power.value == pytest.approx(y / x, abs=1e-6)
        law = found[label, "noise scale", "iteration"].law
        assert (law.rate.value, law.size.value) == pytest.approx((u, -v), abs=1e-6)
    # M from 64 to 1024: 16^(x/2 − y) under √M and 16^(x − y) under M.
    ratios = found["AdamW", "distance", "iteration"].ratios
    assert ratios[0.5].value == pytest.approx(16**0.3) and ratios[1.0].value == pytest.approx(4)


def test_each_optimizer_is_judged_by_the_rule_that_serves_it(make):
    found = by_place(optimizer_exponents(study(make, spread=0.003)))
    better = {
        name: one.better
        for (name, of, clock), one in found.items()
        if of == "distance" and clock == "iteration"
    }
    assert better == {"SGD": "√M", "Muon": "M", "AdamW": "√M, nearer"}
    assert all(one.better == "" for one in found.values() if one.of == "noise scale")
    noisy = by_place(optimizer_exponents(study(make, spread=0.4)))
    assert noisy["SGD", "distance", "iteration"].better == "cannot tell"


def test_clocks_in_which_runs_share_no_decade_are_left_out(make):
    clocks = {
        one.clock for one in optimizer_exponents(study(make, optimizers={"sgd": TRUE["sgd"]}))
    }
    assert clocks == {"iteration", "Ση", "Ση²/M", "samples"}
    few = ((64, 0.05, "sqrt"), (4096, 0.4, "sqrt"), (4096, 0.05, "fixed"))
    short = study(make, arms=few, optimizers={"sgd": TRUE["sgd"]})
    short = Study(
        {name: run.isel(iteration=run["iteration"] <= 300) for name, run in short.runs.items()}
    )
    assert "samples" not in {one.clock for one in optimizer_exponents(short)}


def test_one_distance_means_the_same_on_every_clock(make):
    """d ∝ η·M^−½·f(t) with f = 1 + ln t: at equal Ση, t = Ση/η, so that other exponents hold."""
    found = by_place(optimizer_exponents(study(make, optimizers={"sgd": TRUE["sgd"]})))
    law = found["SGD", "distance", "samples"].law
    # At equal samples t = n/M: ln f falls with M, and x stays what it is.
    assert law.rate.value == pytest.approx(1.0, abs=0.02)
    assert law.size.value > 0.5 + 0.05
    law = found["SGD", "distance", "Ση"].law
    assert law.size.value == pytest.approx(0.5, abs=0.02) and law.rate.value < 1.0 - 0.05


def test_arms_of_one_rule_tell_that_rule_and_no_other(make):
    (one,) = (
        one
        for one in optimizer_exponents(study(make, arms=ARMS[:3], optimizers={"sgd": TRUE["sgd"]}))
        if (one.of, one.clock) == ("distance", "iteration")
    )
    assert list(one.ratios) == [0.5] and one.better == "cannot tell"
    assert one.law.rate is None and "η ∝ M^0.5" in one.law.reason


def test_without_arms_or_seeds_there_is_nothing(make):
    assert optimizer_exponents(study(make, arms=ARMS[:1])) == []
    assert optimizer_exponents(study(make, seeds=1)) == []
    assert optimizer_exponents(study(make, loss=None, learning_rate=None)) == []
    bare = study(make, optimizers={"sgd": TRUE["sgd"]})
    bare = Study({name: run.drop_vars(["noise_trace"]) for name, run in bare.runs.items()})
    assert {one.of for one in optimizer_exponents(bare)} == {"distance"}


def interval(low, high):
    return Interval((low + high) / 2, low, high, 4)


@pytest.mark.parametrize(
    ("root", "linear", "between", "word"),
    [
        ((-0.01, 0.01), (0.3, 0.4), (0.1, 0.2), "√M"),
        ((-0.4, -0.3), (-0.01, 0.01), (-0.2, -0.1), "M"),
        ((0.1, 0.2), (0.3, 0.4), (0.2, 0.3), "√M, nearer"),
        ((-0.4, -0.3), (-0.2, -0.1), (-0.3, -0.2), "M, nearer"),
        ((-0.01, 0.01), (-0.02, 0.02), (-0.01, 0.01), "both"),
        ((-0.3, 0.3), (0.1, 0.7), (-0.1, 0.5), "cannot tell"),
        # Neither does, on either side of 0: which is nearer is not known.
        ((-0.3, -0.2), (0.2, 0.3), (-0.05, 0.05), "cannot tell"),
        ((-0.01, 0.01), (-0.01, 0.1), (-0.005, 0.05), "cannot tell"),
    ],
)
def test_the_rule_that_is_better_is_told_where_it_is_certain(root, linear, between, word):
    combined = {0.5: interval(*root), 1.0: interval(*linear), 0.75: interval(*between)}
    law = SlopeLaw(interval(0.5, 0.7), interval(0.2, 0.3), combined, arms=4)
    one = OptimizerExponents("SGD", "distance", "iteration", (30.0, 300.0), law, (64, 1024))
    assert one.better == word
    backward = SlopeLaw(interval(-0.7, 0.5), interval(0.2, 0.3), combined, arms=4)
    told = OptimizerExponents("SGD", "distance", "iteration", (3.0, 30.0), backward, (64, 1024))
    assert told.better in (word, "cannot tell")
