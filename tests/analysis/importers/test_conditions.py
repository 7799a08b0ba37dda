import pytest

from ultraslow.analysis.importers.conditions import fulfilled
from ultraslow.analysis.importers.sheet import Sheet
from ultraslow.diffusion.recording import RecordError

SHEET = Sheet(
    "log.csv",
    "log",
    "0" * 64,
    "CSV",
    {
        "a": ["0", "1", "2", ""],
        "b": ["0", "1.0", "3", "4"],
        "name": ["x", "y", "x", "z"],
        "train/loss": [0.5, 1.5, None, 2.5],
    },
    [2, 3, 4, 5],
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("a == 0", [0]),
        ("a != 0", [1, 2]),
        ("0 < a <= 2", [1, 2]),
        ("1 <= b", [1, 2, 3]),
        ("a == b", [0, 1]),
        ("a == -1 or name == 'z'", [3]),
        ("not (a == 0 or a == 1)", [2, 3]),
        ("name in ('x', 'z') and b > 2", [2, 3]),
        ("b not in [0, 3]", [1, 3]),
        ("`train/loss` > 1", [1, 3]),
        ('name == "x"', [0, 2]),
    ],
)
def test_rows_that_fulfil_a_condition(condition, rows):
    assert fulfilled(SHEET, condition).nonzero()[0].tolist() == rows


@pytest.mark.parametrize(
    "condition",
    [
        "a",
        "a = 0",
        "a + 1 == 2",
        "a == 0 if b else a",
        "f(a) == 1",
        "a.real == 1",
        "a[0] == 1",
        "(a := 1) == 1",
        "[x for x in (1, 2)] == a",
        "lambda: 1",
        "__import__('os').system('true') == 0",
        "a is 0",
        "a == None",
        "a in 3",
        "a == (1, 2)",
        "",
        "a == 0; b == 0",
        "(" * 900,
        "a == 1 and " * 200 + "b == 1",
    ],
)
def test_what_is_no_condition_is_never_run(condition):
    with pytest.raises(ValueError, match="--where: found") as told:
        fulfilled(SHEET, condition)
    assert not isinstance(told.value, RecordError)


def test_equality_is_hinted_at():
    with pytest.raises(ValueError, match="equality is written =="):
        fulfilled(SHEET, "a = 0")


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("c == 0", "--where: there is no column 'c'; there are 'a', 'b', 'name', 'train/loss'"),
        ("name == 0", "line 2, column 'name': found 'x', which cannot be compared with a number"),
        ("name in (1, 'x')", "numbers beside texts"),
    ],
)
def test_what_cannot_be_compared_says_where(condition, said):
    with pytest.raises(ValueError, match=said):
        fulfilled(SHEET, condition)
