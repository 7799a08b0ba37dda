"""HTML from the templates, where every text is cleaned and escaped."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ultraslow.analysis import plot
from ultraslow.analysis.text import LONGEST, printable

# What a browser or an editor obeys: control characters and those that turn a line's direction
# round. Pieces of a page clean their texts; here nothing gets by that was put together elsewhere.
_OBEYED = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069]")
_FOLDER = files(__package__) / "templates"


def _cleaned(value: object) -> object:
    """What a template shows: HTML as it is, a text on one line without control characters."""
    return value if isinstance(value, Markup) else printable(str(value), LONGEST)


_TEMPLATES = Environment(
    loader=FileSystemLoader(str(_FOLDER)),
    autoescape=True,
    finalize=_cleaned,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _coded(text: str) -> Markup:
    """A text in which what stands between backticks is code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(_cleaned(text)))))


_TEMPLATES.filters["coded"] = _coded
# Verdicts that no run would change stand by themselves.
NO_QUESTION = "Does not arise here"
_TEMPLATES.globals |= {"no_question": NO_QUESTION, "role_of_size": plot.role_of_size}


def piece(name: str, *values: object) -> Markup:
    """A part of a page.

    Arguments:
        name: of a macro in `templates/pieces.html`.
        values: its arguments; texts are escaped, `Markup` is not.
    """
    return Markup(getattr(_TEMPLATES.get_template("pieces.html").module, name)(*values))


def page(colours: str, **content: object) -> str:
    """The whole document, with style and script inside.

    Its policy lets a browser load nothing, and run that script alone.

    Arguments:
        colours: rules that give the style its colours.
        content: as `templates/page.html` has it.
    """
    style = Markup(colours + (_FOLDER / "report.css").read_text("utf-8"))
    script = Markup((_FOLDER / "report.js").read_text("utf-8"))
    document = _TEMPLATES.get_template("page.html").render(
        style=style,
        script=script,
        style_hash=_digest(style),
        script_hash=_digest(script),
        **content,
    )
    return _OBEYED.sub("�", document)


def _digest(text: str) -> Markup:
    """The hash by which a content security policy knows a style or script."""
    found = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup("'sha256-{}'").format(found)


def inline_svg(svg: str) -> Markup:
    """The SVG element alone, sized by the page and not by itself."""
    start = svg.index("<svg")
    head, rest = svg[start:].split(">", 1)
    kept = [part for part in head.split("\n") if part]
    attributes = " ".join(kept).split('" ')
    sized = [a for a in attributes if not a.lstrip("<svg ").startswith(("width=", "height="))]
    return Markup('" '.join(sized) + ">" + rest)


def without_style(svg: Markup) -> Markup:
    """A drawing without any style of its own, which the page's policy forbids.

    What its elements say of themselves becomes attributes.
    """
    rest = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    return Markup(re.sub(r' style="([^"]*)"', _as_attributes, rest))


def _as_attributes(style: re.Match[str]) -> str:
    pairs = (one.split(":", 1) for one in style[1].split(";") if ":" in one)
    return "".join(f' {name.strip()}="{value.strip()}"' for name, value in pairs)


def json_lines(content: Any) -> Sequence[str]:
    """Values as lines of JSON, cut where they are too long for a page."""
    listed = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True)
    if len(listed) > LONGEST:
        listed = f"{listed[:LONGEST]}\n… cut; the whole stands in the JSON file"
    return listed.split("\n")
