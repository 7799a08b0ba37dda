import json
import re
from dataclasses import replace

import numpy as np
import pytest

from ultraslow.analysis.intervals.contrast import paired
from ultraslow.analysis.report import ladder_table
from ultraslow.analysis.runs.arms import Place
from ultraslow.analysis.scores.ladder import Gain, Ladder, Rung


def gain(differences, p_value):
    found = paired(differences)
    return Gain(found, found.interval(0.95), True, False, p_value)


WHOLE = gain([0.08, 0.1, 0.12], 0.02)


def ladder(*, name="limit", last=WHOLE):
    step = gain([0.02, 0.03, 0.05], 0.04)
    rungs = (
        Rung(Place(name, 0, "baseline"), 0.5, 3, 0, None, None),
        Rung(Place(name, 1, "warm-up"), 0.53, 3, 1, step, step),
        Rung(Place(name, 2, "<b>LARS</b>"), 0.6, 3, 0, last, last),
    )
    return Ladder(name, "accuracy", rungs, 0.95, ("with 3 seeds a rung the intervals are wide",))


def test_sentences_are_wrapped_at_the_width_of_a_terminal():
    by_loss = replace(ladder(), metric="loss", notes=("a note of many words " * 9,))
    lines = ladder_table.terminal([by_loss]).splitlines()
    # A line of the table, from the rung to the last p, may be longer.
    assert all(len(line) <= 100 for line in lines if "[" not in line and "rung" not in line)
    assert sum(line.count("many words") for line in lines) == 9


def test_the_table_gives_every_rung_with_its_gains():
    text = ladder_table.terminal([ladder()])
    lines = text.splitlines()
    assert lines[0] == "ladder limit, held-out accuracy"
    assert max(map(len, lines)) <= 125
    (row,) = [line for line in lines if "warm-up" in line]
    # By hand: mean 0.0333, s/√3 = 0.00882, t(2) at 0.975 is 4.303.
    assert "3 of 4" in row and "0.033 [−0.005, 0.071]" in row
    assert "note: with 3 seeds a rung the intervals are wide" in lines
    assert lines[-1] == "The whole ladder gains: 0.100 [0.050, 0.150], p = 0.02."


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (gain([-0.1, -0.11, -0.12], 0.01), "loses"),
        (gain([-0.1, 0.0, 0.1], 1.0), "neither gains nor loses"),
        (None, "no gain can be given"),
    ],
)
def test_the_whole_is_put_in_a_sentence(gain, words):
    assert words in ladder_table.whole(ladder(last=gain))


def test_rows_are_json(tmp_path):
    (row,) = json.loads(json.dumps(ladder_table.rows([ladder(last=None)]), allow_nan=False))
    assert row["rungs"][1]["over_before"]["contrast"]["count"] == 3
    assert row["rungs"][2]["over_baseline"] is None


def test_the_plot_has_a_row_for_each_step_and_one_for_the_whole():
    plot = ladder_table.gains(ladder())
    assert plot.rows == ("warm-up", "<b>LARS</b>", "whole ladder")
    assert [dot.row for dot in plot.dots] == [0, 1, 2]
    assert [dot.strong for dot in plot.dots] == [False, False, True]
    assert np.isnan(ladder_table.gains(ladder(last=None)).dots[-1].value)


def test_the_section_escapes_names_and_holds_a_figure():
    html = ladder_table.section([ladder(name="<script>x</script>")])
    assert "<script>" not in html and "&lt;b&gt;LARS" in html
    assert len(re.findall("<svg", html)) == 1
    assert ladder_table.section([]) == ""
