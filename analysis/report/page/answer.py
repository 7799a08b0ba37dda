"""The page's first screen: what recordings answer, how verdicts fell, and what to beware."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xarray as xr
from markupsafe import Markup, escape

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    NOT_APPLICABLE,
    SUPPORTED,
    UNDECIDABLE,
)
from ultraslow.analysis.report.absent import lost_distances
from ultraslow.analysis.report.verdicts import without_place
from ultraslow.analysis.text import first_of, fixed, plural, printable

from .cards import anchor, emphasized, finding, printed, three_digits

ASKED = ("P1", "P2")  # what recordings are made for
# What the verdicts on these say, before the finding: of a law, and of some arms or all.
_SAID = {
    ("P1", SUPPORTED): "Distance grows like {law}{at}",
    ("P1", CONTRADICTED): "Distance does not grow like log t{at}",
    ("P1", UNDECIDABLE): "Whether distance grows like log t is undecidable so far",
    ("P1", NOT_APPLICABLE): "Whether distance grows like log t does not arise here",
    ("P2", SUPPORTED): "With η ∝ √M {sizes} share one curve",
    ("P2", CONTRADICTED): "With η ∝ √M {sizes} do not share one curve",
    ("P2", UNDECIDABLE): "Whether batch sizes share one curve under η ∝ √M is undecidable so far",
    ("P2", NOT_APPLICABLE): "Whether batch sizes share one curve does not arise here",
}
_SHORT = 150  # letters of a finding in the answer, above which its later clauses are left to cards
_SETS = 2  # further sets that the first screen names; of more it tells how many say what


@dataclass(frozen=True)
class Cell:
    """One verdict in the strip.

    Attributes:
        key: of the prediction, as it is printed.
        anchor: of its card.
        word: the verdict.
    """

    key: str
    anchor: str
    word: str


@dataclass(frozen=True)
class Answer:
    """What is said of one set of runs at a glance.

    Attributes:
        sentences: the answer.
        tally: how many verdicts came out how.
        strip: a cell each.
        of: the set that it is about, where there are others.
    """

    sentences: Markup
    tally: tuple[tuple[str, int], ...]
    strip: tuple[Cell, ...]
    of: str = ""


@dataclass(frozen=True)
class Beside:
    """What stands beside the verdicts on a set, by prediction where there is something.

    Attributes:
        brief: findings in a sentence or two.
        about: the arms that they are about, where they are not all.
        law: the law that was found in place of log t.
    """

    brief: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    law: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, verdicts: xr.Dataset, name: str) -> "Beside":
        """Of a set, by its name."""
        of_set = verdicts.sel(set=name)
        keys = of_set["prediction"].values.tolist()
        texts = [
            dict(zip(keys, of_set[one].values.tolist(), strict=True))
            if one in of_set.coords
            else {}
            for one in ("brief", "about", "law")
        ]
        return cls(*texts)

    def statement(self, key: str, word: str) -> str:
        """What the verdict on P1 or P2 says."""
        about = three_digits(self.about.get(key, ""))
        fallback = "all batch sizes" if word == SUPPORTED else "batch sizes"
        law = three_digits(self.law.get(key, "")) or "log t"
        at = f" {about}" if about else ""
        return _SAID[key, word].format(law=law, at=at, sizes=about or fallback)


def answered(
    rows: Sequence[Mapping[str, Any]],
    beside: Beside | None = None,
    place: int = 0,
    seen: str = "",
    of: str = "",
) -> Answer:
    """The answer of a set of runs.

    Arguments:
        rows: its verdicts.
        beside: what stands beside them.
        place: of the set, the first 0; others say what they decide and nothing of what they lack.
        seen: what the picture shows beside the first answer; empty for nothing.
        of: the set, where there are others; empty for the only one.
    """
    beside, said, whose = beside or Beside(), [], of
    for row in rows:
        key, word = row["prediction"], row["verdict"]
        decided = word in (SUPPORTED, CONTRADICTED)
        if key in ASKED and (place == 0 or decided or key == ASKED[0]):
            why = finding(row, beside.brief.get(key, ""))
            about = three_digits(beside.about.get(key, ""))
            why = without_place(why, about).replace(f"{about} have", "they have")
            said.append(_told(in_set(of, beside.statement(key, word)), why))
            of = ""  # the sentences that follow are about the same set
            if key == ASKED[0] and seen and not decided:
                said.append(emphasized(seen))
    words = [row["verdict"] for row in rows]
    tally = [(word, words.count(word)) for word in (CONTRADICTED, SUPPORTED, UNDECIDABLE)]
    if NOT_APPLICABLE in words:
        tally.append((NOT_APPLICABLE, words.count(NOT_APPLICABLE)))
    strip = [
        Cell(printed(row["prediction"]), anchor(row["prediction"], place), row["verdict"])
        for row in rows
    ]
    return Answer(Markup(" ").join(said), tuple(tally), tuple(strip), whose)


def in_set(name: str, statement: str) -> str:
    """A statement with the set of runs that it is about, where that has a name."""
    return f"In the set {name} {_lowered(statement)}" if name else statement


def other_sets(found: Sequence[tuple[str, str, str]]) -> str:
    """What further sets that decide the first question answer to it; empty where none does.

    Arguments:
        found: of each the name, the statement of its verdict, and the word.
    """
    decided = [one for one in found if one[2] in (SUPPORTED, CONTRADICTED)]
    if len(decided) > _SETS:
        words = [word for _, _, word in decided]
        grow = f"{words.count(SUPPORTED)} grow like log t, {words.count(CONTRADICTED)} do not"
        return f"Of {len(found)} other sets of runs {grow}."
    return " ".join(f"{in_set(name, said)}." for name, said, _ in decided)


def _told(statement: str, why: str) -> Markup:
    """A statement and why, in one breath: of the finding's sentences the first clauses."""
    first, *more = map(_shortened, re.split(r"(?<=[^\d]\.) (?=[A-Z])", why.strip()))
    told = Markup("{}: {}.").format(_with_weight(statement), emphasized(_lowered(first)))
    return Markup(" ").join([told, *(f"{one}." for one in more)])


