from dataclasses import replace

from ultraslow.analysis.predictions.table import as_dataset
from ultraslow.analysis.predictions.verdict import Verdict
from ultraslow.analysis.report.numbers import verdict_rows
from ultraslow.analysis.report.table import printed
from ultraslow.analysis.report.verdicts import answer_tables, folded, verdict_tables
from ultraslow.analysis.study import Sample

FIRST = Verdict("P1", "Claim.", "contradicted", "It grew.", "p", 0.5, 0.4, 0.6)
LACKING = Verdict("P9", "Claim.", "undecidable", "No path.", "R", needed="a path")
OPEN = Verdict("P2", "Claim.", "undecidable", "Near.", "ratio", 1.0, 0.8, 1.2, needed="5 seeds")


def told(verdicts):
    return printed(verdict_tables(verdicts, whole=True))


def flat(text):
    return " ".join(text.split())


def test_the_answer_comes_first_then_a_line_each_and_how_to_read_on():
    found = as_dataset({"all runs": [FIRST, OPEN, LACKING]}, level=0.95)
    answer, lines, hint = printed(verdict_tables(found)).split("\n\n")
    assert answer == "Logarithmic growth: contradicted. It grew."
    assert [line.split()[:2] for line in lines.splitlines()[1:]] == [
        ["P1", "contradicted"],
        ["P2", "undecidable"],
        ["P9", "undecidable"],
    ]
    assert "0.500 [0.400, 0.600]" in lines.splitlines()[1]
    assert "Near" not in lines and "No path" not in lines
    assert hint.startswith("`--verbose` says why")


def test_arms_that_a_verdict_is_about_are_told_where_they_are_not_all():
    first = replace(FIRST, about="at batch size 64", brief="At batch size 64 it grew much.")
    second = replace(OPEN, about="batch sizes 64 and 256")
    found = as_dataset({"all runs": [first, second]}, level=0.95)
    answer, lines, _ = printed(verdict_tables(found)).split("\n\n")
    assert answer == "Logarithmic growth: contradicted at batch size 64. It grew much."
    assert "(at batch size 64)" in lines and "(batch sizes 64 and 256)" in lines


def test_what_would_decide_the_question_is_told_at_once():
    open_first = Verdict("P1", "Claim.", "undecidable", "Few.", "p", needed="4 seeds")
    found = as_dataset({"all runs": [open_first]}, level=0.95)
    said = "Logarithmic growth: undecidable. Few. Would decide it: 4 seeds."
    assert printed(verdict_tables(found)).split("\n\n")[0] == said
    assert printed(answer_tables(found)).splitlines()[0] == said


def test_other_sets_than_the_first_count_what_they_lack():
    both = [FIRST, LACKING]
    found = as_dataset({"a": both, "b": both}, level=0.95).assign_coords(
        recordings=("set", [3, 1])
    )
    text = flat(printed(verdict_tables(found)))
    assert "── a: 3 recordings ──" in text and "── b: 1 recording ──" in text
    assert text.count("P9") == 1
    assert "The other 1 predictions lack arms or measurements here." not in text
    assert text.count("1 other prediction lacks arms or measurements here.") == 1


def test_an_answer_counts_the_verdicts_and_names_those_that_are_decided():
    found = as_dataset({"all runs": [FIRST, OPEN, LACKING]}, level=0.95)
    assert printed(answer_tables(found)).splitlines() == [
        "Logarithmic growth: contradicted. It grew.",
        "1 contradicted (P1), 2 undecidable.",
    ]


def paragraph(**options):
    plain = {"reason": "because.", "effect_meaning": "exponent p"}
    item = Verdict("P1", "What is claimed.", "supported", **plain | options)
    return told(as_dataset({"all runs": [item]}, level=0.95))


def test_a_verdict_holds_what_was_found():
    text = paragraph(
        effect=0.01,
        effect_low=-0.02,
        effect_high=0.03,
        sample=Sample(4, 2, (64, 256)),
        needed="more seeds",
    )
    assert text.splitlines() == [
        "P1  SUPPORTED  0.010 [−0.020, 0.030]  4 runs, batch sizes 64, 256",
        "    What is claimed.",
        "    because.",
        "    Would decide it: more seeds.",
    ]


def test_a_verdict_without_effect_or_runs_reads_well():
    text = paragraph()
    assert text.splitlines()[0].split() == [
        "P1",
        "SUPPORTED",
        "0",
        "runs,",
        "no",
        "batch",
        "size",
    ]
    assert "Would decide" not in text


def test_verdicts_of_a_set_stand_apart():
    item = Verdict("P1", "Claim.", "supported", "Reason.", "p")
    both = told(as_dataset({"all runs": [item, item]}, level=0.95))
    assert both.split("\n\n")[0] == both.split("\n\n")[1]


def test_predictions_without_a_measurement_come_last_in_short():
    lacking = Verdict("P9", "Claim.", "undecidable", "No path.", "R", needed="a path")
    full = Verdict("P10", "Claim.", "supported", "Reason.", "ratio", effect=1.0)
    text = told(as_dataset({"all runs": [lacking, full]}, level=0.95))
    assert text.splitlines()[0].startswith("P10 SUPPORTED")
    assert text.splitlines()[-1] == (
        "P9  undecidable (Random, not driven): No path. Would decide it: a path."
    )


def test_the_first_prediction_and_open_ones_with_an_effect_are_told_in_full():
    first = Verdict("P1", "Claim.", "undecidable", "Reason.", "p", needed="more")
    open_one = Verdict("P2", "Claim.", "undecidable", "Reason.", "ratio", effect=1.0)
    rows = verdict_rows(as_dataset({"all runs": [first, open_one]}, level=0.95))
    assert not any(map(folded, rows))


def test_a_note_on_copies_ends_the_verdicts():
    item = Verdict("P1", "Claim.", "supported", "Reason.", "p")
    found = as_dataset({"all runs": [item]}, level=0.95).assign_attrs(
        note="1 recording repeats another."
    )
    assert told(found).split("\n\n")[-1] == "1 recording repeats another."
