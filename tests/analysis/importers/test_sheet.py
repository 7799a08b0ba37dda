import math

import pytest

from ultraslow.analysis.importers.sheet import Sheet, as_number, column_numbers, shown
from ultraslow.diffusion.recording import RecordError


def sheet(*cells):
    return Sheet("log.csv", "log", "0" * 64, "CSV", {"d": list(cells)}, range(2, 99))


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1", 1.0),
        (" 1.5 ", 1.5),
        ("1e-3", 1e-3),
        (".5", 0.5),
        ("5.", 5.0),
        ("−2", -2.0),
        ("+3E2", 300.0),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
        (7, 7.0),
        (2.5, 2.5),
    ],
)
@pytest.mark.parametrize("beside", ["1", "", None, 3])
def test_numbers_are_read_alike_whatever_stands_beside(cell, value, beside):
    assert as_number(cell) == value
    assert column_numbers(sheet(cell, beside), "d").values[0] == value


@pytest.mark.parametrize("cell", ["1_000", "0x10", "1 000", "one", "1.2.3", "٣", True, "1e", "--"])
@pytest.mark.parametrize("beside", ["1", ""])
def test_what_python_or_nobody_reads_is_no_number(cell, beside):
    with pytest.raises(RecordError, match="line 3, column 'd': found .*, expected a number"):
        column_numbers(sheet(beside, cell), "d")


def test_not_a_number_was_logged():
    for cells in (("nan", "1"), ("NaN", ""), (math.nan, None)):
        found = column_numbers(sheet(*cells), "d")
        assert math.isnan(found.values[0])
        assert found.logged[0]


def test_long_and_wild_texts_are_shown_short_and_tame():
    assert shown("a\x1b[31m\n") == r"'a\x1b[31m\n'"
    assert len(shown("x" * 1000)) < 60
