"""The whole page, section by section; one that fails is replaced by a line that says so."""

import warnings as python_warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from markupsafe import Markup

from ultraslow.analysis.report import markup
from ultraslow.analysis.report.markup import piece
from ultraslow.analysis.report.verdicts import set_title
from ultraslow.analysis.text import percent, plural, printable

from . import laws, measures, motion, quality, recipes
from .answer import ASKED, Answer, Beside, answered, exponents_seen, other_sets, warnings
from .cards import Card, card, groups, three_digits
from .findings import Findings
from .palette import colour_rules

TITLE = "How the weights moved"


@dataclass(frozen=True)
class Section:
    """A part of the page that the contents name.

    Attributes:
        name: in addresses.
        short: in the contents.
        title: its heading.
        lead: what is to be seen, in a sentence or two.
        parts: what it holds; a section without any is left out.
    """

    name: str
    short: str
    title: str
    lead: str
    parts: tuple[Markup, ...]


@dataclass(frozen=True)
class Judged:
    """The verdicts on one set of equal runs.

    Attributes:
        title: the set and its size; empty where there is one only.
        answer: what they say at a glance.
        decided: cards by word.
        still: cards of open verdicts by what is missing.
    """

    title: str
    answer: Answer
    decided: tuple[tuple[str, tuple[Card, ...]], ...]
    still: tuple[tuple[str, tuple[Card, ...]], ...]


# Sections in their order, as functions that give the title, the lead and the parts of each.
Built = tuple[str, str, Sequence[Markup]]
Build = Callable[[Findings, dict[str, Any]], Built]
_SECTIONS: tuple[tuple[str, str, Build], ...] = (
    ("distance", "Distance", motion.distance),
    ("exponents", "Exponents", motion.exponents),
    ("batch-sizes", "Batch sizes", motion.batch_sizes),
    ("noise", "Noise", measures.noise),
    ("path", "Path", measures.path),
    ("landscape", "Landscape", measures.landscape),
    ("aging", "Aging", measures.aging),
    ("loss", "Loss", measures.loss),
    ("recipes", "Recipes", recipes.ladder),
    ("laws", "Laws", laws.laws),
    ("quality", "Data", quality.quality),
    ("provenance", "Provenance", quality.provenance),
)
_LAST = ("laws", "quality", "provenance")  # these are about all sets
# Where the page shows what a verdict is about.
_SHOWN_IN = {
    "P1": ("exponents", "Exponents"),
    "P2": ("batch-sizes", "Batch sizes"),
    "P2'": ("batch-sizes", "Batch sizes"),
    "P9": ("path", "Path"),
    "P4": ("landscape", "Landscape"),
    "P8": ("aging", "Aging"),
    "H-c": ("loss", "Loss"),
}


def whole_page(found: Findings, content: dict[str, Any]) -> str:
    """The report's page.

    Arguments:
        found: what the figures show.
        content: what the JSON file holds.

    Returns:
        HTML.
    """
    sections = [
        one
        for name, short, build in _SECTIONS
        for one in [_section(name, short, build, found, content)]
        if one.parts
    ]
    there = {one.name for one in sections}
    judged = _guarded("Predictions", lambda: _judged(found, content, there), [])
    what = {f"{row['model']} on {row['data']}" for row in content["inputs"] if row["model"]}
    made = f"ultraslow {content['versions']['ultraslow']}"
    made_on = datetime.fromisoformat(content["created"])
    return markup.page(
        colour_rules(),
        title=TITLE,
        overline=[
            made,
            _counted(len(found.study.runs), found.verdicts.sizes["set"]),
            *(printable(one, 80) for one in sorted(what)[:2]),
            f"{made_on.day}\u00a0{made_on:%B}\u00a0{made_on.year}",
        ],
        warnings=_guarded("Warnings", lambda: warnings(found.study.runs, content), []),
        hero=_guarded("Figure 1", lambda: motion.hero(found), Markup("")),
        judged=judged[:1],
        others=judged[1:],
        lead=_lead(found.study.level),
        sections=sections,
        before_others=sum(one.name not in _LAST for one in sections),
    )


def _counted(runs: int, sets: int) -> str:
    return plural(runs, "run") + (f" in {sets} sets" if sets > 1 else "")


def _lead(level: float) -> str:
    return (
        "Each claim of the theory, what was found, and how the finding lies to the region in "
        f"which the claim would hold (shaded). Intervals are at {percent(level)} unless another "
        "level stands beside them."
    )


def _section(
    name: str,
    short: str,
    build: Build,
    found: Findings,
    content: dict[str, Any],
) -> Section:
    failed: Built = ("", "", [])
    title, lead, parts = _guarded(short, lambda: build(found, content), failed)
    if (title, lead, parts) == failed:
        told = "This section could not be drawn; the numbers stand in the JSON file."
        return Section(name, short, short, "", (piece("note", told),))
    return Section(name, short, title, lead, tuple(part for part in parts if part))


def _guarded(name: str, build: Callable[[], Any], otherwise: Any) -> Any:
    """What a function gives; where it fails, a warning says so and the page goes on without."""
    try:
        return build()
    except Exception as error:  # noqa: BLE001 - nothing that a run contains shall stop the page
        told = f"report: {name} is left out: {type(error).__name__}: {printable(str(error), 200)}"
        python_warnings.warn(told, RuntimeWarning, stacklevel=2)
        return otherwise


def _judged(found: Findings, content: Mapping[str, Any], there: set[str]) -> list[Judged]:
    """What is said of each set of equal runs, the first first."""
    table = found.verdicts
    names = table["set"].values.tolist()
    told = []
    for place, name in enumerate(names):
        rows = [row for row in content["verdicts"] if row["set"] == name]
        beside = Beside.of(table, name)
        seen = exponents_seen(found.study.fits) if place == 0 else ""
        figures = {
            key: (f"#{section}", f"See {title.lower()}")
            for key, (section, title) in _SHOWN_IN.items()
            if section in there and place == 0
        }

        def carded(
            rows: Sequence[Mapping[str, Any]],
            briefs: Mapping[str, str] = beside.brief,
            place: int = place,
            figures: Mapping[str, tuple[str, str]] = figures,
        ) -> tuple[Card, ...]:
            return tuple(
                card(row, brief=briefs.get(row["prediction"], ""), place=place, figures=figures)
                for row in rows
            )

        decided, still = groups(rows)
        title = three_digits(set_title(table, name)) if len(names) > 1 else ""
        told.append(
            Judged(
                title,
                answered(
                    rows, beside, place, seen, printable(name, 40) if title and place == 0 else ""
                ),
                tuple((word, carded(own)) for word, own in decided),
                tuple((missing, carded(own)) for missing, own in still),
            )
        )
    if len(told) > 1:
        told[0] = _with_others(told[0], table)
    return told


def _with_others(first: Judged, table: Any) -> Judged:
    """The first set with what the others answer to the first question."""
    words = table["verdict"].sel(prediction=ASKED[0])
    others = other_sets(
        [
            (printable(name, 40), Beside.of(table, name).statement(ASKED[0], word), word)
            for name, word in zip(table["set"].values[1:], words.values[1:].tolist(), strict=True)
        ]
    )
    if not others:
        return first
    said = Markup('{} <a href="#others">{}</a>').format(first.answer.sentences, others)
    return replace(first, answer=replace(first.answer, sentences=said))
