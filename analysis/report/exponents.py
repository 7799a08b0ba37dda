"""Exponents of growth fits as a table, on iterations and on other clocks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.growth import misfits
from ultraslow.analysis.runs import FITTED_SHARE, clock_words
from ultraslow.analysis.text import between, fixed, interval, number, plural, real, rounded

from .numbers import fit_rows
from .table import NONE, Column, Table, entry


def exponent_table(found: xr.Dataset) -> Table:
    """Exponents of growth fits with their intervals, one curve a row."""
    rows = fit_rows(found)
    names = [
        entry("batch", "batch_size", number, spare=True),
        Column("seed", lambda row: str(row["seed"]) or NONE, spare=True),
    ]
    if "tensor" in found.dims:
        names = [entry("tensor", "tensor", left=True)]
    lead: tuple[str, ...] = (
        *_clock_lead(found),
        f"d = a + b·[(t + τ)^p − 1]/p; p = 0: log t, 0.5: diffusion; level {found.attrs['level']}",
        "tells ≥: smallest |p| that such a curve tells from 0 with 80 % power",
    )
    late: tuple[Column, ...] = ()
    if "decade_ratio" in found:
        lead += ("ρ: what the last decade added over the one before; log t: 1, diffusion: 3.16",)
        lead += ("by windows: lowest and highest exponent of single decades; t^p has p in each",)
        late = (
            Column("ρ", lambda row: rounded(real(row["decade_ratio"])), spare=True),
            Column(
                "its interval",
                lambda row: _ends(row, "decade_ratio_low", "decade_ratio_high"),
                tied=True,
            ),
            Column(
                "by windows",
                lambda row: between(real(row["window_low"]), real(row["window_high"])),
                spare=True,
            ),
        )
    columns = (
        entry("run", "run", left=True),
        *names,
        entry("decades", "decades", fixed, spare=True),
        *where_fitted(rows),
        Column("p", lambda row: rounded(real(row["exponent"]))),
        Column("interval", lambda row: _ends(row, "exponent_low", "exponent_high"), tied=True),
        Column("tells ≥", lambda row: rounded(real(row["detectable"])), spare=True),
        *late,
        entry("remark", "status", lambda s: "" if s == "ok" else s.replace("_", " "), left=True),
    )
    reasons = Counter(row["reason"] for row in rows if row["status"] != "ok")
    notes = [f"{plural(count, 'curve')}: {reason}" for reason, count in reasons.most_common()]
    notes += [f"misfit at {arm}: {one}" for arm, one in misfits(found).items()]
    return Table(lead=lead, columns=columns, rows=rows, notes=(*phase_note(rows), *notes))


def exponent_tables(found: Mapping[str, xr.Dataset]) -> dict[str, Table]:
    """Tables of the fits of a study, without empty rows of runs that are fitted further below.

    Arguments:
        found: fits of the runs at a constant rate ("/") and of their tensors ("/tensors"); those
            over all records of runs whose rate changes ("/learning_rate_sum") or is not known
            ("/iteration"); the first only, or more.

    Returns:
        A table each, in their order. What is not shown is counted below the tables, with why.
    """
    below = {
        group: found[group]["node"].values[np.isfinite(found[group]["exponent"].values)]
        for group in _OVER_ALL
        if group in found
    }
    return {
        group: exponent_table(fits) if group in below else _told_here(fits, below)
        for group, fits in found.items()
    }


# Groups of fits over all records, and what they are on.
_OVER_ALL = {"/learning_rate_sum": clock_words("learning_rate_sum"), "/iteration": "iterations"}


def _told_here(fits: xr.Dataset, below: Mapping[str, NDArray[np.str_]]) -> Table:
    """The table of fits without runs of which it has none, where those are fitted elsewhere."""
    unfit = ~np.isfinite(fits["exponent"].values.reshape(fits.sizes["node"], -1)).any(axis=1)
    of_what = "the tensors of " if "tensor" in fits.dims else ""
    notes: tuple[str, ...] = ()
    shown = np.full(unfit.size, fill_value=True)
    for group, nodes in below.items():
        left_out = unfit & np.isin(fits["node"].values, nodes)
        shown &= ~left_out
        for reason, _ in Counter(fits["reason"].values[left_out].ravel().tolist()).most_common(1):
            notes += (
                f"not shown: {of_what}{plural(int(left_out.sum()), 'run')} without a fit at a "
                f"constant rate, as {reason}; fitted on {_OVER_ALL[group]} below",
            )
    if not shown.any():
        return Table(notes=notes)
    table = exponent_table(fits.isel(node=np.flatnonzero(shown)))
    return replace(table, notes=(*table.notes, *notes))


def _clock_lead(found: xr.Dataset) -> tuple[str, ...]:
    """That the fits are on another clock than iterations, if so."""
    names = set(found["clock"].values.ravel().tolist()) - {"iteration", ""}
    return tuple(
        f"t is {clock_words(name)}, over all records, whatever the learning rate did; predictions "
        "on growth are about a constant rate and take none of these fits"
        for name in sorted(names)
    )


def _ends(row: Mapping[str, Any], low: str, high: str) -> str:
    return interval(real(row[low]), real(row[high]), show=rounded)


def where_fitted(rows: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """The column of where training sets are fitted; none where none is."""
    if not any(row.get("fitted") for row in rows):
        return ()
    return (Column("fitted at", lambda row: str(row["fitted"] or NONE), spare=True),)


def phase_note(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What that column means."""
    if not where_fitted(rows):
        return ()
    return (
        f"fitted at: from here on the training loss is {FITTED_SHARE:.0%} of its start or less; "
        "growth is judged before it, and decades are counted to it",
    )
