"""Verdicts that name a run which differs from all other seeds of its arm."""

import numpy as np
import pytest

from ultraslow.analysis.predictions.odd_seeds import naming_odd_runs
from ultraslow.analysis.predictions.table import TESTS, verdicts_on
from ultraslow.analysis.study import Study

RECORDS = np.unique(np.round(np.geomspace(1, 10_000, 61)).astype(int))


def runs(make, odd, *, sizes=(64,), seeds=5):
    """Arms that grow like t^0.4, with one run of the first that is made otherwise."""
    found = {}
    for size in sizes:
        for seed in range(seeds):
            own = odd if (size, seed) == (sizes[0], 3) else {}
            settings = {"exponent": 0.4, "noise": 0.003, "records": RECORDS, **own}
            name = f"b{size}-s{seed}"
            found[name] = make(run=name, batch_size=size, seed=seed, **settings)
    return found


@pytest.fixture(scope="module")
def blocked(make):
    """Four powers of t and a logarithm, which leave P1 open."""
    return Study(runs(make, {"exponent": 0.0, "slope": 3.0}))


def test_an_odd_seed_that_blocks_a_verdict_is_named_in_reason_and_advice(blocked):
    verdict = verdicts_on(blocked).sel(prediction="P1").isel(set=0)
    assert str(verdict["verdict"].values) == "undecidable"  # it is counted all the same
    assert int(verdict["runs"]) == 5
    for told in (str(verdict["reason"].values), str(verdict["brief"].values)):
        assert "b64-s3 differs from the other 4 seeds at batch size 64" in told
        assert "; without it: contradicted, 0.399 [" in told
    assert str(verdict["needed"].values).startswith(
        "perhaps what sets b64-s3 apart, as without it this is contradicted; otherwise "
    )


def test_without_it_is_what_the_test_says_of_the_other_runs(blocked):
    others = blocked.part(node for node in blocked.runs if node != "b64-s3")
    alone = TESTS["P1"](others)
    plain = TESTS["P1"](blocked)
    assert naming_odd_runs(plain, blocked, TESTS["P1"]).reason.startswith(plain.reason)
    assert alone.verdict == "contradicted"
    assert (
        f"contradicted, {alone.effect:.3f}" in naming_odd_runs(plain, blocked, TESTS["P1"]).reason
    )
    # Nothing is odd among the others, and verdicts without an estimate rest on none.
    assert naming_odd_runs(alone, others, TESTS["P1"]) == alone
    lacking = TESTS["P4"](blocked)
    assert naming_odd_runs(lacking, blocked, TESTS["P4"]) == lacking


def test_curves_that_coincide_but_for_one_run_name_it(make):
    study = Study(runs(make, {"slope": 3.0}, sizes=(64, 256)))
    verdict = verdicts_on(study).sel(prediction="P2").isel(set=0)
    assert str(verdict["verdict"].values) == "undecidable"
    assert "b64-s3 differs from the other 4 seeds" in str(verdict["reason"].values)
    assert "without it: supported" in str(verdict["reason"].values)
    assert "b64-s3" in str(verdict["needed"].values)


def test_a_copy_of_an_odd_run_does_not_stand_in_for_it(make):
    found = runs(make, {"exponent": 0.0, "slope": 3.0})
    copy = found["b64-s3"].assign_coords(run="again", seed=9)
    plain = TESTS["P1"](study := Study(found | {"again": copy}))
    told = naming_odd_runs(plain, study, TESTS["P1"]).reason
    assert "; without it: contradicted" in told
