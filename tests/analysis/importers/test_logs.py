import json

import pytest

from ultraslow.analysis.importers.logs import log_sheet
from ultraslow.analysis.importers.sheet import column_numbers
from ultraslow.diffusion.recording import RecordError

ROWS = [{"step": 1, "loss": 0.5}, {"step": 2, "eval": {"acc": 0.25, "list": [1]}, "loss": None}]


def sheet(text):
    return log_sheet(text, "log.json", "log", "0" * 64)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(map(json.dumps, ROWS)),
        "\n\n".join(map(json.dumps, ROWS)) + "\n",
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        json.dumps({"log_history": ROWS, "max_steps": 2}, indent=1),
    ],
)
def test_rows_are_the_same_however_they_are_written(text):
    found = sheet(text)
    assert found.columns == {"step": [1, 2], "loss": [0.5, None], "eval/acc": [None, 0.25]}


def test_a_list_a_column_is_a_table_and_the_rest_settings():
    found = sheet(json.dumps({"step": [1, 2], "d": [3.0, 4.0], "lr": 0.1}))
    assert found.columns == {"step": [1, 2], "d": [3.0, 4.0]}
    assert found.settings == {"lr": 0.1}


def test_settings_and_summaries_are_no_rows():
    lines = [{"_meta": {"seed": 1}}, {"step": 1, "d": 2}, {"_summary": {"d": 9}}]
    found = sheet("\n".join(map(json.dumps, lines)))
    assert found.columns == {"step": [1], "d": [2]}
    assert found.settings == {"seed": 1}
    assert found.lines == [2]


def test_the_state_of_a_trainer_keeps_its_settings():
    found = sheet(json.dumps({"log_history": ROWS, "train_batch_size": 8, "is_hyper": True}))
    assert found.kind == "the trainer's state of Hugging Face"
    assert found.settings["train_batch_size"] == 8


def test_a_curve_of_the_page_in_triples():
    found = sheet(json.dumps([[1.5, k, k / 2] for k in range(1000)]))
    assert found.columns["Value"][3] == 1.5
    assert "at random" in found.notes[0]


def test_a_last_line_that_is_cut_off_is_told_and_left_out():
    found = sheet('{"step": 1, "d": 2}\n{"step": 2, "d": 3}\n{"step": 3, "d"')
    assert found.columns == {"step": [1, 2], "d": [2, 3]}
    assert found.notes == ("line 3 is cut off in its middle, and left out",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"step": 1}\n{"step": \n{"step": 2}\n', "line 2: found .*which is no JSON"),
        ('{"step": 1}\n[1, 2]\n', r"line 2: found '\[1, 2\]', expected an object"),
        ('{"step": 1', "log.json: is cut off at line 1, character 10, expected the rest"),
        (
            '{"step": 1,\n{"step": 2}\n{"step": 3}',
            r"line 1: found '\{\"step\": 1,', which is no JSON",
        ),
        ('{\n "a": 1,\n "b" 2,\n "c": 3\n}', "line 3: found ' \"b\" 2,', which is no JSON"),
        ("[1, 2]", "entry 1: found '1', expected an object"),
        ("[]", "holds no rows"),
        ('{"step": [1, 2], "d": [1]}', "'step' has 2, 'd' has 1, expected equal lengths"),
        ('[{"d": [1]}]', "holds no rows"),
        ('{"log_history": []}', "holds no rows"),
        ('{"_meta": {"a": 1}}', "found JSON that holds no rows"),
        ("[" * 100_000, "nested too deeply|no JSON"),
    ],
)
def test_what_is_no_log_says_where(text, said):
    with pytest.raises(RecordError, match=said):
        sheet(text)


def test_a_state_that_is_cut_off_anywhere_says_so_with_the_place():
    whole = json.dumps({"log_history": ROWS, "best": None, "flag": True, "small": 1e-7}, indent=1)
    for end in range(2, len(whole)):
        with pytest.raises(RecordError) as refused:
            sheet(whole[:end])
        line, last = whole[:end].rstrip().count("\n") + 1, whole[:end].rstrip().split("\n")[-1]
        place = f"is cut off at line {line}, character {len(last)}, "
        assert place in str(refused.value), whole[:end]


@pytest.mark.parametrize("cell", [[0.1, 0.2], {"mean": 0.1}, []])
def test_lists_and_objects_in_a_column_of_numbers_are_refused_where_it_is_used(cell):
    rows = [{"step": 1, "d": 0.5, "e": 1}, {"step": 2, "d": cell, "e": [1]}]
    for text in ("\n".join(map(json.dumps, rows)), json.dumps({"log_history": rows})):
        found = sheet(text)
        assert column_numbers(found, "step").values.tolist() == [1, 2]
        with pytest.raises(
            RecordError, match=r" 2, column 'd': found '[\[{].*', expected a number"
        ):
            column_numbers(found, "d")


def test_columns_of_lists_alone_are_told():
    rows = [{"step": k, "d": [k, k], "e": {"a": k, "b": [k]}} for k in (1, 2)]
    found = sheet("\n".join(map(json.dumps, rows)))
    assert list(found.columns) == ["step", "e/a"]
    assert found.notes == ("lists and objects are no numbers, so 'd', 'e/b' are left out",)
