"""Cards of verdicts: claim, finding, ruler or gauge, what would decide, and the evidence."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    NOT_APPLICABLE,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
)
from ultraslow.analysis.report.markup import NO_QUESTION
from ultraslow.analysis.text import number, plural, printable, real, sentence, sizes_in_words
from ultraslow.diffusion.predictions import PREDICTIONS

from .laws import LAWS, law_anchor, law_link
from .rulers import Zone, gauge, ruler, shown

# Claims in at most 66 characters; the whole statements stand in the evidence.
CLAIMS = {
    "P1": "With a constant learning rate, distance grows like log t.",
    "P1'": "Growth and landscape give the same exponent: q·γ = 1.",
    "P2": "With η ∝ √M, all batch sizes follow one curve.",
    "P2'": "With η ∝ M, all batch sizes follow one curve over Ση.",
    "P3": "Large batches generalize as well after as many updates.",
    "P4": "Loss differences grow in proportion to distance.",
    "P5": "Hotter runs move faster: log-slope ∝ T^(2/α).",
    "P6": "Without gradient noise the weights stop moving.",
    "P7": "The log of a crossing time is the barrier over T.",
    "P8": "The motion ages: displacement depends on ln τ/ln s.",
    "P9": "The path is held back: straightness far below 1, falling.",
    "P10": "Slope, temperature and landscape agree: b = T/c.",
    "H-a": "Near the full batch, equal updates fall short.",
    "H-b": "Huge batches leave the common curve.",
    "H-c": "Better accuracy needs no more distance.",
}
# What the zone of a claim is called, and whether values are ratios.
_ZONES = {
    "P1": ("like log t", False),
    "P1'": ("they agree", True),
    "P2": ("one curve", True),
    "P2'": ("one curve", True),
    "P3": ("no gap", False),
    "P4": ("as claimed", False),
    "P5": ("as claimed", False),
    "P6": ("at rest", False),
    "P7": ("barriers", True),
    "P8": ("ages", True),
    "P9": ("held back", True),
    "P10": ("they agree", True),
    "H-a": ("falls short", False),
    "H-b": ("common curve", True),
    "H-c": ("no farther", True),
}
_LONG = 240  # letters of a finding, above which its later clauses go to the evidence
_FACTOR = 1000.0  # a ratio beyond which is told in words as well
_WORDS = ("", "ten", "a hundred", "a thousand", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Card:
    """What the page shows of one verdict.

    Attributes:
        anchor: its name in addresses.
        key: of the prediction, as it is printed.
        word: the verdict.
        claim: in few words.
        finding: one sentence of what was found.
        needed: what would decide it; empty where it is decided.
        effect: the estimate in three digits; empty without one.
        ends: its interval.
        meaning: what the estimate is.
        picture: a ruler, or a gauge where there is no estimate; empty where neither can be drawn.
        evidence: titles with texts, or lists of texts.
        figure: the section of the figure that shows it, and what it is called; empty for none.
        law: where the law that it is about stands; empty for none.
    """

    anchor: str
    key: str
    word: str
    claim: str
    finding: str
    needed: str
    effect: str
    ends: str
    meaning: str
    picture: Markup
    evidence: tuple[tuple[str, str | tuple[str, ...]], ...]
    figure: tuple[str, str] = ("", "")
    law: str = ""


def card(
    row: Mapping[str, Any],
    *,
    brief: str = "",
    place: int = 0,
    figures: Mapping[str, tuple[str, str]] | None = None,
) -> Card:
    """The card of a verdict.

    Arguments:
        row: the verdict, as the JSON file holds it.
        brief: its finding in a sentence, where the verdict has one.
        place: of its set of runs, the first 0.
        figures: the section that shows each prediction, with its name.
    """
    key = row["prediction"]
    share = row["effect_meaning"].startswith("share ")
    found = estimate(row)
    told = "" if found is None else shown(found.value, share=share)
    ends = "" if found is None else found.ends(lambda x: shown(x, share=share))
    needed = "" if row["verdict"] == NOT_APPLICABLE else _instruction(row["needed"])
    return Card(
        anchor=anchor(key, place),
        key=printed(key),
        word=row["verdict"],
        claim=CLAIMS.get(key, printable(row["statement"], 90)),
        finding=finding(row, brief),
        needed=needed,
        effect=told,
        ends=ends,
        meaning=_meaning(row, found),
        picture=_picture(row, found),
        evidence=_evidence(row),
        figure=(figures or {}).get(key, ("", "")),
        law=f"#{law_anchor(LAWS[key])}" if key in LAWS else "",
    )


def anchor(key: str, place: int = 0) -> str:
    """A prediction's name in addresses.

    >>> anchor("P1'"), anchor("H-a", 1)
    ('P1-prime', 'H-a-2')
    """
    return key.replace("'", "-prime") + (f"-{place + 1}" if place else "")


def printed(key: str) -> str:
    """A prediction's number with a true prime."""
    return key.replace("'", "′")


