"""What `diffusion.predictions` says a run has to hold is what the tests ask of it."""

import numpy as np
import pytest

from ultraslow.analysis.predictions.table import TESTS
from ultraslow.analysis.study import Study
from ultraslow.diffusion.predictions import PREDICTIONS, lacking
from ultraslow.diffusion.scaling import RULES

# Coordinates by which runs are sorted, and not fields that a test asks for.
SORTED_BY = {"seed": ("P5", "P6"), "scaling": ("P2", "P2'", "H-b")}
SCORES = ("P3", "H-a", "H-c")


@pytest.fixture
def asked(monkeypatch):
    """Fields that are asked of runs."""
    found = []
    whole = Study.comparable

    def listening(self, *fields):
        found.append(set(fields))
        return whole(self, *fields)

    monkeypatch.setattr(Study, "comparable", listening)
    return found


def runs_of(make, sizes=(64, 256), *, scaling="sqrt", without=(), **more):
    power = {"fixed": 0.0, "linear": 1.0}.get(scaling, 0.5)
    return {
        f"b{size}-s{seed}": make(
            batch_size=size,
            seed=seed,
            last=400,
            scaling=scaling,
            rate=0.01 * (size / 64) ** power,
            **more,
        ).drop_vars(without)
        for size in sizes
        for seed in range(4)
    }


@pytest.mark.parametrize("key", TESTS)
def test_the_fields_that_a_test_asks_for_are_needed(key, make, asked):
    TESTS[key](Study(runs_of(make, data_size=512)))
    of_others = {"P2", "P2'"}  # tell the slopes' law beside the verdict
    for fields in asked if key not in of_others else []:
        assert fields <= set(PREDICTIONS[key].needs), key


@pytest.mark.parametrize(("label", "keys"), SORTED_BY.items())
def test_runs_without_a_label_take_no_part(label, keys, make):
    """What is decided on runs with it is not on the same runs without."""
    for key in keys:
        rule = "fixed" if key == "P6" else (PREDICTIONS[key].scalings or ("sqrt",))[0]
        sizes = (64, 512) if key in ("H-b", "P6") else (64, 128)
        options = {"data_size": 512, "scaling": rule, "gradient_difference": 0.0}
        said = TESTS[key](Study(runs_of(make, sizes, **options)))
        without = TESTS[key](Study(runs_of(make, sizes, without=[label], **options)))
        assert without.verdict in ("undecidable", "not applicable"), key
        assert not np.isfinite(without.effect), key
        assert np.isfinite(said.effect) or said.reason != without.reason, key


@pytest.mark.parametrize("rule", RULES)
def test_runs_of_another_rule_take_no_part(rule, make):
    fields = set(next(iter(runs_of(make, data_size=512).values())).variables)
    for key in SORTED_BY["scaling"]:
        sizes = (64, 512) if key == "H-b" else (64, 128)
        said = TESTS[key](Study(runs_of(make, sizes, scaling=rule, data_size=512)))
        assert np.isfinite(said.effect) == (not lacking(fields, rule)[key]), (key, said.reason)


def test_runs_without_scores_are_told_so(make):
    for key in SCORES:
        said = TESTS[key](Study(runs_of(make, data_size=512)))
        assert "held-out value" in said.reason, key
        assert "held_out" in PREDICTIONS[key].needs
