import io
import re

import pytest
from hypothesis import given, strategies as st
from rich.cells import cell_len

from ultraslow.diffusion import terminal
from ultraslow.diffusion.recording import escaped
from ultraslow.diffusion.terminal import Head, cells, grid, grid_rows, tell, wrapped

PLAIN = st.characters(exclude_categories=["Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp", "Zs"])
WORDS = st.lists(st.text(PLAIN, min_size=1, max_size=14), max_size=12).map(" ".join)
HEADS = [
    Head("run", left=True),
    Head("p"),
    Head("interval", tied=True),
    Head("decades", spare=True),
    Head("ρ"),
    Head("its interval", tied=True),
    Head("remark", left=True),
]
ROWS = [
    ["sqrt-decay-b256-s0", "0.154", "[−0.596, 0.422]", "3.18", "3.044", "[2.463, 3.761]", ""],
    ["a", "0.1", "(−∞, 0.666]", "2.70", "–", "–", "growth may have set in as late as that"],
]


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@given(st.text(max_size=40))
def test_columns_of_a_text_are_those_of_an_independent_table(text):
    shown = escaped(text)
    assert cells(shown) == cell_len(shown)


@pytest.mark.parametrize("text", ["|G|² = 4", "‖w_t − w_0‖", "√M ∝ η … ρ", "é", "−∞", "0.1 ± 2"])
def test_what_takes_the_short_way_is_as_wide_as_it_says(text):
    assert terminal._NARROW.fullmatch(text) and cells(text) == cell_len(text)


@given(WORDS, st.integers(4, 60), st.integers(0, 6))
def test_words_wrap_within_the_width_and_all_are_there(text, width, blanks):
    lines = wrapped(" " * blanks + text, width).split("\n")
    assert max(map(cell_len, lines)) <= max(width, 2)
    assert "".join(lines).replace(" ", "") == "".join(text.split())


@given(st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=30).map(" ".join))
def test_no_word_is_cut_that_finds_room(text):
    assert " ".join(wrapped(text, 20).split()) == text


def test_a_name_wider_than_the_line_is_cut_at_a_dash():
    assert wrapped("sqrt-decay-b256-s0", 12, indent=0).split("\n") == ["sqrt-decay-", "b256-s0"]


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 100, 160, None])
def test_a_table_is_as_wide_as_it_may_be_and_tells_what_it_leaves_out(width):
    text, left_out = grid(HEADS, ROWS, width)
    lines = text.split("\n")
    assert width is None or max(map(cell_len, lines)) <= width
    assert left_out == ([] if width in (None, 160) else ["decades"])
    flat = " ".join(text.split())
    for row in ROWS:
        for k, value in enumerate(row):
            if k != 3 and value != "–":
                assert value in flat or all(part in flat for part in re.split("(?<=-)| ", value))
    if width is None:
        assert len(lines) == 3 and lines[2].split("  ")[0] == "a"


def test_what_finds_no_room_stands_below_its_row_with_its_title():
    top, rows, left_out = grid_rows(HEADS, ROWS, 40)
    assert top == ["run                   p         interval"] and left_out == ["decades"]
    assert rows[0] == [
        "sqrt-decay-b256-  0.154  [−0.596, 0.422]",  # a name parts at a dash, before others go
        "s0",
        "    ρ 3.044 [2.463, 3.761]",
    ]
    assert rows[1][1:] == ["    remark growth may have set in as", "    late as that"]


def test_a_spare_column_goes_last_first_and_only_where_it_must():
    heads = [Head("a"), Head("b", spare=True), Head("c", spare=True)]
    assert grid(heads, [["1" * 6, "2" * 6, "3" * 6]], 22) == (
        "     a       b       c\n111111  222222  333333",
        [],
    )
    assert grid(heads, [["1" * 6, "2" * 6, "3" * 6]], 21)[1] == ["c"]
    assert grid(heads, [["1" * 6, "2" * 6, "3" * 6]], 12)[1] == ["b", "c"]


def test_solid_columns_and_numbers_stay_whole():
    heads = [Head("", left=True), Head("effect", left=True, solid=True), Head("", left=True)]
    rows = [["P10", "12,097 [8257, 17,725]", "Slope, temperature and landscape close"]]
    for width in (25, 30, 40, 50, 80):
        text = grid(heads, rows, width)[0]
        assert "[8257, 17,725]" in text
        if width >= 30:
            assert "12,097 [8257, 17,725]" in text, width


def test_colour_is_for_terminals_that_want_it(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.has_colour(Screen()) and not terminal.has_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.has_colour(Screen())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not terminal.has_colour(Screen())
    text = grid([Head("verdict", left=True)], [["contradicted"], ["odd"]], colour=True)[0]
    assert text == "\x1b[1mverdict\x1b[0m\n\x1b[31mcontradicted\x1b[0m\nodd"


def test_messages_wrap_in_terminals_alone(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    screen, pipe = Screen(), io.StringIO()
    for stream in (screen, pipe):
        tell("many words " * 9 + "\x1b[31m", stream=stream)
    lines = screen.getvalue().split("\n")
    assert max(map(len, lines)) <= 40 and len(lines) > 3
    assert pipe.getvalue().count("\n") == 1 and "\x1b" not in pipe.getvalue()


def test_a_line_of_any_length_is_shortened():
    assert len(escaped("x" * 10**6)) == 2000
    assert max(map(len, escaped(("x" * 10**5 + "\n") * 2, lines=True).split("\n"))) == 2000


def test_a_terminal_of_no_width_is_taken_for_a_narrow_one(monkeypatch):
    monkeypatch.setenv("COLUMNS", "3")
    assert terminal.screen_width(Screen()) == 20
    assert terminal.screen_width(io.StringIO()) is None
