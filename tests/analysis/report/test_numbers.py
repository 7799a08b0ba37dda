import hashlib
import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ultraslow.analysis import load
from ultraslow.analysis.growth.runs import fit_tensors, fit_totals
from ultraslow.analysis.predictions.table import as_dataset
from ultraslow.analysis.predictions.verdict import Verdict
from ultraslow.analysis.report import numbers as provenance
from ultraslow.analysis.text import real

FEW = [0, 1, 2, 4, 8]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)


@given(VALUES)
def test_every_value_becomes_strict_json(value):
    text = json.dumps(provenance.plain(value), allow_nan=False)
    assert json.loads(text) == provenance.plain(value)


@given(st.floats())
def test_a_number_is_read_back_from_its_plain_form(value):
    back = real(provenance.plain(np.float64(value)))
    assert back == value or (math.isnan(back) and math.isnan(value))


def test_arrays_become_lists_of_plain_numbers():
    found = provenance.plain({"a": np.array([[1.0, np.nan]]), 2: (np.bool_(True), np.int32(3))})
    assert found == {"a": [[1.0, None]], "2": [True, 3]}
    assert type(found["2"][1]) is int


def test_the_hash_is_that_of_the_file(save, tmp_path):
    path = save("one", records=FEW)
    (row,) = provenance.inputs(load(path))
    assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert row["path"] == str(path)
    assert row["last_iteration"] == 8
    assert row["records"] == 5
    assert (row["tensors"], row["weights"]) == (3, 910)
    assert row["constant_rate_decades"] == pytest.approx(math.log10(8))
    assert row["attributes"]["config"] == {"depth": 8}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": NaN}', {"a": None}),
        ("{broken", "{broken"),
        ("[" * 100_000, "[" * 100_000),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_attributes_that_are_no_json_stay_text(make, tree, text, expected):
    run = make(records=FEW)
    run.attrs["note"] = text
    (row,) = provenance.inputs(tree(run))
    assert row["attributes"]["note"] == expected


def test_labels_that_are_missing_are_null(make, tree):
    (row,) = provenance.inputs(tree(make(records=FEW, scaling=None).drop_vars("seed")))
    assert row["seed"] is row["scaling"] is row["optimizer"] is None


def test_a_run_without_a_rate_has_none(make, tree):
    (row,) = provenance.inputs(tree(make(records=FEW, learning_rate=None)))
    assert row["learning_rate"] is None
    assert row["constant_rate_decades"] == 0


def test_versions_name_what_the_numbers_depend_on():
    found = provenance.versions()
    assert found["numpy"] == np.__version__
    assert set(found) == {"python", *provenance.VERSIONS}


def test_the_time_is_now_and_in_utc():
    age = datetime.now(UTC) - datetime.fromisoformat(provenance.now())
    assert timedelta(0) <= age < timedelta(seconds=10)


def test_a_fit_is_one_row_with_the_labels_of_its_run(make):
    runs = {"a": make(records=FEW, run="one"), "b": make(records=FEW, run="two", seed=1)}
    rows = provenance.fit_rows(fit_totals(runs))
    assert [(row["node"], row["run"], row["seed"]) for row in rows] == [
        ("a", "one", "0"),
        ("b", "two", "1"),
    ]
    assert rows[0]["exponent"] is None
    assert rows[0]["reason"].startswith("4 records")


def test_tensors_are_rows_in_the_order_of_runs_and_tensors(make):
    runs = {f"r{k}": make(records=FEW, seed=k) for k in range(2)}
    fits = fit_tensors(runs, intervals=False)
    numbers = np.arange(6.0).reshape(2, 3)
    rows = provenance.fit_rows(fits.assign(exponent=(("node", "tensor"), numbers)))
    for row in rows:
        where = {"node": row["node"], "tensor": row["tensor"]}
        at = list(runs).index(row["node"]), fits["tensor"].values.tolist().index(row["tensor"])
        assert row["exponent"] == numbers[at], where
    assert len(rows) == 6


def test_a_verdict_is_one_row():
    item = Verdict("P2", "claim", "supported", "reason", "ratio", effect_high=math.inf)
    (row,) = provenance.verdict_rows(as_dataset({"all runs": [item]}, level=0.95))
    assert (row["prediction"], row["verdict"], row["effect"]) == ("P2", "supported", None)
    assert row["effect_high"] == "inf"


def test_noise_scales_say_why_there_is_none(make):
    nothing = {"gradient_sq": None, "noise_trace": None, "noise_updates": None}
    runs = {"a": make(), "b": make(seed=1, **nothing)}
    known, unknown = provenance.noise_rows(runs, level=0.95)
    # The simulated recordings have tr Σ/|G|² = 200.
    assert known["low"] < 200 < known["high"]
    assert unknown["estimate"] is None
    assert unknown["reason"] == "no gradient noise was recorded"
