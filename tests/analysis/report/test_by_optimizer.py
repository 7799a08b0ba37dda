import json

import pytest

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.predictions.batch_size.optimizer_exponents import OptimizerExponents
from ultraslow.analysis.predictions.batch_size.slope_law import SlopeLaw
from ultraslow.analysis.report.by_optimizer import (
    exponent_records,
    optimizer_table,
    rules_table,
)


def interval(low, high):
    return Interval((low + high) / 2, low, high, 4)


KNOWN = SlopeLaw(
    interval(0.9, 1.1),
    interval(0.4, 0.6),
    {0.5: interval(-0.01, 0.01), 1.0: interval(0.4, 0.6), 0.75: interval(0.2, 0.3)},
    interval(0.45, 0.55),
    arms=5,
    departure=0.04,
)
TIED = SlopeLaw(
    combined={0.5: interval(-0.2, 0.1)}, arms=3, reason="η ∝ M^0.5 in all arms used", needed="one"
)
SIZES = (64, 1024)
FOUND = [
    OptimizerExponents("SGD", "distance", "iteration", (30.0, 300.0), KNOWN, SIZES),
    OptimizerExponents("SGD", "noise scale", "iteration", (30.0, 300.0), KNOWN, SIZES),
    OptimizerExponents("Muon", "distance", "Ση", (3.0, 30.0), TIED, SIZES),
]


def test_exponents_stand_with_intervals_and_the_sign_that_m_has():
    rows = optimizer_table(FOUND).terminal().splitlines()
    assert rows[1].split() == [
        *("SGD", "distance", "at", "equal", "iterations"),
        *("1.000", "[0.9,", "1.1]", "−0.500", "[−0.6,", "−0.4]", "4%"),
    ]
    assert rows[2].split()[:4] == ["SGD", "noise", "scale", "at"]
    assert rows[3].split()[-5:] == ["–", "–", "–", "–", "–"]
    text = " ".join(optimizer_table(FOUND).terminal().split())
    assert "Muon: η and M not told apart, as η ∝ M^0.5 in all arms used (would tell: one)." in text
    assert "4 seeds at least" in text


def test_rules_stand_with_what_they_leave_between_batch_sizes():
    rows = rules_table(FOUND).terminal().splitlines()
    # 16^±0.01 is 0.973 to 1.028, and 16^0.5 is 4.
    assert rows[1].split() == [
        *("SGD", "iterations", "1.000", "[0.973,", "1.03]", "4.000", "[3.03,", "5.28]"),
        *("0.500", "[0.45,", "0.55]", "√M"),
    ]
    assert rows[2].split()[:3] == ["Muon", "Ση", "0.871"]
    assert rows[2].endswith("cannot tell") and "–" in rows[2]
    assert rules_table(FOUND[1:2]).rows == []


def test_json_holds_what_the_tables_show():
    first, _, tied = json.loads(json.dumps(exponent_records(FOUND), allow_nan=False))
    assert (first["better"], first["seeds"], first["arms"]) == ("√M", 4, 5)
    assert first["rate"] == pytest.approx([1.0, 0.9, 1.1])
    assert first["ratios"]["M"][0] == pytest.approx(4.0)
    assert tied["rate"] is None and tied["departure"] is None and list(tied["ratios"]) == ["√M"]
