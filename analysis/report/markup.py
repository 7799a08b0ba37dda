"""HTML from the templates, where every text is cleaned and escaped."""

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ultraslow.analysis.text import (
    interval,
    plural,
    printable,
    real,
    rounded,
    sentence,
    sizes_in_words,
)
from ultraslow.diffusion.predictions import PREDICTIONS

# Of a text from a file: a configuration is documentation, not data; what is longer stands in the
# JSON file.
LONGEST = 4000
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
_TEMPLATES.filters |= {
    "interval": interval,
    "plural": plural,
    "real": real,
    "rounded": rounded,
    "sentence": sentence,
    "sizes_in_words": sizes_in_words,
}
_TEMPLATES.globals |= {"predictions": PREDICTIONS, "rounded": rounded}


def piece(name: str, *values: object) -> Markup:
    """A part of a page.

    Arguments:
        name: of a macro in `templates/pieces.html`.
        values: its arguments; texts are escaped, `Markup` is not.
    """
    return Markup(getattr(_TEMPLATES.get_template("pieces.html").module, name)(*values))


def page(**content: object) -> str:
    """The whole document, with the style inside; `content` as `templates/page.html` has it."""
    style = Markup((_FOLDER / "report.css").read_text("utf-8"))
    return _TEMPLATES.get_template("page.html").render(style=style, **content)


def inline_svg(svg: str) -> Markup:
    """The SVG element alone, sized by the page and not by itself."""
    start = svg.index("<svg")
    head, rest = svg[start:].split(">", 1)
    kept = [part for part in head.split("\n") if part]
    attributes = " ".join(kept).split('" ')
    sized = [a for a in attributes if not a.lstrip("<svg ").startswith(("width=", "height="))]
    return Markup('" '.join(sized) + ">" + rest)


def json_lines(content: Any) -> Sequence[str]:
    """Values as lines of JSON, cut where they are too long for a page."""
    listed = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True)
    if len(listed) > LONGEST:
        listed = f"{listed[:LONGEST]}\n… cut; the whole stands in the JSON file"
    return listed.split("\n")
