"""Noise scales and the critical batch size as the page and the JSON file show them."""

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.noise import ArmScale, Breakdown, NoiseScale
from ultraslow.analysis.scores import CriticalBatch
from ultraslow.analysis.text import interval, number, plural

from . import markup
from .numbers import plain

_HEADER = ("batch size M", "runs", "noise scale B", "interval", "M is", "t* = B/M", "interval")
_SCALE = ("", "noise scale B", "interval", "method", "updates")


def rows(found: Sequence[ArmScale]) -> list[dict[str, Any]]:
    """Comparisons as JSON holds them."""
    return [
        plain({**vars(one), "scale": one.scale.record(), "crossover": _three(one.crossover)})
        for one in found
    ]


def _three(found: Interval) -> list[float]:
    return [found.value, found.low, found.high]


def by_batch_size(found: Sequence[ArmScale]) -> str:
    """HTML: the noise scale over whole runs of each batch size, against the batch size."""
    if all(one.place == "unknown" for one in found):
        return ""
    cells = [[markup.escape(cell) for cell in _row(one)] for one in found]
    return markup.table(_HEADER, cells, text=0) + _note(_CROSSOVER)


_CROSSOVER = (
    "Over whole runs. Below B an update is mostly noise, above it mostly gradient. t*: the "
    "iteration after which drift outruns diffusion, while the gradient and its noise stay what "
    "they are."
)


def _row(one: ArmScale) -> tuple[str, ...]:
    place = {"within": "within it", "unknown": "–"}.get(one.place, f"{one.place} it")
    return (
        _where(one.batch_size, one.arm),
        str(one.runs),
        number(one.scale.interval.value),
        one.scale.interval.ends(number),
        place,
        number(one.crossover.value),
        one.crossover.ends(number),
    )


def _where(size: int, arm: str) -> str:
    return f"{size}, {arm}" if arm else str(size)


def detail(found: Breakdown | None) -> dict[str, Any] | None:
    """Noise scales by tensors and by loss as JSON holds them; None for none."""
    if found is None:
        return None
    names = ("loss", "estimate", "low", "high")
    columns = {name: found.by_loss[name].values.tolist() for name in names}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    content = {
        "batch_size": found.batch_size,
        "arm": found.arm,
        "groups": {name: scale.record() for name, scale in found.groups.items()},
        "parts": {name: scale.record() for name, scale in found.parts.items()},
        "by_loss": rows,
    }
    return dict(plain(content))


def in_parts(found: Breakdown | None) -> str:
    """HTML: noise scales by groups of tensors, by part of the network and by loss."""
    if found is None:
        return ""
    tables = {
        "tensors": _table("tensors", found.groups) if len(found.groups) > 1 else "",
        "part of the network": (
            _table("part of the network", found.parts) if len(found.parts) > 1 else ""
        ),
        "loss": _by_loss(found.by_loss) if found.by_loss.sizes["loss"] > 1 else "",
    }
    kept = {name: html for name, html in tables.items() if html}
    if not kept:
        return ""
    where = _where(found.batch_size, found.arm)
    title = f"Noise scale at batch size {where} by {' and by '.join(kept)}"
    return markup.drawer(title, *kept.values())


def _method(scale: NoiseScale) -> str:
    correlated = ", windows correlate" if scale.correlated else ""
    return f"{scale.method or scale.interval.reason}{correlated}"


def _table(title: str, found: Mapping[str, NoiseScale]) -> str:
    cells = [
        [
            markup.escape(name, 40),
            number(scale.interval.value),
            scale.interval.ends(number),
            markup.escape(_method(scale)),
            str(scale.updates),
        ]
        for name, scale in found.items()
    ]
    return markup.table((title, *_SCALE[1:]), cells, text=1)


def _by_loss(found: xr.Dataset) -> str:
    names = ("estimate", "low", "high")
    columns = zip(
        found["loss"].values.tolist(), *(found[n].values.tolist() for n in names), strict=True
    )
    cells = [[number(loss), number(b), interval(low, high)] for loss, b, low, high in columns]
    return markup.table(("mean training loss", "noise scale B", "interval"), cells, text=0)


def critical(found: CriticalBatch) -> str:
    """HTML: the critical batch size, or a sentence on why there is none."""
    lead = (
        "M_crit, from iterations to a target loss at several batch sizes: another quantity than "
        "the noise scale, which is read off the gradients of one run."
    )
    if found.status == "missing":
        return ""
    steps = found.steps or {}
    cells = [
        [str(size), number(steps[size]), number(size * steps[size])] for size in sorted(steps)
    ]
    listed = markup.table(("batch size", "iterations", "samples"), cells, text=0)
    said = "; ".join([*([found.reason] if found.reason else []), *found.notes])
    text = f"{str(found)[:1].upper()}{str(found)[1:]}, {plural(found.seeds, 'seed')}."
    rest = _note(f"{said[:1].upper()}{said[1:]}.") if said else ""
    return markup.section("Critical batch size", lead, _note(text), listed, rest)


def _note(text: str) -> str:
    return f'<p class="small">{markup.escape(text, 900)}</p>'