def estimate(row: Mapping[str, Any]) -> Interval | None:
    """The effect of a verdict with its interval; None without one."""
    if row["effect"] is None:
        return None
    value, low, high = (real(row[name]) for name in ("effect", "effect_low", "effect_high"))
    return Interval(value, low, high)


def finding(row: Mapping[str, Any], brief: str = "") -> str:
    """What was found, in one sentence with its number; the rest of the reason is evidence."""
    first = re.split(r"(?<=\.)\s+(?=[A-Z])", row["reason"].strip(), maxsplit=1)[0]
    if not brief and len(first) > _LONG and "; " in first:
        first = first.split("; ", maxsplit=1)[0] + "."
    return three_digits(brief or first)


def three_digits(text: str) -> str:
    """A sentence with its decimals to three digits, and thousands set apart by narrow spaces.

    >>> three_digits("1.074 [1.056, 12.092] of 12,097 at 0.0333 and 2.5 by iteration 1500")
    '1.07 [1.06, 12.1] of 12\u202f097 at 0.0333 and 2.5 by iteration 1500'

    Numbers with an interval are measured, and no counts:

    >>> three_digits("12,097 [8257, 17,725] times as fast, over iterations 150 to 1500")
    '12\u202f100 [8260, 17\u202f700] times as fast, over iterations 150 to 1500'
    """

    def measured(found: re.Match[str]) -> str:
        return re.sub(
            r"\d+(?:,\d{3})*(?:\.\d+)?", lambda n: shown(float(n[0].replace(",", ""))), found[0]
        )

    def rounded(found: re.Match[str]) -> str:
        text = found[0]
        if len(text.replace(".", "").lstrip("0")) <= 3:
            return text
        return shown(float(text))

    great = r"(?<![\w.,])(?:\d{1,3}(?:,\d{3})+|\d{4,}) \[[^\]]*\]"
    text = re.sub(great, measured, text)
    text = re.sub(r"(?<![\w.,])\d+\.\d+(?![\w.,]\d)", rounded, text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "\u202f", text)
    return re.sub(
        r"(?<![\w.-])\d{5,}(?![\w-]|\.\d)", lambda n: shown(float(n[0]), exact=True), text
    )


def emphasized(text: str) -> Markup:
    """A sentence as HTML, the first number that has an interval set off.

    >>> str(emphasized("moved 2.95 [2.80, 3.10] times as far, and 1.2 [1.0, 1.3] later"))
    'moved <b>2.95</b> <span class="ci">[2.80, 3.10]</span> times as far, and 1.2 [1.0, 1.3] later'
    """
    number_and_ends = r"([−-]?[\d.\u202f]+) (\[[^\]<]*\])"
    marked = r'<b>\1</b> <span class="ci">\2</span>'
    return Markup(re.sub(number_and_ends, marked, str(escape(text)), count=1))


def _instruction(needed: str) -> str:
    """What would decide it, without the reasons that follow."""
    told = re.sub(r" \(now [^)]*\)", "", needed)
    told = re.split(r"(?<=.{30}): (?!\d)|; |(?<=.{40}), as (?=[a-z])", told, maxsplit=1)[0]
    return three_digits(sentence(told.rstrip("."))) if told else ""


def _meaning(row: Mapping[str, Any], found: Interval | None) -> str:
    """What the effect is, with its size in words where digits are hard to read."""
    told = row["effect_meaning"]
    if found is None or not _ZONES.get(row["prediction"], ("", False))[1]:
        return told
    if found.value > 0 and not 1 / _FACTOR < found.value < _FACTOR:
        power = round(abs(math.log10(found.value)))
        word = _WORDS[power] if power < len(_WORDS) and power > 3 else str(power)
        if power == 3:
            word = "three"
        told += f"; {word} powers of ten {'above' if found.value > 1 else 'below'} 1"
    return told


def _zone(row: Mapping[str, Any]) -> Zone | None:
    """Where the claim would hold; None where the rule is about more than one number."""
    low, high = real(row["null_low"]), real(row["null_high"])
    if math.isnan(low) or math.isnan(high):
        return None
    name, ratio = _ZONES.get(row["prediction"], ("as claimed", False))
    share = row["effect_meaning"].startswith("share ")

    def one(value: float) -> str:
        return f"{100 * value:.3g} %" if share else number(round(value, 2)).replace(",", "\u202f")

    if math.isinf(high):
        bounds = f"{one(low)} or more"
    elif math.isinf(low) or (ratio and low <= 0):
        bounds = f"below {one(high)}"
    elif low == -high:
        bounds = f"0 ± {one(high)}"
    else:
        bounds = f"{one(low)} to {one(high)}"
    return Zone(low, high, f"{name}: {bounds}", ratio=ratio and high > 0, share=share)


