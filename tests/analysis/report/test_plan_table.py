import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from ultraslow.analysis.growth.noise_models import NoiseModel
from ultraslow.analysis.planning.pilot import Pilot
from ultraslow.analysis.planning.plan import Option, Plan, Records
from ultraslow.analysis.planning.power import Question
from ultraslow.analysis.report import plan_table

PILOT = Pilot(
    np.array([1.0, 10.0, 1000.0]),
    NoiseModel("ar_log_t", length=0.5),
    noise_share=0.02,
    onset=3.0,
    seed_spread=0.05,
    batch_size=64,
    noise_scale=400.0,
    source="run a\x1b[31m, one of 4 of its arm",
)
SOUND = Option(4, 31_623, 113, 0.834, 0.71, 0.0124, 0.0336, 126_492, 8_095_488)
LONGER = Option(6, 100_000, 138, 0.9, 0.8, 0.01, 0.02, 600_000, 38_400_000)
NONE = Option(10, 0, 0, *[math.nan] * 4, 0, 0)
FOUND = Plan(
    Question(0.1, power=0.75, level=0.9, draws=200),
    PILOT,
    (SOUND, LONGER, NONE),
    (Records("25 a decade", 113, 0.02), Records("even in t", 90, 0.05)),
    (32, 128, 512),
    ("the sample are seeds", "a note that is far too long for one line " + "and goes on " * 8),
)


def blocks(found):
    """Parts of the printed plan, as lists of lines."""
    return [part.splitlines() for part in plan_table.terminal(found).split("\n\n")]


def cells(line):
    return re.split("  +", line.strip())


def test_the_question_and_the_pilot_stand_first():
    assert blocks(FOUND)[0] == [
        "to tell t^0.1 from log t with 75% power, level 0.9",
        "pilot: run a�[31m, one of 4 of its arm; noise σ/D 0.02, ar_log_t(length=0.5); onset 3;",
        "spread of p between seeds 0.05",
    ]


def test_each_option_has_a_row_with_its_shares_and_cost():
    header, sound, longer, none = blocks(FOUND)[1]
    titles = ["seeds", "iterations", "decades", "records", "power", "log kept", "alarms"]
    assert cells(header) == [*titles, "onset 0", "updates", "samples"]
    # log10(31623) = 4.5000
    shares = ["83%", "71%", "1.2%", "3.4%"]
    assert cells(sound) == ["4", "31,623", "4.50", "113", *shares, "126,492", "8,095,488"]
    assert cells(longer)[:3] == ["6", "100,000", "5.00"]
    assert cells(none) == ["10", "none suffices", *["–"] * 8]


def test_without_a_batch_size_no_samples_are_counted():
    unknown = replace(FOUND, pilot=replace(PILOT, batch_size=0))
    header, sound, _, none = blocks(unknown)[1]
    assert cells(header)[-1] == "updates"
    assert cells(sound)[-1] == "126,492"
    assert cells(none) == ["10", "none suffices", *["–"] * 7]


def test_errors_stand_beside_that_of_the_default_records():
    title, header, *rows = blocks(FOUND)[2]
    # Of the option with the fewest updates.
    assert title == "when to record each of 4 runs until iteration 31,623"
    assert cells(header) == ["records", "count", "error of p", "relative"]
    assert [cells(row) for row in rows] == [
        ["25 a decade", "113", "0.02", "1.00"],
        ["even in t", "90", "0.05", "2.50"],
    ]


def test_sentences_name_the_cheapest_option_and_the_sizes():
    lines = plan_table.terminal(FOUND).split("\n\n")[3]
    text = " ".join(lines.split())
    assert text.startswith(
        "Fewest updates across seeds: 4 seeds until iteration 31,623 (126,492 updates). "
        "Batch sizes from a tenth of the noise scale 400 to ten times it, where drift and noise "
        "change places: 32, 128, 512 (379,476 updates for all), and the full batch. "
        "The sample are seeds. A note that"
    )
    assert max(map(len, lines.splitlines())) <= 100
    assert lines.splitlines()[-1].startswith("  ")


@pytest.mark.parametrize(
    ("changes", "last"),
    [
        ({"batch_sizes": ()}, "(126,492 updates)."),
        ({"options": (NONE,), "records": ()}, "less spread between seeds may give it."),
    ],
)
def test_what_is_not_known_is_not_told(changes, last):
    text = plan_table.terminal(replace(FOUND, notes=(), **changes))
    assert " ".join(text.split()).endswith(last)
    assert "noise scale" not in text


def test_json_holds_the_numbers_and_says_what_is_unknown():
    held = json.loads(json.dumps(plan_table.content(FOUND), allow_nan=False))
    assert held["question"] == {"exponent": 0.1, "power": 0.75, "level": 0.9, "draws": 200}
    assert held["pilot"]["noise"] == "ar_log_t(length=0.5)"
    assert held["pilot"]["noise_share"] == 0.02 and "times" not in held["pilot"]
    sound, _, none = held["options"]
    assert (sound["last"], sound["alarms_at_once"], sound["samples"]) == (31623, 0.0336, 8095488)
    assert sound["decades"] == pytest.approx(4.5, abs=1e-4)
    assert (none["power"], none["last"]) == (None, 0)
    assert held["records"][1] == {"name": "even in t", "count": 90, "error": 0.05}
    assert held["batch_sizes"] == [32, 128, 512] and held["notes"] == list(FOUND.notes)
