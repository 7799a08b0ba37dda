import io
import re

import pytest
from hypothesis import given, strategies as st
from rich.cells import cell_len

from ultraslow.analysis.report import table
from ultraslow.analysis.report.table import Column, Table, printed

SAFE = st.characters(
    exclude_categories=["Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp", "Zs", "Mn", "Me", "Mc"]
)
CELLS = st.text(SAFE, min_size=1, max_size=12)
ROWS = st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6)


def shown(titles, rows, *, left=1, **options):
    columns = [Column(t, lambda row, k=k: row[k], k < left) for k, t in enumerate(titles)]
    return Table(columns=tuple(columns), rows=rows, **options)


@given(ROWS)
def test_columns_are_aligned_where_no_terminal_asks_for_less(rows):
    lines = shown("abc", rows).terminal().split("\n")
    assert len(lines) == len(rows) + 1
    # The last column is flush right: every line ends where the header does.
    assert len({cell_len(line) for line in lines}) == 1
    assert all(line.startswith(row[0]) for line, row in zip(lines[1:], rows, strict=True))
    edge = max(cell_len(cell) for cell in ("a", *(row[0] for row in rows)))
    starts = [
        cell_len(line) - cell_len(line[len(row[0]) :].lstrip())
        for line, row in zip(lines[1:], rows, strict=True)
    ]
    assert min(starts) >= edge + 2


@given(ROWS, st.integers(30, 60))
def test_a_narrow_terminal_leaves_nothing_out(rows, width):
    """Every value of a table without columns to spare stands whole, beside its name or below."""
    text = shown("abc", rows).terminal(width)
    lines = text.split("\n")
    assert max(map(cell_len, lines)) <= width
    for k in (1, 2):
        for value in {row[k] for row in rows} - {"–"}:
            copies = [row[k] for row in rows].count(value)
            assert sum(value in line for line in lines) >= copies


def test_columns_without_room_stand_below_their_row():
    rows = [("first", "1000", "2000"), ("second", "1", "[0.1, 0.2]")]
    assert shown(("run", "batch", "interval"), rows).terminal(20).split("\n") == [
        "run     batch",
        "first    1000",
        "    interval 2000",
        "second      1",
        "    interval",
        "    [0.1, 0.2]",
    ]


def test_columns_that_can_be_spared_go_and_are_named():
    columns = (
        Column("run", lambda row: row[0], left=True),
        Column("p", lambda row: row[1]),
        Column("records", lambda row: row[2], spare=True),
    )
    table = Table(columns=columns, rows=[("a-longer-name", "0.5", "128")], notes=("why",))
    assert "records" in table.terminal().split("\n")[0]
    assert table.terminal(100).split("\n")[0].split() == ["run", "p", "records"]
    assert table.terminal(22).split("\n") == [
        "run              p",
        "a-longer-name  0.5",
        "",
        "Not shown here:",
        "    records. A wider",
        "    terminal or a file",
        "    has all.",
        "why",
    ]
    assert [*map(str, table.html().split("records"))][1:] != []  # a page has it


def test_long_names_fold_and_numbers_do_not():
    rows = [("n" * 50, "123456789")]
    lines = shown(("run", "weights"), rows).terminal(40).split("\n")
    assert "".join(lines[1:3]) == "n" * 50
    assert lines[3] == "    weights 123456789" and max(map(len, lines)) <= 40
    assert "n" * 50 in shown(("run", "weights"), rows).terminal()


NAMES = ["[red]run[/red]", "[/]", "[link=x]", ":smile:", "a\\[b]", "{0} %s", "{{ x }}"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_no_markup(name):
    one = shown(("run", "p"), [(name, "1")], title=name, notes=(name,), below=None)
    assert one.terminal().count(name) == 3
    assert name in shown(("", "p"), [(name, "1")], below=lambda row: [row[0]]).terminal()
    assert name in str(one.html())


def test_control_characters_do_not_reach_the_terminal_or_the_page():
    name = "\x1b[2Jgone\u202e\nnext"
    one = shown(("run", "p"), [(name, "1")], notes=(name,), lead=(name,))
    for text in (one.terminal(), str(one.html())):
        assert not set(text) & {"\x1b", "\u202e"} and "gone�" in text


@given(st.text(max_size=2000), st.integers(30, 130))
def test_sentences_are_no_wider_than_the_terminal_or_a_hundred_columns(text, width):
    one = shown(("a", "b"), [("x", "y")], notes=(text,), below=lambda row: [text])
    assert max(map(cell_len, one.terminal(width).split("\n"))) <= min(width, table.WIDTH)


def test_colour_is_for_terminals_alone(monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return True

    one = shown(("run", "p"), [("a", "1")])
    assert "\x1b" not in one.terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "44")
    monkeypatch.setattr("sys.stdout", Screen())
    text = one.terminal()
    assert "\x1b[1m" in text and re.sub("\x1b\\[[0-9;]*m", "", text) == "run  p\na    1"
    long = shown(("run", "p"), [("a", "1")], notes=("many words " * 20,))
    assert max(map(len, long.terminal().split("\n")[2:])) <= 44


def test_rows_are_what_json_holds():
    held = [{"p": float("inf"), "run": "a", "extra": (1, 2)}]
    one = Table(columns=(Column("p", lambda row: "1"),), rows=held)
    assert one.json() == [{"p": "inf", "run": "a", "extra": [1, 2]}]
    assert Table(rows=[Column("p", str)]).json()[0]["title"] == "p"


def test_tables_stand_apart_and_empty_ones_take_no_room():
    assert printed([Table(notes=("a",)), Table(), Table(title="b")]) == "a\n\nb"


def test_a_page_has_a_cell_for_each_value():
    html = str(shown(("a", "b"), [("1", "<2>"), ("3", "4")], notes=("n & m",)).html())
    assert re.sub("<[^>]+>", " ", html).split() == [*"ab1", "&lt;2&gt;", *"34n", "&amp;", "m"]
    assert (
        html.count("<td") == html.count('<th scope="row"') == 2 and html.count('class="text"') == 3
    )
