"""What was measured beside distances: gradient noise, critical batch size and loss."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from markupsafe import Markup

from ultraslow.analysis.noise import ArmScale, Breakdown
from ultraslow.analysis.report import data, figures
from ultraslow.analysis.report.batch_sizes import critical_in_words, critical_table, sizes_apart
from ultraslow.analysis.report.markup import piece, without_style
from ultraslow.analysis.report.tables import noise_table, part_tables, sized
from ultraslow.analysis.scores import CriticalBatch
from ultraslow.analysis.text import percent, plural, sentence

from .findings import Findings


def _figure(panels: Sequence[Markup], caption: str) -> Markup:
    """Panels in columns with one caption."""
    return piece("figure", list(map(without_style, panels)), caption) if panels else Markup()


def noise(found: Findings, _: dict[str, Any]) -> tuple[str, str, list[Markup]]:
    """The gradient noise scale against iteration and batch size, and the critical batch size."""
    bands = data.noise_bands(found.study.runs, level=found.study.level)
    limits = _noise_limits(bands)
    small = [
        figures.noise_panel(band, batch_size=size, limits=limits, colour=found.colours[size])
        for size, band in bands.items()
    ]
    caption = (
        f"B_simple = tr Σ/|G|² in samples with its {percent(found.study.level)} interval, of "
        "each batch size the runs of the arm with most seeds. Dashed: the batch size. Below the "
        "noise scale an update is mostly noise, above it mostly gradient."
    )
    return (
        "Gradient noise scale",
        "B = tr Σ/|G|², in samples: a batch smaller than B is mostly noise, a larger one mostly "
        "gradient.",
        [
            _figure(small, caption),
            _scales(found.noise),
            _taken_apart(found.noise_detail),
            _critical(found.critical, found.noise),
        ],
    )


def _scales(found: Sequence[ArmScale]) -> Markup:
    known = any(one.place != "unknown" for one in found)
    table = noise_table(found).html()
    return piece("drawer", "Noise scale of every arm, as a table", [table]) if known else Markup()


def _taken_apart(found: Breakdown | None) -> Markup:
    """Noise scales by groups of tensors, by part of the network and by loss."""
    tables = {} if found is None else part_tables(found)
    if found is None or not tables:
        return Markup()
    where = sized(found.batch_size, found.arm)
    title = f"Noise scale at batch size {where} by {' and by '.join(tables)}"
    return piece("drawer", title, [table.html() for table in tables.values()])


def _noise_limits(bands: dict[int, data.Band]) -> tuple[float, float]:
    values = [np.asarray([float(size)]) for size in bands]
    for band in bands.values():
        values += [band.middle, band.low]
    known = np.concatenate(values) if values else np.ones(1)
    known = known[np.isfinite(known) & (known > 0)]
    return float(known.min()) / 2, float(known.max()) * 2


def loss(found: Findings, _: dict[str, Any]) -> tuple[str, str, list[Markup]]:
    """Training loss of every run."""
    title = "Training loss"
    curves = [curve for curve in data.losses(found.study.runs) if curve.value.size]
    if not curves:
        return title, "", []
    log = all((curve.value > 0).all() for curve in curves)
    drawn = figures.all_runs(curves, colours=found.colours, title="training loss", log=log)
    caption = f"Mean over the updates since the last record, {plural(len(curves), 'run')}."
    return title, "", [_figure([drawn], caption)]


def _critical(found: CriticalBatch, scales: Sequence[ArmScale]) -> Markup:
    """The critical batch size; empty where there is none."""
    if found.status == "missing":
        return Markup()
    lead = (
        "M_crit, from iterations to a target loss at several batch sizes: another quantity than "
        "the noise scale, which is read off the gradients of one run."
    )
    said = "; ".join([*([found.reason] if found.reason else []), *found.notes])
    notes = (sentence(said),) if said else ()
    table = replace(critical_table(found, over_fewest=False), notes=notes)
    answer = piece("said", sentence(critical_in_words(found)))
    apart = sizes_apart(found, scales)
    beside = [] if apart is None else [apart.html()]
    return piece(
        "part", "Critical batch size", [piece("note", lead), answer, table.html(), *beside]
    )
