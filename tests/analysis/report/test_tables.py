import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from ultraslow.analysis.growth.noise_models import NoiseModel
from ultraslow.analysis.growth.runs import fit_tensors, fit_totals
from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.intervals.contrast import paired
from ultraslow.analysis.noise.breakdown import ArmScale, arm_scales, noise_breakdown
from ultraslow.analysis.noise.scale import NoiseScale
from ultraslow.analysis.planning.pilot import Pilot
from ultraslow.analysis.planning.plan import Option, Plan, Records
from ultraslow.analysis.planning.power import Question
from ultraslow.analysis.report import numbers, tables
from ultraslow.analysis.report.exponents import exponent_table
from ultraslow.analysis.report.table import printed
from ultraslow.analysis.runs.arms import LadderPlace
from ultraslow.analysis.scores.ladder import Gain, Ladder, Rung

FEW = [0, 1, 2, 4, 8]
LONG = "a-very-long-run-name-with-many-settings-in-it-b1024-s0"


def flat(text):
    return " ".join(text.split())


def words(html):
    return flat(re.sub("<[^>]+>", " ", str(html)))


def test_each_reason_is_counted_once(make):
    runs = {f"r{k}": make(run=LONG, seed=k, records=FEW) for k in range(3)}
    text = exponent_table(fit_tensors(runs, intervals=False)).terminal()
    assert text.count("9 curves: 4 records after iteration 0") == 1
    assert text.count("conv.weight") == 3


def test_a_fit_is_shown_with_its_numbers(make):
    fits = fit_totals({"r": make(records=FEW)})
    known = {"exponent": 0.25, "exponent_low": 0.1, "exponent_high": np.inf, "detectable": 0.2}
    known |= {"decade_ratio": 1.8, "decade_ratio_low": 1.5, "decade_ratio_high": 2.1}
    known |= {"window_low": -0.049, "window_high": 0.702}
    fits = fits.assign({k: ("node", [v]) for k, v in known.items()})
    fits["status"] = ("node", ["p_unbounded"])
    found = exponent_table(fits)
    assert found.terminal().splitlines()[5].split() == [
        *("run", "64", "0", "0.90", "0.250", "[0.100,", "∞)", "0.200"),
        *("1.800", "[1.500,", "2.100]", "−0.05", "to", "0.70", "p", "unbounded"),
    ]
    plain = exponent_table(fits.drop_vars([name for name in fits if "ratio" in name]))
    assert plain.terminal().splitlines()[3].split()[-3:] == ["0.200", "p", "unbounded"]
    assert found.json()[0]["exponent_high"] == "inf"


def test_a_misfit_of_an_arm_is_told_below_its_fits(make):
    runs = {f"r{k}": make(records=FEW, seed=k, noise=0.01) for k in range(3)}
    fits = fit_totals(runs)
    local = np.array([[0.3, 0.7], [0.31, 0.69], [0.29, 0.71]])
    law = np.full((3, 2), 0.5)
    both = {
        "local_exponent": (("node", "window"), local),
        "law_exponent": (("node", "window"), law),
    }
    fits = fits.drop_vars(["window", *both]).assign(both)
    fits = fits.assign(exponent=("node", [0.5] * 3), status=("node", ["ok"] * 3))
    assert exponent_table(fits).notes[-1] == (
        "misfit at batch size 64: local exponents run 0.30 to 0.70 where the fitted law says "
        "0.50 to 0.50"
    )


BOUNDED = ArmScale(
    *(64, "", 3),
    NoiseScale(Interval(200.0, 160.0, 240.0, 3), "seeds", 900, first=1, last=300),
    "below",
)
OPEN = ArmScale(
    *(1024, "linear", 1),
    NoiseScale(Interval(9000.0, 512.0, math.inf, 5, reason="…"), "windows", 90, True, 1, 90),
    *("within", ("short has finite gradient noise in 20 of 90 iterations",)),
)


def test_batch_sizes_stand_beside_the_noise_scale():
    text = words(tables.noise_table([BOUNDED, OPEN]).html())
    assert "64 3 1–300 200 [160, 240] seeds below 3.12 [2.5, 3.75]" in text
    row = "1024, linear 1 1–90 9000 [512, ∞) windows, drifting within 8.79 [0.5, ∞)"
    assert row in text
    assert (
        "Left out at batch size 1024, linear: short has finite gradient noise in 20 of 90" in text
    )


