import numpy as np
import pytest

from ultraslow.analysis.importers.delimited import delimited_sheet
from ultraslow.analysis.importers.sheet import column_numbers
from ultraslow.diffusion.recording import RecordError


def sheet(text):
    return delimited_sheet(text, "log.csv", "log", "0" * 64)


def column(text, name):
    return column_numbers(sheet(text), name).values.tolist()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ", ", " "])
def test_whatever_separates_cells_is_found(delimiter):
    rows = [["step", "train loss" if delimiter != " " else "loss", "d"], ["1", "0.5", "2"]]
    text = "\n".join(delimiter.join(row) for row in [*rows, ["2", "0.25", "3"]])
    found = sheet(text)
    assert list(found.columns)[::2] == ["step", "d"]
    assert column_numbers(found, "d").values.tolist() == [2, 3]
    assert found.lines == [2, 3]


def test_commas_before_decimals_where_they_separate_no_cells():
    text = "step;d\n1;1,5\n2;12,25\n3;1e3\n"
    assert column(text, "d") == [1.5, 12.25, 1000]
    with pytest.raises(
        RecordError, match=r"line 3, column 'd': found '2\.5' in a file with commas"
    ):
        column("step;d\n1;1,5\n2;2.5\n", "d")


def test_a_number_that_can_be_read_in_two_ways_is_refused():
    with pytest.raises(RecordError, match=r"found '5,000', which is 5000 or 5\.000"):
        column("step;d\n5,000;1\n10,000;2\n", "step")
    with pytest.raises(RecordError, match="which is 1234 or"):
        column('step,d\n"1,234",1\n', "step")
    assert column("step;d\n1;5,000\n2;5,25\n", "d") == [5, 5.25]
    with pytest.raises(RecordError, match=r"which is 5829 or 5\.829"):
        column("step;d\n5.000;5,829\n10.000;8,218\n", "d")
    assert column("step;d\n5.000;1\n10.000;2\n", "step") == [5, 10]


def test_points_are_between_thousands_where_commas_are_before_decimals():
    text = "step;d;e\n999;1,5;0,5\n1.000;23,8;7\n1.234.000;1.234,25;1\n"
    assert column(text, "step") == [999, 1000, 1234000]
    assert column(text, "d") == [1.5, 23.8, 1234.25]
    assert column(text.replace(";", "\t"), "step") == [999, 1000, 1234000]
    assert sheet(text).notes == (
        "commas stand before decimals, so that points in 'step' are between thousands: 1.000 is "
        "read as 1000",
        "commas stand before decimals, so that points in 'd' are between thousands: 1.234,25 is "
        "read as 1234.25",
    )


@pytest.mark.parametrize("cell", ["1.5", "0.001", "12.34", "1.0", "1.000.5", "1.5e-3"])
def test_other_points_are_refused_where_commas_are_before_decimals(cell):
    with pytest.raises(RecordError, match=rf"line 3, column 'lr': found '{cell}'.*thousands"):
        column(f"step;d;lr\n1;1,5;1.000\n2;2,5;{cell}\n", "lr")


def test_empty_cells_were_not_logged_and_nan_was():
    text = "step,d\n1,\n2,nan\n3,NA\n4,-inf\n5, 7 \n"
    found = column_numbers(sheet(text), "d")
    assert found.logged.tolist() == [False, True, False, True, True]
    np.testing.assert_array_equal(found.values, [np.nan, np.nan, np.nan, -np.inf, 7])


def test_quotes_blank_lines_and_an_index_without_a_name():
    text = ',step,"a, b"\n0,1,"2"\n\n1,3,"4"\n'
    found = sheet(text)
    assert list(found.columns) == ["index", "step", "a, b"]
    assert found.lines == [2, 4]
    assert column_numbers(found, "a, b").values.tolist() == [2, 4]


def test_a_header_behind_a_mark_as_numpy_writes_it():
    assert column("# step d\n1 2\n3 4\n", "d") == [2, 4]
    assert column("# t,d (of a slide, ±0.05)\n1,2\n3,4\n", "d") == [2, 4]
    assert list(sheet("# t,d(t)\n1,2\n").columns) == ["t", "d(t)"]
    assert column("# made by hand\n# in the evening\nstep,d\n1,2\n", "d") == [2]


def test_rows_without_names_get_numbers():
    found = sheet("1,2\n3,4\n")
    assert found.columns == {"column1": ["1", "3"], "column2": ["2", "4"]}
    assert "names no columns" in found.notes[0]


def test_a_last_number_may_be_cut_off_where_the_line_has_no_end():
    whole = "step,d\n1,12.5\n2,13.5"
    assert sheet(whole + "\n").notes == ()
    for text in (whole, whole[:-2]):
        (said,) = sheet(text).notes
        assert said.startswith("line 3, the last one, has no end: if the file was cut off")


@pytest.mark.parametrize("row", ["5", "5,0.", "5,-", "5,1e", "5,1.5e-", "5, 0. "])
def test_a_last_row_that_is_cut_off_is_told_and_left_out(row):
    found = sheet(f"step,d\n1,2\n3,4\n{row}")
    assert found.lines == [2, 3]
    assert found.notes == ("line 4 is cut off in its middle, and left out",)
    if "." in row:
        assert sheet(f"step,d\n1,2\n3,4\n{row}\n").lines == [2, 3, 4]


@pytest.mark.parametrize("count", [999, 1000])
def test_a_curve_of_a_thousand_points_from_the_page_is_a_sample(count):
    rows = "".join(f"1.5,{7 * k},{k}\n" for k in range(count))
    notes = sheet(f"Wall time,Step,Value\n{rows}").notes
    assert (len(notes) == 1 and "at random" in notes[0]) == (count == 1000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step,d\n1,2\n3\n4,5\n", "line 3: found 1 cells, expected 2"),
        ("step,d\n1,2,3\n4,5\n", "line 2: found 3 cells, expected 2"),
        ("step,step\n1,2\n", "two columns are called 'step'"),
        ("step,d\n", "holds a header and no row"),
        ("step\n1\n2\n", "line 1: found 'step', expected the names of two columns or more"),
        ("step,d\n1," + "x" * 2_000_000 + "\n", "line 2: field larger than field limit"),
        ('step,d\n1,"2\n', "line 2: unexpected end of data"),
    ],
)
def test_what_is_no_table_says_where(text, said):
    with pytest.raises(RecordError, match=said):
        sheet(text)
