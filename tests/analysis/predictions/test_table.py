import math

import pytest
import xarray as xr

from ultraslow.analysis.predictions import table as hypotheses
from ultraslow.analysis.predictions.table import TESTS
from ultraslow.analysis.predictions.verdict import Verdict
from ultraslow.analysis.study import Sample, Study
from ultraslow.diffusion.predictions import PREDICTIONS

FEW = [0, 1, 2, 4, 8]
ITEM = Verdict(
    prediction="P1",
    statement="claim",
    verdict="contradicted",
    reason="reason",
    effect_meaning="exponent",
    effect=0.5,
    effect_low=0.4,
    effect_high=math.inf,
    null=(-0.05, 0.05),
    span=(1.0, 1500.0),
    have=2.0,
    need=4.0,
    unit="seeds",
    sample=Sample(5, 2, (64, 256)),
    assumptions=("first", "second"),
    needed="",
)


def test_a_verdict_keeps_all_it_says_in_the_table():
    table = hypotheses.as_dataset({"all runs": [ITEM]}, level=0.9)
    row = table.isel(set=0, prediction=0)
    for name in ("statement", "verdict", "reason", "effect_meaning", "needed"):
        assert str(row[name].values) == getattr(ITEM, name)
    for name, value in zip(("null_low", "null_high"), ITEM.null, strict=True):
        assert float(row[name]) == value
    for name, value in zip(("first", "last"), ITEM.span, strict=True):
        assert float(row[name]) == value
    assert str(row["unit"].values) == "seeds"
    for name in ("effect", "effect_low", "effect_high", "have", "need"):
        assert float(row[name]) == getattr(ITEM, name)
    assert (int(row["runs"]), int(row["seeds"]), str(row["batch_sizes"].values)) == (
        5,
        2,
        "64, 256",
    )
    assert str(row["assumptions"].values) == "first; second"
    assert table.attrs["level"] == 0.9


def test_every_column_says_what_it_means():
    table = hypotheses.as_dataset({"a": [ITEM, ITEM], "b": [ITEM, ITEM]}, level=0.95)
    assert set(table.data_vars) == set(hypotheses.COLUMNS)
    for name, meaning in hypotheses.COLUMNS.items():
        assert table[name].attrs["long_name"] == meaning
        assert table[name].dims == ("set", "prediction")


def test_the_table_survives_a_file(tmp_path):
    table = hypotheses.as_dataset({"all runs": [ITEM]}, level=0.95)
    table.to_netcdf(tmp_path / "verdicts.nc", engine="netcdf4")
    with xr.open_dataset(tmp_path / "verdicts.nc", engine="netcdf4") as read:
        xr.testing.assert_identical(read.load(), table)


def test_each_prediction_has_its_test_and_is_judged_by_it(make, tree):
    runs = {f"r{k}": make(seed=k, records=FEW) for k in range(3)}
    assert list(TESTS) == list(PREDICTIONS)
    found = hypotheses.test(tree(*runs.values()))
    assert found["prediction"].values.tolist() == list(TESTS)
    study = Study(runs)
    for name, decide in TESTS.items():
        verdict = decide(study)
        assert verdict.prediction == name
        assert str(found["reason"].sel(set="all runs", prediction=name).values) == verdict.reason


def test_a_set_without_any_arm_is_undecidable_throughout_and_says_what_is_missing(make):
    study = Study({"r": make(records=FEW)})
    for decide in TESTS.values():
        item = decide(study)
        assert item.verdict == "undecidable"
        assert item.reason.endswith(".")
        assert item.needed
        assert math.isnan(item.effect)


def test_no_recording_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="runs: found no recording"):
        hypotheses.test(xr.DataTree())


def test_pytest_does_not_collect_the_public_function():
    assert hypotheses.test.__test__ is False


def test_copies_are_noted_beside_the_verdicts(make, tree):
    run = make(records=FEW)
    assert "1 recording is a copy" in hypotheses.test(tree(run, run)).attrs["note"]
    assert hypotheses.test(tree(run)).attrs["note"] == ""