def test_notes_on_noise_scales_are_those_that_the_rows_ask_for():
    alone = tables.noise_table([BOUNDED]).notes
    both = tables.noise_table([BOUNDED, OPEN]).notes
    assert len(alone) == 1 and len(both) == 4
    assert both[1].startswith("From windows: with fewer than three seeds")
    assert both[2].startswith("Drifting: ")


def parts_of(runs):
    found = noise_breakdown(runs, arm_scales(runs))
    return {} if found is None else tables.part_tables(found)


def test_noise_is_taken_apart_by_tensors_parts_and_loss(make):
    runs = {"a": make(last=2000, scale_invariant=[1, 1, 0])}
    found = parts_of(runs)
    assert list(found) == ["tensors", "part of the network", "loss"]
    text = words("".join(table.html() for table in found.values()))
    assert "scale-invariant tensors" in text and "linear" in text and "mean training loss" in text
    copied = parts_of(runs | {"copy": runs["a"]})
    assert words("".join(table.html() for table in copied.values())) == text
    bare = make(gradient_sq=None, noise_trace=None, noise_updates=None)
    assert parts_of({"a": bare}) == {}
    assert parts_of({"a": make(last=2000, loss=None).isel(tensor=[0])}) == {}


def gain(differences, p_value):
    found = paired(differences)
    return Gain(found, found.interval(0.95), True, False, p_value)


WHOLE = gain([0.08, 0.1, 0.12], 0.02)


def ladder(*, name="limit", last=WHOLE):
    step = gain([0.02, 0.03, 0.05], 0.04)
    rungs = (
        Rung(LadderPlace(name, 0, "baseline"), 0.5, 3, 0, None, None),
        Rung(LadderPlace(name, 1, "warm-up"), 0.53, 3, 1, step, step),
        Rung(LadderPlace(name, 2, "<b>LARS</b>"), 0.6, 3, 0, last, last),
    )
    return Ladder(name, "accuracy", rungs, 0.95, ("with 3 seeds a rung the intervals are wide",))


def test_the_table_gives_every_rung_with_its_gains():
    text = tables.ladder_table(ladder()).terminal()
    lines = text.splitlines()
    assert lines[0] == "ladder limit, held-out accuracy"
    (row,) = [line for line in lines if "warm-up" in line]
    # By hand: mean 0.0333, s/√3 = 0.00882, t(2) at 0.975 is 4.303.
    assert "3 of 4" in row and "0.033 [−0.005, 0.071]" in row
    assert "note: with 3 seeds a rung the intervals are wide" in lines
    assert lines[-1] == "The whole ladder gains: 0.100 [0.050, 0.150], p = 0.02."


def test_a_tiny_p_value_is_told_as_such():
    sure = gain([0.08, 0.1, 0.12], 7.8e-5)
    assert tables.whole_gain(ladder(last=sure)).endswith("p < 0.001.")
    (row,) = [
        line
        for line in tables.ladder_table(ladder(last=sure)).terminal().splitlines()
        if "LARS" in line
    ]
    assert "< 0.001" in row


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (gain([-0.1, -0.11, -0.12], 0.01), "loses"),
        (gain([-0.1, 0.0, 0.1], 1.0), "neither gains nor loses"),
        (None, "no gain can be given"),
    ],
)
def test_the_whole_is_put_in_a_sentence(gain, words):
    assert words in tables.whole_gain(ladder(last=gain))


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
PLANNED = Plan(
    Question(0.1, power=0.75, level=0.9, draws=200),
    PILOT,
    (SOUND, LONGER, NONE),
    (Records("25 a decade", 113, 0.02), Records("even in t", 90, 0.05)),
    (32, 128, 512),
    ("the sample are seeds", "a note that is far too long for one line " + "and goes on " * 8),
)


def blocks(found):
    """Parts of the printed plan, as lists of lines."""
    return [part.splitlines() for part in printed(tables.plan_tables(found)).split("\n\n")]


def split(line):
    return re.split("  +", line.strip())


def test_the_question_and_the_pilot_stand_first():
    asked, *lines = blocks(PLANNED)[0]
    assert asked == "to tell t^0.1 from log t with 75% power, level 0.9"
    assert flat(" ".join(lines)) == (
        "pilot: run a�[31m, one of 4 of its arm; noise σ/D 0.02, ar_log_t(length=0.5); onset 3; "
        "spread of p between seeds 0.05"
    )


