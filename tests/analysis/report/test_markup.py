import html.parser
import json

import pytest
from hypothesis import assume, given, strategies as st
from jinja2.exceptions import UndefinedError
from markupsafe import Markup

from ultraslow.analysis.report import markup
from ultraslow.analysis.report.markup import piece
from ultraslow.analysis.report.table import Column, Table
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
        self.feed(str(text))
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


def page(text, **options):
    one = {"title": text, "told": [], "lacking": ""}
    plain = {"title": text, "overline": [text], "answer": text, "sets": [one]}
    return markup.page(**plain | {"sections": [text]} | options)


TEXTS = ("prediction", "statement", "verdict", "reason", "needed", "assumptions")
TEXTS = (*TEXTS, "effect_meaning", "batch_sizes")
# Every part with a text that may come from a file, applied to one text.
PIECES = {
    "section": lambda text: piece("section", text, text, [Markup("<i></i>")]),
    "figure": lambda text: piece("figure", [Markup("<svg></svg>")], text),
    "verdict": lambda text: piece(
        "verdict", row(**dict.fromkeys((*TEXTS, "effect_meaning"), text))
    ),
    "lacking": lambda text: piece("lacking", [row(**dict.fromkeys(TEXTS, text))]),
    "swatch": lambda text: piece("swatch", text, text),
    "code": lambda text: piece("code", text),
    "small": lambda text: piece("small", text),
    "faults": lambda text: piece("faults", [{"source": text, "faults": [text, text]}]),
    "details": lambda text: piece("details", text, markup.json_lines({text: [text]})),
    "drawer": lambda text: piece("drawer", text, [Markup("<i></i>")]),
    "table": lambda text: Table(columns=(Column(text, str),), rows=[text], notes=(text,)).html(),
    "page": page,
}


@pytest.mark.parametrize("part", PIECES)
@given(text=HOSTILE)
def test_no_text_adds_elements_or_attributes(part, text):
    assume(text not in PREDICTIONS)  # the name of a prediction brings its title along
    harmless, hostile = Reader(PIECES[part]("x")), Reader(PIECES[part](text))
    # An empty text may leave its element out; none may add one.
    assert set(hostile.tags) <= set(harmless.tags)
    assert len(hostile.tags) <= len(harmless.tags)
    assert hostile.names <= harmless.names


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=200))
def test_a_reader_sees_the_text_as_it_was(text):
    assert Reader(piece("small", text)).text == text


def test_a_title_with_a_dollar_sign_or_braces_is_no_template():
    for title in ("$style", "{{ style }}", "{% raw %}"):
        assert f"<title>{title}</title>" in page(title)


def test_the_page_forbids_scripts_and_the_network():
    text = page("t")
    assert "default-src 'none'" in text
    assert not {"script", "link", "img"} & set(Reader(text).tags)
    assert "http" not in text.replace("http-equiv", "")


def test_a_missing_value_is_an_error_and_no_gap():
    with pytest.raises(UndefinedError):
        piece("verdict", {"prediction": "P1"})


def test_an_effect_stands_with_its_interval():
    text = Reader(piece("verdict", row())).text
    assert "0.100[−0.100, ∞)" in text.replace("\n", "")
    assert "1 run, 2 seeds or more a batch size, batch size 64" in text
    assert "Logarithmic growth" in text


def test_a_verdict_without_an_effect_says_so_and_checks_nothing_aloud():
    text = Reader(piece("verdict", row(effect=None, assumptions="", needed=""))).text
    assert "no estimate" in text
    assert "Checked" not in text
    assert "decide" not in text


def test_long_values_are_cut_and_say_where_the_rest_is():
    shown = piece("details", "config", markup.json_lines({"note": "x" * 10_000}))
    assert "the whole stands in the JSON file" in shown
    assert len(shown) < 5000
    whole = Reader(piece("details", "config", markup.json_lines({"a": 1}))).text
    assert json.dumps({"a": 1}, indent=1) in whole


def test_an_svg_loses_its_prologue_and_its_own_size():
    head = '<?xml version="1.0"?>\n<svg xmlns="x" width="9pt" height="8pt"\n viewBox="0 0 9 8">\n'
    svg = head + "<g/></svg>"
    drawn = markup.inline_svg(svg)
    assert drawn.startswith("<svg")
    assert "width=" not in drawn
    assert "height=" not in drawn
    assert 'viewBox="0 0 9 8"' in drawn
    assert drawn.endswith("<g/></svg>")
