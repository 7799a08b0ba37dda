"""What the recordings can carry, worst first, and where they come from."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from markupsafe import Markup

from ultraslow.analysis.growth import DECADES
from ultraslow.analysis.report import markup
from ultraslow.analysis.report.absent import happened, in_part
from ultraslow.analysis.report.markup import piece
from ultraslow.analysis.report.tables import origin_table
from ultraslow.analysis.runs import measured_until, odd_in_words
from ultraslow.analysis.text import first_of, fixed, number, of_batch_size, percent, plural

from .answer import chosen_runs
from .findings import Findings

# Statuses of fits in words, and how much a reader should make of them.
_WORDS = {
    "ok": ("fits", 0),
    "noise_nonstationary": ("wanders", 1),
    "onset_edge": ("onset at its limit", 2),
    "p_unbounded": ("exponent without a bound", 2),
    "saturated": ("has come to rest", 2),
    "two_phases": ("two phases", 2),
    "rate_changed": ("rate changed", 2),
    "weak_signal": ("hardly moves", 3),
    "too_few_points": ("not fitted", 3),
    "nonfinite": ("not finite", 3),
}
_SIGNS = ("good", "fair", "poor", "bad")
_FEW = 6  # events, up to which they are not folded
_DETAILED = 60  # runs whose attributes the page holds; those of more stand in the JSON file


@dataclass(frozen=True)
class ArmQuality:
    """What the runs of an arm can carry.

    Attributes:
        name: of the arm, or of several that share what is said.
        sign: good, fair, poor or bad.
        said: how the runs were fitted, gravest first.
        batch_size: M; 0 where nobody knows it.
        runs: how many.
        iterations: at their ends, lowest to highest.
        records: of all of them.
        onset: τ, lowest to highest; NaN where nothing was fitted.
        grown: decades beyond the onset, lowest to highest.
        enough: runs with decades enough for a verdict.
        bad: values that are not finite.
    """

    name: str
    sign: str
    said: str
    batch_size: int
    runs: int
    iterations: tuple[int, int]
    records: int
    onset: tuple[float, float]
    grown: tuple[float, float]
    enough: int
    bad: int


def quality(found: Findings, content: dict[str, Any]) -> tuple[str, str, list[Markup]]:
    """Every arm with what its runs can carry, events of runs, and what could not be read."""
    rows = arm_quality(found.study.fits, found.study.runs)
    ranks = size_ranks(found)
    cells = [(_cells(one), ranks.get(one.batch_size, 0), _size(one.batch_size)) for one in rows]
    note = str(found.verdicts.attrs.get("note", ""))  # which of the recordings were counted once
    notes = [
        *([note] if note else []),
        *odd_in_words(found.study.odd),
        "Bad values: distances, losses or gradients that are not finite. Wanders: the residuals "
        "of the fit go like a random walk, which the interval of p allows for.",
    ]
    lead = (
        f"What each arm can carry, worst first. Verdicts on growth need {DECADES:g} decades of it "
        "after the onset τ."
    )
    parts = [
        piece("quality", cells, DECADES, notes),
        _events(found.study.runs),
        _not_used(content["unusable"]),
    ]
    return "Data quality", lead, parts


def _cells(one: ArmQuality) -> dict[str, str]:
    """A row in words."""
    return {
        "name": one.name,
        "sign": one.sign,
        "said": one.said,
        "runs": str(one.runs),
        "iterations": between(*one.iterations),
        "records": number(one.records).replace(",", "\u202f"),
        "onset": between(*one.onset),
        "grown": between(*one.grown, 2),
        "enough": f"{one.enough} of {one.runs}",
        "bad": str(one.bad),
    }


def size_ranks(found: Findings) -> dict[int, int]:
    """Ranks of the batch sizes, the smallest 0: they choose colour and mark."""
    return {size: rank for rank, size in enumerate(sorted(found.colours))}


def _size(batch_size: int) -> str:
    return number(batch_size).replace(",", "\u202f") if batch_size else "unknown"


def arm_quality(fits: xr.Dataset, runs: Mapping[str, xr.Dataset]) -> list[ArmQuality]:
    """What the runs of each arm can carry, worst first.

    Arguments:
        fits: growth fits of the runs.
        runs: recordings by node name.
    """
    arms: dict[tuple[int, str], list[str]] = {}
    sizes, words = fits["batch_size"].values.tolist(), fits["arm"].values.tolist()
    for node, size, arm in zip(fits["node"].values.tolist(), sizes, words, strict=True):
        arms.setdefault((int(size), str(arm)), []).append(str(node))
    found = [_of_arm(key, fits.sel(node=nodes), runs) for key, nodes in arms.items()]
    return sorted(_merged(found), key=lambda one: (-_SIGNS.index(one.sign), one.enough / one.runs))


def _of_arm(key: tuple[int, str], fits: xr.Dataset, runs: Mapping[str, xr.Dataset]) -> ArmQuality:
    size, arm = key
    own = [runs[node] for node in fits["node"].values.tolist()]
    statuses = Counter(str(one) for one in fits["status"].values.tolist())
    gravest = max(statuses, key=lambda one: _WORDS.get(one, ("", 3))[1])
    rank = _WORDS.get(gravest, ("", 3))[1]
    diverged = sum(measured_until(run) < int(run["iteration"][-1]) for run in own)
    order = sorted(statuses, key=lambda one: -_WORDS.get(one, ("", 3))[1])
    counts = [f"{statuses[one]} {_WORDS.get(one, (one, 3))[0]}" for one in order]
    said = ", ".join([*([f"{diverged} diverged"] if diverged else []), *counts])
    if rank == 3:
        reasons = Counter(
            str(reason)
            for reason, one in zip(
                fits["reason"].values.tolist(), fits["status"].values.tolist(), strict=True
            )
            if str(one) == gravest
        )
        said += f": {reasons.most_common(1)[0][0]}" if reasons else ""
    grown = fits["grown_decades"].values
    return ArmQuality(
        name=f"{of_batch_size(size)}, {arm}" if arm else of_batch_size(size),
        sign=_SIGNS[3 if diverged else rank],
        said=said,
        batch_size=size,
        runs=len(own),
        iterations=_span_of(int(run["iteration"][-1]) for run in own),
        records=sum(run.sizes["iteration"] for run in own),
        onset=_ends(fits["onset"].values),
        grown=_ends(np.floor(100 * grown) / 100),
        enough=int((np.floor(100 * grown) / 100 >= DECADES).sum()),
        bad=sum(_bad_values(run) for run in own),
    )


def _span_of(values: Iterable[int]) -> tuple[int, int]:
    listed = list(values)
    return min(listed), max(listed)


def _ends(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else (math.nan, math.nan)


def _bad_values(run: xr.Dataset) -> int:
    """Distances and losses that are not finite, and losses and gradients that training met."""
    total = run["distance_sq"].sum("tensor", skipna=False)
    bad = int((~np.isfinite(total.values)).sum())
    for name in ("nonfinite_losses", "nonfinite_gradients"):
        if name in run:
            bad += int(np.nansum(run[name].values))
    return bad


def _merged(found: Sequence[ArmQuality]) -> list[ArmQuality]:
    """Arms of one batch size that cannot be fitted for the same reason, as one row."""
    kept: dict[tuple[object, ...], list[ArmQuality]] = {}
    for one in found:
        key = (one.batch_size, one.said.split(": ")[-1]) if one.sign == "bad" else (id(one),)
        kept.setdefault(key, []).append(one)
    return [_joined(own) for own in kept.values()]


def _joined(own: Sequence[ArmQuality]) -> ArmQuality:
    if len(own) == 1:
        return own[0]
    first = own[0]
    names = [one.name.removeprefix(f"{of_batch_size(first.batch_size)}, ") for one in own]
    runs = sum(one.runs for one in own)
    return replace(
        first,
        name=f"{of_batch_size(first.batch_size)}, {len(own)} arms: {first_of(names, 2)}",
        said=f"{runs} {first.said.split(' ', maxsplit=1)[1]}",
        runs=runs,
        iterations=(min(o.iterations[0] for o in own), max(o.iterations[1] for o in own)),
        records=sum(one.records for one in own),
        enough=sum(one.enough for one in own),
        bad=sum(one.bad for one in own),
    )


def _events(runs: Mapping[str, xr.Dataset]) -> Markup:
    """What happened to the runs, folded where it is much; empty where nothing did."""
    told = [*happened(runs), *in_part(runs)]
    if not told:
        return Markup()
    title = "Events" if len(told) == 1 else f"{plural(len(told), 'event')} of the runs"
    listed = piece("lines", told)
    if len(told) > _FEW:
        return piece("drawer", title, [listed])
    return piece("part", title, [listed])


def _not_used(bad: list[dict[str, Any]]) -> Markup:
    """Paths that gave no recording, with why."""
    return piece("part", "Not used", [piece("faults", bad)]) if bad else Markup()


def provenance(found: Findings, content: dict[str, Any]) -> tuple[str, str, list[Markup]]:
    """What the page was made from, with versions, options and hashes."""
    inputs, options = content["inputs"], content.get("options", {})
    states = Counter(str(row["state"]).partition(" ")[0] or "unknown" for row in inputs)
    listed = ", ".join(f"{count} {state}" for state, count in states.most_common())
    level = found.study.level
    ranks = size_ranks(found)
    facts = [
        ("Written", content["created"].replace("T", ", ").replace("+00:00", " UTC")),
        ("Confidence", percent(level, 0 if round(100 * level, 6) % 1 == 0 else 1)),
        (
            "Margins",
            f"exponent ±{options['exponent_margin']:g}, ratio of distances "
            f"±{percent(options['ratio_margin'])}"
            if "exponent_margin" in options
            else "",
        ),
        ("Recordings", f"{len(inputs)}: {listed}; {len(content['unusable'])} unusable"),
        ("Chosen", chosen_runs(content)),
        ("Versions", " · ".join(f"{key} {value}" for key, value in content["versions"].items())),
    ]
    table = piece(
        "drawer",
        f"All {plural(len(inputs), 'recording')} with their hashes",
        [origin_table(inputs, ranks).html()],
    )
    lead = (
        "Everything on this page follows from the recordings below; the numbers lie beside it as "
        "JSON."
    )
    return "Provenance", lead, [piece("facts", facts), table, _attributes(inputs)]


def _attributes(inputs: Sequence[Mapping[str, Any]]) -> Markup:
    """Attributes that all recordings share once, and of each run its own with its path."""
    if not inputs:
        return Markup()
    every = [dict(row["attributes"]) for row in inputs]
    shared = {
        key: value
        for key, value in every[0].items()
        if len(inputs) > 1 and all(key in other and other[key] == value for other in every)
    }
    parts = [piece("details", "Shared by all", markup.json_lines(shared))] if shared else []
    for row, attributes in list(zip(inputs, every, strict=True))[:_DETAILED]:
        own = {key: value for key, value in attributes.items() if key not in shared}
        told = {"path": row["path"], "sha256": row["sha256"], "attributes": own}
        parts.append(piece("details", row["run"], markup.json_lines(told)))
    if len(inputs) > _DETAILED:
        parts.append(
            piece("note", f"Those of {len(inputs) - _DETAILED} more stand in the JSON file.")
        )
    # Not printed: pages of JSON, which the file beside the page holds.
    return piece("drawer", f"Paths and attributes of {plural(len(inputs), 'run')}", parts, "raw")


def between(low: float, high: float, decimals: int = 0) -> str:
    """A range of two numbers, one where they are equal, a dash where they are not known."""
    if math.isnan(low + high):
        return "–"
    ends = [
        fixed(x, decimals) if decimals else number(round(x)).replace(",", "\u202f")
        for x in (low, high)
    ]
    return ends[0] if ends[0] == ends[1] else "–".join(ends)
