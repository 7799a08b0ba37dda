import base64
import hashlib
import html.parser
import json
import re

import pytest
from hypothesis import assume, given, strategies as st
from jinja2.exceptions import UndefinedError
from markupsafe import Markup

from ultraslow.analysis.report import markup
from ultraslow.analysis.report.markup import piece
from ultraslow.analysis.report.page.answer import Answer, Cell
from ultraslow.analysis.report.page.cards import card
from ultraslow.analysis.report.page.document import Judged, Section
from ultraslow.analysis.report.page.recipes import Line
from ultraslow.analysis.report.table import Column, Table

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
        "null_low": -0.05,
        "null_high": 0.05,
        "first": 1.0,
        "last": 100.0,
        "have": None,
        "need": None,
        "unit": "",
        "runs": 1,
        "seeds": 2,
        "batch_sizes": "64",
    }
    return plain | texts


def page(text, **options):
    cell = Cell(text, text, text)
    judged = Judged(text, Answer(Markup("a"), ((text, 1),), (cell,)), (), ())
    section = Section(text, text, text, text, (piece("note", text),))
    plain = {"title": text, "overline": [text], "warnings": [text], "hero": Markup("")}
    plain |= {"judged": [judged], "others": [], "lead": text, "before_others": 1}
    return markup.page("", **plain | {"sections": [section]} | options)


TEXTS = ("statement", "reason", "needed", "assumptions", "effect_meaning", "batch_sizes", "unit")


def carded(text, *, large=True, **more):
    return piece("verdict", card(row(**dict.fromkeys(TEXTS, text), **more)), 4, large)


# Every part with a text that may come from a file, applied to one text.
PIECES = {
    "figure": lambda text: piece("figure", [Markup("<svg></svg>")], text),
    "hero": lambda text: piece("hero", Markup("<svg></svg>"), text),
    "verdict": carded,
    "open verdict": lambda text: carded(text, large=False, verdict="undecidable"),
    "gauge": lambda text: carded(text, verdict="undecidable", effect=None, have=1.0, need=4.0),
    "key": lambda text: piece("key", 9, text),
    "facts": lambda text: piece("facts", [("x", text or "x")]),
    "ladder": lambda text: piece(
        "ladder", text, [(text, text)], [Line(text, text, (text,), (None,))], [text]
    ),
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
    assume("; " not in text)  # conditions are parted there
    assume(text.count("`") < 2)  # what stands between two is code in the sentences of a verdict
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


def test_the_page_forbids_the_network_and_all_scripts_but_its_own():
    text = page("t")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    for name in ("style", "script"):
        inside = re.search(f"<{name}>(.*?)</{name}>", text, flags=re.S)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not {"link", "img"} & set(Reader(text).tags)
    assert "http" not in text.replace("http-equiv", "")


def test_a_missing_value_is_an_error_and_no_gap():
    with pytest.raises(UndefinedError):
        piece("verdict", {"anchor": "P1"}, 4, True)


def test_an_effect_stands_with_its_interval():
    text = " ".join(Reader(piece("verdict", card(row(needed="")), 4, True)).text.split())
    assert "P1 supported" in text
    assert "0.100 [−0.100, ∞) p" in text
    assert "1 run, 2 seeds or more a batch size, batch size 64, iterations 1 to 100" in text
    assert "With a constant learning rate, distance grows like log t." in text


def test_a_verdict_without_an_effect_has_no_number_and_checks_nothing_aloud():
    bare = row(effect=None, assumptions="", needed="", verdict="undecidable")
    text = Reader(piece("verdict", card(bare), 4, False)).text
    assert "Conditions" not in text
    assert "decide" not in text
    assert "svg" not in str(card(bare).picture)


def test_a_drawing_has_no_style_of_its_own():
    inside = '<style type="t">*{x:y}</style><g style="fill: #fff; stroke: red"/>'
    svg = f'<svg viewBox="0 0 9 8">{inside}</svg>'
    assert (
        markup.without_style(svg) == '<svg viewBox="0 0 9 8"><g fill="#fff" stroke="red"/></svg>'
    )


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
