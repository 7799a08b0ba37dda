import html.parser
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ultraslow.analysis.report import markup
from ultraslow.diffusion.predictions import PREDICTIONS

HOSTILE = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            '" onload="alert(1)',
            "' onload='alert(1)",
            "</style></svg></main><img src=x onerror=alert(1)>",
            "<!-- ",
            "]]>",
            "&lt;b&gt;",
            "${title} $style %s {0}",
            "\u202egpj.exe\x1b[2J",
        ]
    ),
)


class Reader(html.parser.HTMLParser):
    """Tags, attributes and text, as a browser would see them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.names, self.text = [], set(), ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        raise AssertionError(data)


def row(**texts):
    plain = {
        "prediction": "P1",
        "statement": "claim",
        "verdict": "supported",
        "reason": "reason",
        "needed": "needed",
        "assumptions": "checked",
        "effect": 0.1,
        "effect_low": -0.1,
        "effect_high": "inf",
        "effect_meaning": "p",
        "runs": 1,
        "seeds": 2,
        "batch_sizes": "64",
    }
    return plain | texts


# Every function with a text that may come from a file, applied to one text.
PIECES = {
    "escape": markup.escape,
    "section": lambda text: markup.section(text, text, "<i></i>"),
    "figure": lambda text: markup.figure(["<svg></svg>"], text),
    "verdict": lambda text: markup.verdict(
        row(
            **dict.fromkeys(
                ("prediction", "statement", "verdict", "reason", "needed", "assumptions"), text
            ),
            effect_meaning=text,
            batch_sizes=text,
        )
    ),
    "swatch": lambda text: markup.swatch(text, text),
    "faults": lambda text: markup.faults([(text, [text, text])]),
    "details": lambda text: markup.details(text, {text: [text]}),
    "drawer": lambda text: markup.drawer(text, "<i></i>"),
    "page": lambda text: markup.page(text, [markup.escape(text)]),
}


@pytest.mark.parametrize("piece", PIECES)
@given(text=HOSTILE)
def test_no_text_adds_elements_or_attributes(piece, text):
    assume(text not in PREDICTIONS)  # the name of a prediction brings its title along
    harmless, hostile = Reader(PIECES[piece]("x")), Reader(PIECES[piece](text))
    # An empty text may leave its element out; none may add one.
    assert set(hostile.tags) <= set(harmless.tags)
    assert len(hostile.tags) <= len(harmless.tags)
    assert hostile.names <= harmless.names


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=200))
def test_a_reader_sees_the_text_as_it_was(text):
    assert Reader(f"<p>{markup.escape(text)}</p>").text == text


def test_a_section_without_parts_is_left_out():
    assert markup.section("title", "lead", "", "") == ""
    assert markup.figure([], "caption") == ""
    assert markup.faults([]) == ""


def test_a_title_with_a_dollar_sign_is_no_template():
    assert "<title>$style</title>" in markup.page("$style", ["x"])


def test_the_page_forbids_scripts_and_the_network():
    page = markup.page("t", [])
    assert "default-src 'none'" in page
    assert not {"script", "link", "img"} & set(Reader(page).tags)
    assert "http" not in page.replace("http-equiv", "")


def test_an_effect_stands_with_its_interval():
    text = Reader(markup.verdict(row())).text
    assert "0.100[−0.100, ∞)" in text
    assert "1 run, 2 seeds or more a batch size, batch size 64" in text
    assert "Logarithmic growth" in text


def test_a_verdict_without_an_effect_says_so_and_checks_nothing_aloud():
    text = Reader(markup.verdict(row(effect=None, assumptions="", needed=""))).text
    assert "no estimate" in text
    assert "Checked" not in text
    assert "decide" not in text


def test_long_values_are_cut_and_say_where_the_rest_is():
    shown = markup.details("config", {"note": "x" * 10_000})
    assert "the whole stands in the JSON file" in shown
    assert len(shown) < 5000
    assert json.dumps({"a": 1}, indent=1) in Reader(markup.details("config", {"a": 1})).text


def test_a_table_has_a_cell_for_each_value():
    reader = Reader(markup.table(("a", "b"), [("1", "2"), ("3", "4")], text=1))
    assert reader.text.split() == ["ab12", "34"]
    assert reader.tags.count("td") == 4
    with pytest.raises(ValueError, match="argument"):
        markup.table(("a", "b"), [("1",)], text=1)


def test_an_svg_loses_its_prologue_and_its_own_size():
    head = '<?xml version="1.0"?>\n<svg xmlns="x" width="9pt" height="8pt"\n viewBox="0 0 9 8">\n'
    svg = head + "<g/></svg>"
    drawn = markup.inline_svg(svg)
    assert drawn.startswith("<svg")
    assert "width=" not in drawn
    assert "height=" not in drawn
    assert 'viewBox="0 0 9 8"' in drawn
    assert drawn.endswith("<g/></svg>")
