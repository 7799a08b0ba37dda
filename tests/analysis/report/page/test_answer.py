import re

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.report.page.answer import (
    Beside,
    answered,
    exponents_seen,
    other_sets,
    warnings,
)

ROW = {
    "prediction": "P1",
    "verdict": "contradicted",
    "reason": "The last decade added 1.5 [1.2, 1.8] times as much, where a logarithm adds 1. "
    "Other things follow.",
}
ANSWERS = {
    ("P1", "supported"): "Distance grows like log t",
    ("P1", "contradicted"): "Distance does not grow like log t",
    ("P1", "undecidable"): "Whether distance grows like log t is undecidable so far",
    ("P1", "not applicable"): "Whether distance grows like log t does not arise here",
    ("P2", "supported"): "With η ∝ √M all batch sizes share one curve",
    ("P2", "contradicted"): "With η ∝ √M batch sizes do not share one curve",
    ("P2", "undecidable"): "is undecidable so far",
    ("P2", "not applicable"): "does not arise here",
}


def words(markup):
    return re.sub(r"<[^>]+>", "", str(markup))


@pytest.mark.parametrize("case", ANSWERS)
def test_the_answer_says_what_the_verdict_says_and_why(case):
    prediction, verdict = case
    found = answered([ROW | {"prediction": prediction, "verdict": verdict}])
    text = words(found.sentences)
    assert ANSWERS[case] in text
    assert ": the last decade added 1.5 [1.2, 1.8] times as much" in text
    assert "Other things" not in text
    assert "<b>1.5</b>" in found.sentences


def test_a_brief_finding_is_told_in_place_of_the_reason():
    beside = Beside({"P1": "At batch size 64 it added 3 times."})
    text = words(answered([ROW], beside).sentences)
    assert text == "Distance does not grow like log t: at batch size 64 it added 3 times."


def test_the_answer_names_the_arms_that_it_is_about_and_what_others_say():
    brief = (
        "At batch size 256 the last decade added 3.12 [3.06, 3.19] times as much distance as the "
        "one before, where a logarithm adds as much again and diffusion 3.16 times as much. Batch "
        "size 1024 alone would be supported."
    )
    beside = Beside({"P1": brief}, {"P1": "at batch size 256"})
    assert words(answered([ROW], beside).sentences) == (
        "Distance does not grow like log t at batch size 256: the last decade added 3.12 [3.06, "
        "3.19] times as much distance as the one before. Batch size 1024 alone would be supported."
    )
    beside = Beside({}, {"P2": "batch sizes 64 and 256"})
    for word, does in (("supported", "share"), ("contradicted", "do not share")):
        text = words(answered([ROW | {"prediction": "P2", "verdict": word}], beside).sentences)
        assert text.startswith(f"With η ∝ √M batch sizes 64 and 256 {does} one curve: the last")


def test_a_late_logarithm_is_named_with_its_onset():
    beside = Beside(law={"P1": "log(t + 13,191)"})
    text = words(answered([ROW | {"verdict": "supported"}], beside).sentences)
    assert text.startswith("Distance grows like log(t + 13\u202f191): the last decade")


def test_one_of_several_sets_is_named_in_the_answer_and_beside_its_counts():
    found = answered([ROW, ROW | {"prediction": "P2"}], of="AdamW")
    text = words(found.sentences)
    assert text.startswith("In the set AdamW distance does not grow like log t: ")
    assert text.count("AdamW") == 1 and found.of == "AdamW"
    assert answered([ROW]).of == ""


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ((), ""),
        (("undecidable",), ""),
        (("contradicted", "undecidable"), "In the set s0 distance does it."),
        (("supported", "contradicted", "contradicted"), "Of 3 other sets of runs 1 grow"),
    ],
)
def test_other_sets_that_decide_are_told_by_name_or_number(sets, said):
    found = [(f"s{k}", "Distance does it", word) for k, word in enumerate(sets)]
    assert other_sets(found).startswith(said) and bool(other_sets(found)) == bool(said)


def test_later_sets_tell_of_batch_sizes_only_what_they_decide():
    open_one = ROW | {"prediction": "P2", "verdict": "undecidable"}
    assert "one curve" in words(answered([ROW, open_one]).sentences)
    assert "one curve" not in words(answered([ROW, open_one], place=1).sentences)


def test_an_open_question_is_answered_by_what_is_seen():
    open_one = ROW | {"verdict": "undecidable"}
    seen = "Fitted exponents are 0.38 to 0.55 by arm."
    assert seen in words(answered([open_one], seen=seen).sentences)
    assert seen not in words(answered([ROW], seen=seen).sentences)


def test_verdicts_are_counted_with_those_that_none_is():
    rows = [ROW, ROW, ROW | {"verdict": "undecidable"}]
    assert answered(rows).tally == (("contradicted", 2), ("supported", 0), ("undecidable", 1))
    rows.append(ROW | {"verdict": "not applicable"})
    assert answered(rows).tally[-1] == ("not applicable", 1)


def test_exponents_are_means_of_arms_without_repeated_seeds():
    fits = xr.Dataset(
        {"exponent": ("node", [0.2, 0.4, 0.5, 0.9, np.nan])},
        coords={
            "node": list("abcde"),
            "batch_size": ("node", [64, 64, 256, 256, 256]),
            "arm": ("node", [""] * 5),
            "repeats": ("node", [False, False, False, True, False]),
        },
    )
    assert "0.30 to 0.50 by arm" in exponents_seen(fits)
    assert exponents_seen(fits.isel(node=[4])) == ""


def test_runs_that_go_on_broke_off_or_diverged_are_told_first(make):
    run = make(run="a", records=[0, 1, 2, 4])
    fine = {"run": "a", "state": "closed"}
    runs = {"a": run}
    assert warnings(runs, {"inputs": [fine]}) == []
    live = [fine | {"state": "live"}, fine | {"state": "live on host?"}]
    killed = [fine | {"state": "killed"}]
    assert "2 runs still recording (a, a)" in warnings(runs, {"inputs": live})[0]
    assert "1 run was never closed (a)" in warnings(runs, {"inputs": killed})[0]
    run["distance_sq"][2:] = np.nan
    assert "1 run diverged: a: no finite distance after iteration 1 of 4." in warnings(
        runs, {"inputs": [fine]}
    )


def test_a_condition_that_chose_the_runs_is_told_first(make):
    options = {"where": "batch_size >= 64 <b>", "left_out": 3}
    content = {"inputs": [{"run": "a", "state": "live"}], "options": options}
    told = warnings({"a": make(run="a")}, content)
    assert told[0] == "Chosen are 1 of 4 recordings, those with batch_size >= 64 <b>."
    assert "still recording" in told[1]
