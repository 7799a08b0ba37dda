import math
from types import SimpleNamespace

from ultraslow.analysis.intervals import Contrast, Interval
from ultraslow.analysis.report.page.recipes import ladder
from ultraslow.analysis.runs import LadderPlace
from ultraslow.analysis.scores.ladder import Gain, Ladder, Rung


def gain(value, half):
    found = Interval(value, value - half, value + half, 2)
    return Gain(Contrast(value, half / 3, 8.0, 2), found, True, True, 0.01)


def rungs(values):
    base = Rung(LadderPlace("limit", 0, "base"), 0.5, 2, 0, None, None)
    return (
        base,
        *(
            Rung(
                LadderPlace("limit", k + 1, f"step {k + 1}"),
                0.5 + value,
                2,
                1,
                gain(value, 0.02),
                gain(value, 0.005),
            )
            for k, value in enumerate(values)
        ),
    )


def built(*ladders):
    found = SimpleNamespace(ladders=ladders, study=SimpleNamespace(level=0.95))
    return ladder(found, {})


def test_both_metrics_of_a_ladder_stand_in_one_table():
    accuracy = Ladder("limit", "accuracy", rungs([0.1, 0.01]), 0.95, ("two seeds",))
    loss = Ladder("limit", "loss", rungs([0.2, 0.02]), 0.95, ("two seeds",))
    title, lead, (table,) = built(accuracy, loss)
    assert title == "Ladder of recipes" and "95%" in lead
    assert table.count("<tr") == 1 + 3 + 1
    assert table.count("<b>0.100</b>") == 1 and table.count("<b>0.200</b>") == 1
    assert (
        "<b>0.010</b>" in table
    )  # the whole ladder's is clear of 0, that of its last rung is not
    assert table.count("0.010 <span") == 1
    assert "2 of 3" in table and "60.0 %" in table
    assert table.count("Two seeds.") == 1
    assert table.count('class="gain"') == 6


def test_a_lone_rung_is_no_ladder():
    assert built(Ladder("limit", "accuracy", rungs([]), 0.95, ()))[2] == []


def test_unknown_gains_are_dashes():
    one = Rung(LadderPlace("limit", 1, "x"), math.nan, 0, 1, None, None)
    table = built(Ladder("limit", "accuracy", (*rungs([]), one), 0.95, ()))[2][0]
    assert "nan" not in table
    assert "no gain can be given" in table
