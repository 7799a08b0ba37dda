import math

import pytest

from ultraslow.analysis.report import batch_table
from ultraslow.analysis.scores.critical_batch import CriticalBatch

STEPS = {64: 1037.5, 256: 334.0, 1024: 158.6, 4096: 114.6}
FOUND = CriticalBatch(600.0, 450.0, 800.0, 100.0, 0.5, STEPS, 4, "ok", "", ("it is a test",))


def test_rows_are_over_the_fewest_iterations_and_samples():
    """S_min = 100 and E_min = 600·100: 64·1037.5/60,000 = 1.11 and 4096·114.6/60,000 = 7.82."""
    rows = [line.split() for line in batch_table.terminal(FOUND).splitlines()[1:5]]
    assert rows[0] == ["64", "1038", "10.4", "66,400", "1.11"]
    assert rows[3] == ["4096", "115", "1.15", "469,402", "7.82"]


def test_sentences_say_what_it_is_and_what_to_know():
    text = " ".join(batch_table.terminal(FOUND).split())
    assert (
        "Critical batch size 600 [450, 800], to loss 0.5, 4 seeds; fewest iterations 100." in text
    )
    assert "twice the fewest" in text and text.endswith("It is a test.")
    assert batch_table.content(FOUND)["steps"] == {str(size): s for size, s in STEPS.items()}


def test_a_size_that_nothing_bounds_has_an_open_interval():
    found = CriticalBatch(
        *(5000.0, 900.0, math.inf, 100.0, 0.5),
        steps={64: 8000.0, 128: 4100.0, 256: 2100.0},
        seeds=4,
        status="unbounded",
        reason="the batch sizes run do not bound it above",
    )
    text = batch_table.terminal(found)
    assert "[900, ∞)" in text and "The batch sizes run do not bound it above." in text
    assert batch_table.content(found)["high"] == "inf"


@pytest.mark.parametrize("status", ["unbounded", "misfit"])
def test_doubts_stand_before_the_notes(status):
    doubted = CriticalBatch(
        *(600.0, 450.0, 800.0, 100.0, 0.5), STEPS, 4, status, "a doubt", ("a",)
    )
    text = batch_table.terminal(doubted)
    assert text.index("A doubt.") < text.index("At the critical batch size") < text.index("\nA.")


def test_a_bound_stands_without_an_estimate():
    found = CriticalBatch(
        *(math.nan, 5000.0, math.inf, math.nan, 0.5),
        steps={64: 8000.0, 128: 4000.0, 256: 2000.0},
        seeds=4,
        status="unbounded",
    )
    text = " ".join(batch_table.terminal(found).split())
    assert "Critical batch size larger than 5000, to loss 0.5, 4 seeds." in text
    assert "64 8000 – 512,000 –" in text