def _shortened(text: str) -> str:
    clause = text.rstrip(".")
    if len(clause) <= _SHORT:
        return clause
    return re.split(r"; |, and (?=still )|, where ", clause, maxsplit=1)[0]


def _with_weight(statement: str) -> Markup:
    """The statement with the words that say yes, no or neither set off."""
    told = str(escape(statement))
    return Markup(re.sub(r"\b(does not grow|do not share|undecidable)\b", r"<b>\1</b>", told))


def _lowered(clause: str) -> str:
    """A sentence's beginning inside another: words begin small, symbols stay."""
    first = clause.split(" ", maxsplit=1)[0]
    return clause[:1].lower() + clause[1:] if first[1:].islower() or first == "A" else clause


def exponents_seen(fits: xr.Dataset) -> str:
    """Between which exponents the fitted curves lie, arm by arm; empty without a fit."""
    known = fits["exponent"].where(~fits["repeats"]).dropna("node")
    if not known.size:
        return ""
    arms: dict[tuple[int, str], list[float]] = {}
    for value, size, arm in zip(
        known.values.tolist(), known["batch_size"].values, known["arm"].values, strict=True
    ):
        arms.setdefault((int(size), str(arm)), []).append(value)
    means = [sum(own) / len(own) for own in arms.values()]
    low, high = fixed(min(means)), fixed(max(means))
    told = low if low == high else f"{low} to {high} by arm"
    return f"Fitted exponents are {told.replace('-', '−')}, where log t is 0 and diffusion ½."


def warnings(runs: Mapping[str, xr.Dataset], content: Mapping[str, Any]) -> list[str]:
    """What a reader must know before any number: runs left out, going on, broken off, diverged.

    Arguments:
        runs: recordings by node name.
        content: what the JSON file holds.
    """
    inputs, chosen = content["inputs"], chosen_runs(content)
    told = [f"Chosen are {chosen}."] if chosen else []
    live = [row for row in inputs if str(row["state"]).startswith("live")]
    broken = [row for row in inputs if row["state"] in ("killed", "left")]
    if live:
        told.append(
            f"{plural(len(live), 'run')} still recording ({_names(live)}): all numbers may change."
        )
    if broken:
        verb = "was" if len(broken) == 1 else "were"
        told.append(
            f"{plural(len(broken), 'run')} {verb} never closed ({_names(broken)}): they end where "
            "their process did."
        )
    lost = lost_distances(runs)
    if lost:
        told.append(f"{plural(len(lost), 'run')} diverged: {first_of(list(lost), 2)}.")
    return told


def chosen_runs(content: Mapping[str, Any]) -> str:
    """Which of the recordings a condition chose, in words; empty where none was given."""
    options = content.get("options", {})
    if not options.get("where"):
        return ""
    count = len(content["inputs"])
    of = f"{count} of {plural(count + options['left_out'], 'recording')}"
    return f"{of}, those with {printable(options['where'], 200)}"


def _names(rows: Sequence[Mapping[str, Any]]) -> str:
    return first_of([printable(str(row["run"]), 40) for row in rows])
