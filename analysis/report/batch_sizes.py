"""Tables of batch sizes: the critical one, the noise scale of best rates, and B beside them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.noise import ArmScale
from ultraslow.analysis.scores import BestRates, CriticalBatch
from ultraslow.analysis.text import number, percent, plural, sentence
from ultraslow.diffusion.scaling import optimal_learning_rate

from .table import Column, Table

_MEANING = (
    "at the critical batch size both iterations and samples are twice the fewest; it comes from "
    "trainings at several batch sizes and is another quantity than the noise scale"
)
_COUNTED = {"seeds": "seed", "runs": "run", "misfit": "batch size"}


def critical_table(found: CriticalBatch, *, over_fewest: bool = True) -> Table:
    """What each batch size took to the target, and the size where more stops saving iterations.

    Arguments:
        found: with iterations S by batch size M.
        over_fewest: whether to set S and the samples E = M·S over S_min and E_min = M_crit·S_min.
    """
    least = found.fewest_steps
    samples = least * found.size.value
    columns = (
        Column("batch size", lambda row: str(row[0])),
        Column("iterations", lambda row: number(row[1])),
        Column("over fewest", lambda row: number(row[1] / least), tied=True),
        Column("samples", lambda row: number(row[0] * row[1])),
        Column("over fewest", lambda row: number(row[0] * row[1] / samples), tied=True),
    )
    fewest = "" if math.isnan(least) else f"; fewest iterations {number(least)}"
    reasons = [found.reason] if found.reason else []
    notes = [f"{critical_in_words(found)}{fewest}", *reasons, _MEANING, *found.notes]
    if not found.answers:  # the reason stands in its words
        notes = [critical_in_words(found), *found.notes]
    return Table(
        columns=tuple(one for one in columns if over_fewest or one.title != "over fewest"),
        rows=sorted((found.steps or {}).items()),
        notes=tuple(map(sentence, notes)),
    )


def critical_in_words(found: CriticalBatch) -> str:
    """A critical batch size with what it rests on; why there is none at so many."""
    if not found.answers:
        return f"{found}; {plural(len(found.steps or {}), 'batch size')} reached the target"
    return f"{found}, {plural(found.size.n, _COUNTED[found.basis])}"


def critical_by_group(found: Mapping[str, CriticalBatch]) -> Table:
    """The critical batch sizes of several groups of a table, a row each.

    Arguments:
        found: by the group's name.
    """
    told = {name: one for name, one in found.items() if one.status != "missing"}
    columns = (
        Column("", lambda row: row[0], left=True),
        Column("critical batch size", lambda row: number(row[1].size.value)),
        Column("interval", lambda row: row[1].size.ends(number), tied=True),
        Column("fewest iterations", lambda row: number(row[1].fewest_steps)),
        Column("batch sizes", lambda row: str(len(row[1].steps or {}))),
        Column("off the curve", lambda row: percent(row[1].departure)),
    )
    shared = [note for note in _common(told.values()) if len(told) > 1]
    notes = [*([_MEANING] if any(one.answers for one in told.values()) else []), *shared]
    for name, one in told.items():
        own = [one.reason] if one.reason else []
        notes += [f"{name}: {said}" for said in own + [n for n in one.notes if n not in shared]]
    return Table(columns=columns, rows=list(told.items()), notes=tuple(map(sentence, notes)))


def _common(found: Iterable[CriticalBatch]) -> list[str]:
    """The notes that all of some answers have."""
    every = [one.notes for one in found]
    return [note for note in every[0] if all(note in notes for notes in every)] if every else []


def rates_table(found: BestRates, name: str = "") -> Table:
    """The best learning rate of each batch size beside what the one-step form makes of it.

    Arguments:
        found: best rates by batch size.
        name: of the group that they are of.
    """

    def form(size: float) -> str:
        scale, largest = found.noise_scale.value, found.largest_rate
        if not (scale > 0 and largest > 0):
            return "–"
        rate = optimal_learning_rate(size, largest_rate=largest, noise_scale=scale)
        return number(float(rate))

    columns = (
        Column("batch size", lambda row: str(row[0])),
        Column("best rate", lambda row: number(row[1])),
        Column("ε_max/(1 + B/M)", lambda row: form(row[0])),
    )
    largest = f"; largest rate {number(found.largest_rate)}" if found.largest_rate > 0 else ""
    off = f"; off the form by {percent(found.departure)} at most" if largest else ""
    answer = f"{found}, {plural(found.noise_scale.n, _COUNTED[found.basis])}{largest}{off}"
    if not found.answers:
        answer = str(found)
    reasons = [found.reason] if found.reason and found.answers else []
    notes = [answer, *reasons, *found.notes]
    if found.rates:
        lone = found.basis == "runs" or not found.answers
        notes.append(_ONE_STEP if lone else f"{_ONE_STEP}; {_OFF_CURVE}")
    return Table(
        title=name,
        columns=columns,
        rows=sorted((found.rates or {}).items()),
        notes=tuple(map(sentence, notes)),
    )


_ONE_STEP = (
    "the form is that of one step of plain SGD on a loss that is quadratic over it, with B = "
    "tr(HΣ)/GᵀHG; rates tuned for whole trainings, or with momentum or Adam, need not follow it"
)
_OFF_CURVE = (
    "the interval comes from the misfit, or from how far apart rates were tried: it takes in how "
    "well the form holds, not how searches differ"
)


@dataclass(frozen=True)
class _Size:
    """One of the sizes that are set beside each other."""

    name: str
    size: Interval
    of: str


def sizes_apart(found: CriticalBatch, scales: Sequence[ArmScale]) -> Table | None:
    """The critical batch size, the noise scale of the best rates, and B_simple, side by side.

    Arguments:
        found: the critical batch size, maybe with best rates.
        scales: B_simple of the arms; those at other batch sizes are passed over.

    Returns:
        The table; None where there is nothing to set beside the critical batch size.
    """
    steps = found.steps or {}
    rows = [_Size("critical batch size", found.size, f"{len(steps)} batch sizes")]
    rates = found.rates
    if rates is not None and rates.answers:
        of = f"fastest rates of {plural(len(rates.rates or {}), 'batch size')}"
        rows.append(_Size("noise scale of the best rates", rates.noise_scale, of))
    for one in scales:
        if one.place != "unknown" and one.batch_size in steps:
            arm = f", {one.arm}" if one.arm else ""
            of = f"iterations {one.scale.first}–{one.scale.last}, batch size {one.batch_size}{arm}"
            rows.append(_Size("noise scale B", one.scale.interval, of))
    if len(rows) == 1 or not found.answers:
        return None
    columns = (
        Column("size", lambda row: row.name, left=True),
        Column("samples", lambda row: number(row.size.value)),
        Column("interval", lambda row: row.size.ends(number), tied=True),
        Column("of", lambda row: row.of, left=True),
    )
    return Table(columns=columns, rows=rows, notes=(_APART,))


_APART = (
    "These need not agree. The critical batch size is of whole trainings to one loss; the noise "
    "scale of the best rates is of those that serve whole trainings best; B = tr Σ/|G|² is of "
    "single updates, averaged over the iterations named, and takes the loss to be equally curved "
    "in all directions. B mostly grows as the loss falls, so that early updates have less of it "
    "than late ones."
)
