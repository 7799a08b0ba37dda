import json
import math

import pytest

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.noise.breakdown import ArmScale
from ultraslow.analysis.noise.scale import NoiseScale
from ultraslow.analysis.report.batch_sizes import (
    critical_by_group,
    critical_in_words,
    critical_table,
    rates_table,
    sizes_apart,
)
from ultraslow.analysis.report.numbers import critical_numbers
from ultraslow.analysis.scores.best_rates import BestRates, best_rates
from ultraslow.analysis.scores.critical_batch import CriticalBatch, from_steps


def flat(text):
    return " ".join(text.split())


STEPS = {64: 1037.5, 256: 334.0, 1024: 158.6, 4096: 114.6}
SIZE = Interval(600.0, 450.0, 800.0, 4)
CRITICAL = CriticalBatch(SIZE, 100.0, 0.5, STEPS, "ok", "", ("it is a test",))


def test_rows_are_over_the_fewest_iterations_and_samples():
    """S_min = 100 and E_min = 600·100: 64·1037.5/60,000 = 1.11 and 4096·114.6/60,000 = 7.82."""
    rows = [line.split() for line in critical_table(CRITICAL).terminal().splitlines()[1:5]]
    assert rows[0] == ["64", "1038", "10.4", "66,400", "1.11"]
    assert rows[3] == ["4096", "115", "1.15", "469,402", "7.82"]


def test_sentences_say_what_it_is_and_what_to_know():
    text = " ".join(critical_table(CRITICAL).terminal().split())
    assert (
        "Critical batch size 600 [450, 800], to loss 0.5, 4 seeds; fewest iterations 100." in text
    )
    assert "twice the fewest" in text and text.endswith("It is a test.")


UNBOUNDED = CriticalBatch(
    Interval(5000.0, 900.0, math.inf, 4),
    *(100.0, 0.5),
    steps={64: 8000.0, 128: 4100.0, 256: 2100.0},
    status="unbounded",
    reason="the batch sizes run do not bound it above",
)


def test_a_size_that_nothing_bounds_has_an_open_interval():
    text = critical_table(UNBOUNDED).terminal()
    assert "[900, ∞)" in text and "The batch sizes run do not bound it above." in text


@pytest.mark.parametrize("status", ["unbounded", "misfit"])
def test_doubts_stand_before_the_notes(status):
    doubted = CriticalBatch(SIZE, 100.0, 0.5, STEPS, status, "a doubt", ("a",))
    text = critical_table(doubted).terminal()
    assert text.index("A doubt.") < text.index("At the critical batch size") < text.index("\nA.")


def test_a_bound_stands_without_an_estimate():
    found = CriticalBatch(
        Interval(math.nan, 5000.0, math.inf, 4),
        target=0.5,
        steps={64: 8000.0, 128: 4000.0, 256: 2000.0},
        status="unbounded",
    )
    text = " ".join(critical_table(found).terminal().split())
    assert "Critical batch size larger than 5000, to loss 0.5, 4 seeds." in text
    assert "64 8000 – 512,000 –" in text


def test_json_holds_the_critical_batch_size():
    def strict(value):
        return json.loads(json.dumps(value, allow_nan=False))

    held = strict(critical_numbers(CRITICAL))
    assert held["steps"] == {str(size): steps for size, steps in STEPS.items()}
    assert (held["seeds"], held["runs"], held["best_rates"]) == (4, 0, None)
    assert strict(critical_numbers(UNBOUNDED))["high"] == "inf"


def of_one_run(critical, *, odd=1.0, lowest=64):
    sizes = [lowest * 4**k for k in range(5)]
    factors = [1.0, 1.05, 0.97, 1.02 * odd, 1.0]
    return from_steps(
        {m: {0.0: {0: 90 * (1 + critical / m) * f}} for m, f in zip(sizes, factors, strict=True)}
    )


def test_what_an_interval_rests_on_is_told():
    assert critical_in_words(CRITICAL).endswith("to loss 0.5, 4 seeds")
    found = of_one_run(600.0)
    assert critical_in_words(found).endswith("], 5 batch sizes")
    text = flat(critical_table(found).terminal())
    assert "The interval comes from the misfit of one run a size: it takes in how" in text


def test_groups_have_a_row_each_and_share_what_they_have_in_common():
    found = {
        "small": of_one_run(600.0),
        "large": of_one_run(5e9),
        "none": CriticalBatch(reason="x"),
    }
    text = critical_by_group(found).terminal()
    lines = text.splitlines()
    assert lines[1].split()[:2] == ["small", "606"] or lines[1].startswith("small")
    assert lines[2].split()[:3] == ["large", "–", "[65,536,"] or lines[2].startswith("large")
    assert "none" not in text and text.count("interval comes from the misfit") == 1
    assert "Large: the batch sizes run do not bound it above." in flat(text)


def test_best_rates_stand_beside_the_form():
    found = best_rates({16: 0.0198, 64: 0.0701, 256: 0.2, 1024: 0.3})
    rows = [line.split() for line in rates_table(found).terminal().splitlines()[1:5]]
    assert [row[0] for row in rows] == ["16", "64", "256", "1024"]
    assert float(rows[0][2]) == pytest.approx(0.0198, rel=0.1)
    text = flat(rates_table(found, "a").terminal())
    assert "Noise scale of the best rates" in text and "4 batch sizes; largest rate 0.4" in text
    assert "one step of plain SGD" in text and "comes from the misfit" in text
    lost = rates_table(BestRates(reason="why")).terminal()
    assert flat(lost) == "No noise scale of best learning rates: why."
    edge = rates_table(best_rates({16: 0.01, 64: 0.039, 256: 0.163, 1024: 0.63}))
    assert "–" in edge.terminal()


def scale(size, value, place="below"):
    interval = Interval(value, value / 2, value * 2, 4)
    return ArmScale(size, "sqrt", 4, NoiseScale(interval, "seeds", 900, False, 1, 900), place)


def test_the_three_sizes_stand_side_by_side_with_what_they_are():
    scales = [scale(64, 250.0), scale(128, 300.0), scale(256, 500.0, "unknown")]
    table = sizes_apart(CRITICAL, scales)
    rows = table.terminal().splitlines()[1:3]
    assert " ".join(rows[0].split()) == "critical batch size 600 [450, 800] 4 batch sizes"
    # Of another batch size than those that reached the target nothing is told, nor of no interval.
    assert "iterations 1–900, batch size 64, sqrt" in rows[1] and "250" in rows[1]
    assert len(table.rows) == 2 and "These need not agree" in table.terminal()
    assert sizes_apart(CRITICAL, []) is None
    rates = best_rates({16: 0.0198, 64: 0.0701, 256: 0.2, 1024: 0.3})
    both = CriticalBatch(SIZE, 100.0, 0.5, STEPS, "ok", rates=rates)
    assert "fastest rates of 4 batch sizes" in sizes_apart(both, []).terminal()
    assert sizes_apart(CriticalBatch(steps=STEPS), scales) is None
