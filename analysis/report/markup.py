"""Pieces of HTML as text; every text that came from a file is escaped here."""

import html
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from string import Template
from typing import Any

from ultraslow.analysis.text import batch_sizes, interval, plural, printable, real, rounded
from ultraslow.diffusion.predictions import PREDICTIONS

_TEMPLATES = files(__package__) / "templates"
# A configuration is documentation, not data: what is longer stands in the JSON file.
_CONFIG_LENGTH = 4000


def escape(text: object, length: int = 200) -> str:
    """Text as HTML shows it: one line, without control characters, cut in the middle.

    >>> escape('<script>"x"</script>')
    '&lt;script&gt;&quot;x&quot;&lt;/script&gt;'
    """
    return html.escape(printable(str(text), length), quote=True)


def page(title: str, content: Iterable[str]) -> str:
    """The whole document, with the style inside."""
    return Template((_TEMPLATES / "page.html").read_text("utf-8")).substitute(
        title=escape(title),
        style=(_TEMPLATES / "report.css").read_text("utf-8"),
        content="\n".join(content),
    )


def section(title: str, lead: str, *parts: str) -> str:
    """A titled part of the page; empty when it has no parts.

    Arguments:
        title: its heading.
        lead: a sentence below it.
        parts: HTML.

    Returns:
        HTML.
    """
    if not any(parts):
        return ""
    below = f'<p class="lead">{escape(lead, 500)}</p>' if lead else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{below}\n{''.join(parts)}\n</section>"


def figure(panels: Sequence[str], caption: str) -> str:
    """SVG panels in columns with one caption."""
    if not panels:
        return ""
    few = " few" if len(panels) <= 2 else ""
    drawn = "\n".join(panels)
    caption = f"<figcaption>{escape(caption, 600)}</figcaption>"
    return f'<figure><div class="panels{few}">{drawn}</div>{caption}</figure>'


def inline_svg(svg: str) -> str:
    """The SVG element alone, sized by the page and not by itself."""
    start = svg.index("<svg")
    head, rest = svg[start:].split(">", 1)
    kept = [part for part in head.split("\n") if part]
    attributes = " ".join(kept).split('" ')
    sized = [a for a in attributes if not a.lstrip("<svg ").startswith(("width=", "height="))]
    return '" '.join(sized) + ">" + rest


def verdict(row: dict[str, Any]) -> str:
    """One prediction: word, claim with reason, effect with interval."""
    needed = f"<p>What would decide it: {escape(row['needed'], 500)}.</p>" if row["needed"] else ""
    checked = _checked(row["assumptions"]) if row["assumptions"] else ""
    return f"""<article class="verdict">
<div><span class="word {escape(row["verdict"])}">{escape(row["verdict"])}</span>
<div class="number">{_name(row["prediction"])}</div></div>
<div><p class="claim">{escape(row["statement"], 300)}</p>
<p>{escape(row["reason"], 900)}</p>{needed}{checked}</div>
<div>{_effect(row)}</div>
</article>"""


def lacking(rows: Sequence[dict[str, Any]]) -> str:
    """Predictions without a measurement, behind a line that opens; empty without any."""
    if not rows:
        return ""
    lines = [
        f"<li><b>{_name(row['prediction']).replace('<br>', ' · ')}</b><br>"
        f"{escape(row['reason'], 900)} What would decide it: {escape(row['needed'], 500)}.</li>"
        for row in rows
    ]
    count = plural(len(rows), "more prediction")
    summary = f"{count} could not be tested: what is missing"
    return drawer(summary, f'<ul class="faults">{"".join(lines)}</ul>')


def _name(prediction: str) -> str:
    known = PREDICTIONS.get(prediction)
    return escape(prediction) + (f"<br>{escape(known.title)}" if known else "")


def _checked(assumptions: str) -> str:
    return f'<p class="small">Checked: {escape(assumptions, 1200)}.</p>'


def _effect(row: dict[str, Any]) -> str:
    sample = ", ".join(
        [
            plural(row["runs"], "run"),
            f"{plural(row['seeds'], 'seed')} or more a batch size",
            batch_sizes(row["batch_sizes"]),
        ]
    )
    below = f'<div class="small">{escape(row["effect_meaning"], 200)}<br>{escape(sample)}</div>'
    if row["effect"] is None:
        return f'<div class="effect quiet">no estimate</div>{below}'
    ends = interval(real(row["effect_low"]), real(row["effect_high"]), show=rounded)
    value = rounded(real(row["effect"]))
    return f'<div class="effect">{value}</div><div class="small">{ends}</div>{below}'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, text: int) -> str:
    """A table of ready HTML cells, the first `text` columns flush left, in a scrolling box."""
    kinds = ["text" if k < text else "" for k in range(len(header))]
    head = "".join(f'<th class="{k}">{h}</th>' for h, k in zip(header, kinds, strict=True))
    body = "\n".join(_table_row(row, kinds) for row in rows)
    inside = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll"><table>{inside}</table></div>'


def _table_row(row: Sequence[str], kinds: Sequence[str]) -> str:
    cells = (f'<td class="{k}">{cell}</td>' for cell, k in zip(row, kinds, strict=True))
    return f"<tr>{''.join(cells)}</tr>"


def swatch(colour: str, label: str) -> str:
    """A dot in a batch size's colour, with the batch size."""
    return f'<span class="swatch" style="background:{escape(colour)}"></span>{escape(label)}'


def faults(items: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Unusable paths with their faults."""
    lines = [
        f"<li><code>{escape(source, 160)}</code><br>{escape('; '.join(found), 600)}</li>"
        for source, found in items
    ]
    return f'<ul class="faults">{"".join(lines)}</ul>' if lines else ""


def drawer(summary: str, *parts: str) -> str:
    """Parts of HTML behind a line that opens."""
    return f"<details><summary>{escape(summary)}</summary>{''.join(parts)}</details>"


def details(summary: str, content: Any) -> str:
    """Values as JSON behind a line that opens."""
    listed = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True)
    if len(listed) > _CONFIG_LENGTH:
        listed = f"{listed[:_CONFIG_LENGTH]}\n… cut; the whole stands in the JSON file"
    shown = "\n".join(escape(line, _CONFIG_LENGTH) for line in listed.split("\n"))
    return drawer(summary, f"<pre>{shown}</pre>")