def _picture(row: Mapping[str, Any], found: Interval | None) -> Markup:
    zone, key = _zone(row), printed(row["prediction"])
    small = row["verdict"] in (UNDECIDABLE, NOT_APPLICABLE)
    if found is not None and zone is not None and math.isfinite(found.value):
        if zone.ratio and not found.value > 0:
            return Markup("")
        return ruler(found, zone, title=f"{key}: {row['effect_meaning']}", small=small)
    have, need = real(row["have"]), real(row["need"])
    if math.isfinite(have) and math.isfinite(need) and need > 0:
        unit = row["unit"]
        there = f"{_count(have)} {_unit(unit, have)}"
        goal = f"needs {_count(need)}"
        return gauge(have, need, had=there, goal=goal, title=f"{key}: {unit}")
    return Markup("")


def _count(value: float) -> str:
    return shown(value, exact=value == round(value))


def _unit(unit: str, count: float) -> str:
    if unit == "times in temperature":
        return "times in temperature"
    if unit == "iterations":
        return "iterations so far"
    one = {"seeds": "seed", "batch sizes": "batch size", "checkpoints": "checkpoint"}
    return one.get(unit, unit) if count == 1 else unit


def _evidence(row: Mapping[str, Any]) -> tuple[tuple[str, str | tuple[str, ...]], ...]:
    """Everything else that is known of a verdict, title by title."""
    key = row["prediction"]
    known = PREDICTIONS.get(key)
    first, last = real(row["first"]), real(row["last"])
    over = "" if math.isnan(first + last) else f", iterations {_span(first)} to {_span(last)}"
    sample = (
        f"{plural(row['runs'], 'run')}, {plural(row['seeds'], 'seed')} or more a batch size, "
        f"{sizes_in_words(row['batch_sizes'])}{over}"
    )
    told: list[tuple[str, str | tuple[str, ...]]] = [
        ("Claim", row["statement"]),
        ("Finding", row["reason"]),
        ("Would decide it", sentence(row["needed"]) if row["needed"] else ""),
        ("Measure", row["effect_meaning"]),
        ("Conditions", tuple(row["assumptions"].split("; ")) if row["assumptions"] else ""),
        ("Sample", sample),
        ("Source", "" if known is None else known.source),
        ("Law", law_link(key)),
    ]
    return tuple((title, text) for title, text in told if text)


def _span(iteration: float) -> str:
    return number(round(iteration, 2) if iteration < 100 else round(iteration))


_OF_ARMS = ("P3", "P6", "H-a", "H-b")
_LONGER = ("decades", "iterations")
# What is missing, in the order in which a reader would go about it; the first that holds.
MISSING: tuple[tuple[str, Callable[[Mapping[str, Any]], bool]], ...] = (
    ("No design within reach", lambda row: row["needed"].startswith("nothing ")),
    (
        "More seeds",
        lambda row: (
            row["unit"] == "seeds" and real(row["have"]) > 0 and row["needed"][:1].isdecimal()
        ),
    ),
    ("An arm that was not run", lambda row: row["prediction"] in _OF_ARMS),
    ("Longer runs", lambda row: row["unit"] in _LONGER or "training on" in row["needed"]),
    ("More seeds", lambda row: "seeds" in row["unit"] and real(row["have"]) > 0),
    ("Longer runs", lambda row: row["unit"] == "seeds with enough decades"),
    (
        "A measurement that was not recorded",
        lambda row: row["unit"] == "checkpoints" or row["reason"].startswith("No run recorded"),
    ),
    ("More seeds", lambda row: row["needed"][:1].isdecimal()),
    ("An arm that was not run", lambda row: True),
)
_ORDER = (
    "Longer runs",
    "More seeds",
    "A measurement that was not recorded",
    "An arm that was not run",
    "No design within reach",
    NO_QUESTION,
)


def missing(row: Mapping[str, Any]) -> str:
    """What an open verdict lacks, as the group that its card stands in."""
    if row["verdict"] == NOT_APPLICABLE:
        return NO_QUESTION
    return next(name for name, holds in MISSING if holds(row))


def groups(rows: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[str, list]], list]:
    """Verdicts as the page groups them.

    Arguments:
        rows: verdicts of one set.

    Returns:
        Decided ones by word, those contradicted first, and open ones by what is missing.
    """
    decided = [
        (word.capitalize(), [row for row in rows if row["verdict"] == word])
        for word in (CONTRADICTED, SUPPORTED)
    ]
    still = [row for row in rows if row["verdict"] in (UNDECIDABLE, NOT_APPLICABLE)]
    open_ones = [(name, [row for row in still if missing(row) == name]) for name in _ORDER]
    return (
        [(name, listed) for name, listed in decided if listed],
        [(name, listed) for name, listed in open_ones if listed],
    )