def test_each_option_has_a_row_with_its_shares_and_cost():
    header, sound, longer, none = blocks(PLANNED)[1]
    titles = ["seeds", "iterations", "decades", "records", "power", "log kept", "alarms"]
    assert split(header) == [*titles, "onset 0", "updates", "samples"]
    # log10(31623) = 4.5000
    shares = ["83%", "71%", "1.2%", "3.4%"]
    assert split(sound) == ["4", "31,623", "4.50", "113", *shares, "126,492", "8,095,488"]
    assert split(longer)[:3] == ["6", "100,000", "5.00"]
    assert split(none) == ["10", "none suffices", *["–"] * 8]


def test_without_a_batch_size_no_samples_are_counted():
    unknown = replace(PLANNED, pilot=replace(PILOT, batch_size=0))
    header, sound, _, none = blocks(unknown)[1]
    assert split(header)[-1] == "updates"
    assert split(sound)[-1] == "126,492"
    assert split(none) == ["10", "none suffices", *["–"] * 7]


def test_errors_stand_beside_that_of_the_default_records():
    title, header, *rows = blocks(PLANNED)[2]
    # Of the option with the fewest updates.
    assert title == "when to record each of 4 runs until iteration 31,623"
    assert split(header) == ["records", "count", "error of p", "relative"]
    assert [split(row) for row in rows] == [
        ["25 a decade", "113", "0.02", "1.00"],
        ["even in t", "90", "0.05", "2.50"],
    ]


def test_sentences_name_the_cheapest_option_and_the_sizes():
    lines = printed(tables.plan_tables(PLANNED)).split("\n\n")[3]
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
    text = printed(tables.plan_tables(replace(PLANNED, notes=(), **changes)))
    assert " ".join(text.split()).endswith(last)
    assert "noise scale" not in text


def strict(value):
    """What a reader of strict JSON sees."""
    return json.loads(json.dumps(value, allow_nan=False))


def test_json_holds_a_plan_and_says_what_is_unknown():
    held = strict(numbers.plan_numbers(PLANNED))
    assert held["question"] == {"exponent": 0.1, "power": 0.75, "level": 0.9, "draws": 200}
    assert held["pilot"]["noise"] == "ar_log_t(length=0.5)"
    assert held["pilot"]["noise_share"] == 0.02 and "times" not in held["pilot"]
    sound, _, none = held["options"]
    assert (sound["last"], sound["alarms_at_once"], sound["samples"]) == (31623, 0.0336, 8095488)
    assert sound["decades"] == pytest.approx(4.5, abs=1e-4)
    assert (none["power"], none["last"]) == (None, 0)
    assert held["records"][1] == {"name": "even in t", "count": 90, "error": 0.05}
    assert held["batch_sizes"] == [32, 128, 512] and held["notes"] == list(PLANNED.notes)


def test_json_holds_ladders_and_noise_scales():
    (row,) = strict(numbers.ladder_rows([ladder(last=None)]))
    assert row["rungs"][1]["over_before"]["contrast"]["count"] == 3
    assert row["rungs"][2]["over_baseline"] is None
    (row,) = strict(numbers.comparison_rows([OPEN]))
    assert row["scale"]["high"] == "inf"
    assert row["crossover"][0] == pytest.approx(9000 / 1024)


def test_json_holds_the_noise_that_is_taken_apart(make):
    runs = {"a": make(last=2000)}
    found = noise_breakdown(runs, arm_scales(runs))
    held = strict(numbers.breakdown_numbers(found))
    assert held["batch_size"] == 64
    assert list(held["groups"]) == ["first tensor", "other tensors"]
    assert list(held["parts"]) == ["conv", "linear"]
    assert held["groups"]["first tensor"] == held["parts"]["conv"]
    assert (
        held["groups"]["first tensor"]["estimate"] == found.groups["first tensor"].interval.value
    )
    assert [row["loss"] for row in held["by_loss"]] == found.by_loss["loss"].values.tolist()
    assert [row["low"] for row in held["by_loss"]] == found.by_loss["low"].values.tolist()
    assert numbers.breakdown_numbers(None) is None
