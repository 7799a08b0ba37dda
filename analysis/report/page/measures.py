"""What was measured beside distances: gradient noise, path, landscape, aging, loss and scores."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from markupsafe import Markup

from ultraslow.analysis import plot
from ultraslow.analysis.noise import ArmScale, Breakdown
from ultraslow.analysis.predictions.growth import READINGS
from ultraslow.analysis.report import figures
from ultraslow.analysis.report.batch_sizes import critical_in_words, critical_table, sizes_apart
from ultraslow.analysis.report.markup import piece
from ultraslow.analysis.report.tables import noise_table, part_tables, sized
from ultraslow.analysis.scores import CriticalBatch
from ultraslow.analysis.text import plural, sentence

from .drawings import captioned, halves, panel
from .findings import Findings
from .rulers import shown

Section = tuple[str, str, list[Markup]]
_PANEL, _HALF, _HALF_NARROW = (268, 222), (540, 330), (360, 300)
_MOST = 8  # batch sizes with a panel each


def noise(found: Findings, _: dict[str, Any]) -> Section:
    """The gradient noise scale against iteration and batch size, and the critical batch size."""
    study = found.study
    bands = {
        size: band
        for size, band in plot.bands(study).items()
        if np.isfinite(band["low"].values).any()
    }
    arms = plot.study_arms(study, bands)[:_MOST]
    limits = plot.scale_limits(list(bands.values()), list(bands)) if bands else (1.0, 10.0)
    panels = [
        panel(
            one,
            "noise scale B, samples",
            [
                figures.figure(
                    partial(plot.noise_scale, study, arm=one, limits=limits),
                    name=f"noise-{one.rank}",
                    title=f"Gradient noise scale of {one.title} against iterations",
                    description=_grown(bands[one.batch_size]["estimate"].values),
                    wide=_PANEL,
                )
            ],
        )
        for one in arms
    ]
    pair = piece("pair", panels) if panels else Markup()
    known = [one for one in found.noise if one.place != "unknown"]
    if known:
        against = [_against_size(found.noise, known)]
        pair = halves(pair, panel(None, "over whole runs", against, title="Every arm"))
    parts = [pair] if pair else []
    if pair:
        parts.append(piece("caption", captioned(_noise_finding(known), _NOISE)))
    return (
        "Gradient noise scale",
        "B = tr Σ/|G|², in samples: a batch smaller than B is mostly noise, a larger one mostly "
        "gradient.",
        [
            *parts,
            _scales(found.noise),
            _taken_apart(found.noise_detail),
            _critical(found.critical, found.noise),
        ],
    )


def _against_size(arms: Sequence[ArmScale], known: Sequence[ArmScale]) -> Markup:
    """B of every arm over its whole runs against M."""
    told = "; ".join(
        f"M = {one.batch_size}{', ' + one.arm if one.arm else ''}: B = "
        f"{shown(one.scale.interval.value)}"
        for one in known[:40]
    )
    return figures.figure(
        partial(plot.noise_scale, list(arms), against="batch_size"),
        name="noise-by-size",
        title="Gradient noise scale over whole runs against the batch size",
        description=f"{told}.",
        wide=_HALF,
        narrow=_HALF_NARROW,
    )


_NOISE = (
    "Against iterations: markers with the bands of their intervals, other batch sizes in grey, "
    "heavy dashes the batch size M. Against M: every arm over its whole runs."
)


def _grown(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return "No estimate."
    return f"From {shown(float(known[0]))} to {shown(float(known[-1]))} samples."


def _noise_finding(known: Sequence[ArmScale]) -> str:
    """In how many arms B surely lies above the diagonal, and in how many it cannot be told."""
    values = [one.scale.interval.value for one in known]
    if not values:
        return "The noise scale while training."
    low, high = shown(min(values)), shown(max(values))
    within = f"between {low} and {high}" if low != high else f"at {low}"
    above = sum(one.scale.interval.low > one.batch_size for one in known)
    near = sum(one.scale.interval.contains(one.batch_size) for one in known)
    untold = f", in {near} B and M cannot be told apart" if near else ""
    return (
        f"B lies {within} samples; in {above} of {plural(len(known), 'arm')} a batch is mostly "
        f"noise{untold}."
    )


def _geometric(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))


def path(found: Findings, _: dict[str, Any]) -> Section:
    """How straight the path is."""
    study = found.study
    lead = (
        "R = ‖wₜ − w₀‖²/Σ‖Δwₛ‖² sets the distance from the start beside the length of all steps."
    )
    arms = plot.leading(plot.arms_of(study))
    curves = {one: study.found(plot.path_curves, one) for one in arms}
    ends = {one: [float(c.value[-1]) for c in own] for one, own in curves.items() if own}
    if not ends:
        return "Path", lead, []
    told = "; ".join(
        f"{one.title} ends at R = {shown(_geometric(own))}" for one, own in ends.items()
    )
    drawn = figures.figure(
        partial(plot.straightness, study),
        name="straightness",
        title="Straightness of the path against iterations",
        description=f"{told}.",
        wide=_HALF,
        narrow=_HALF_NARROW,
    )
    means = [_geometric(own) for own in ends.values()]
    low, high = shown(min(means)), shown(max(means))
    drawn_ones = "" if len(ends) == len(plot.arms_of(study)) else " in the arms that are drawn"
    finding = f"R ends {f'between {low} and {high}' if low != high else f'at {low}'}{drawn_ones}."
    how = (
        "Thin lines: seeds; markers: their geometric mean; momentum is divided out. Independent "
        "steps have R = 1; a walker held back by barriers would lie in the shaded zone, and fall."
    )
    beside = piece("caption", captioned(finding, how))
    return "Path", lead, [halves(drawn, beside)]


def landscape(found: Findings, _: dict[str, Any]) -> Section:
    """How the spread of loss differences grows with the radius, a kind of direction a panel."""
    study = found.study
    lead = (
        "How the spread of loss differences grows with the radius, at the last scan of each run. "
        "The theory asks for γ = 1 up to the distances travelled."
    )
    kinds = plot.scanned_kinds(study)
    if not kinds:
        return "Landscape", lead, []
    arms = plot.leading(plot.arms_of(study))
    every = [
        each
        for kind in kinds
        for one in arms
        if (each := study.found(plot.spread_of, one, kind)) is not None
    ]
    limits = plot.landscape_limits(every)
    drawn = [
        panel(
            None,
            "",
            [
                figures.figure(
                    partial(plot.landscape, study, kind=kind, limits=limits),
                    name=f"landscape-{kind}",
                    title=f"Loss differences against the radius, {plot.DIRECTIONS[kind]}",
                    description="Both axes are logarithmic; dotted lines have slopes 1 and 2.",
                    wide=_PANEL,
                )
            ],
            title=plot.DIRECTIONS[kind].capitalize(),
        )
        for kind in kinds
    ]
    scanned = [
        one for one in arms if any(study.found(plot.spread_of, one, kind) for kind in kinds)
    ]
    keys = [(one.rank, one.sizes, one.title) for one in scanned]
    how = (
        "Geometric mean over seeds, evaluation noise subtracted. At small radii any smooth loss "
        "has γ = 1; dotted: γ = 1 and γ = 2."
    )
    caption = captioned("Loss differences against the distance from the weights.", how)
    parts = [piece("legend", keys), piece("panels", "", drawn), piece("caption", caption)]
    return "Landscape", lead, parts


def aging(found: Findings, _: dict[str, Any]) -> Section:
    """Displacements after waiting times against four readings of how they age."""
    study = found.study
    lead = (
        "Displacements after a waiting time s, one line each, against four readings of how they "
        "age. Under a reading that holds all lines are one."
    )
    arms = [one for one in plot.leading(plot.arms_of(study)) if study.found(plot.aged_lines, one)]
    if not arms:
        return "Aging", lead, []
    judged = str(found.verdicts.isel(set=0)["batch_sizes"].sel(prediction="P8").item())
    entered = judged.split(", ")
    one = max(arms, key=lambda arm: (str(arm.batch_size) in entered, len(arm.nodes)))
    drawn = [
        panel(
            one,
            reading,
            [
                figures.figure(
                    partial(plot.aging, study, arm=one, reading=reading),
                    name=f"aging-{place}",
                    title=f"Displacements of {one.title} under the reading {reading}",
                    description="One line a waiting time, early ones pale.",
                    wide=_PANEL,
                )
            ],
        )
        for place, reading in enumerate(READINGS)
    ]
    caption = captioned(f"{one.title}, {one.rate_words}.", "Mean over seeds; pale: early s.")
    return "Aging", lead, [piece("panels", "", drawn), piece("caption", caption)]


def loss(found: Findings, _: dict[str, Any]) -> Section:
    """Training loss of every arm, and held-out scores against the distance at the end."""
    study = found.study
    shown_arms = [one for one in plot.arms_of(study) if study.found(plot.loss_curves, one)]
    both = []
    if shown_arms:
        ends = [
            f"{one.title} {one.rule_words}: {shown(float(own[0].value[-1]))}"
            for one in shown_arms[:40]
            if (own := study.found(plot.loss_curves, one))
        ]
        lone = not any(not one.rung and not one.set_name for one in shown_arms)
        drawn = figures.figure(
            partial(plot.loss, study, rules=lone),
            name="loss",
            title="Training loss against iterations",
            description=f"At the end, {'; '.join(ends)}.",
            wide=_HALF,
            narrow=_HALF_NARROW,
        )
        both.append(panel(None, "mean over the seeds of an arm", [drawn], title="Training loss"))
    scored = study.found(plot.scored_ends)
    if scored:
        told = "; ".join(
            f"{one.title} {one.rule_words}: {shown(float(np.mean(score)))} at "
            f"{shown(float(np.mean(far)))}"
            for one, (far, score) in list(scored.items())[:40]
        )
        drawn = figures.figure(
            partial(plot.generalization, study),
            name="generalization",
            title=f"Held-out {study.metric} against the distance at the end of each run",
            description=f"{told}.",
            wide=_HALF,
            narrow=_HALF_NARROW,
        )
        name = (
            f"{study.metric.capitalize()} and distance" if study.metric else "Score and distance"
        )
        both.append(panel(None, "at the end of each run", [drawn], title=name))
    title = "Loss, accuracy and distance" if scored else "Training loss"
    lead = "Whether weights that move farther do better is the question of H-c." if scored else ""
    return title, lead, [piece("halves", both)] if both else []


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


def _critical(found: CriticalBatch, scales: Sequence[ArmScale]) -> Markup:
    """The critical batch size; empty where there is none."""
    if found.status == "missing":
        return Markup()
    lead = (
        "M_crit, from iterations to a target loss at several batch sizes: another quantity than "
        "the noise scale, which is read off the gradients of one run."
    )
    told = found.reason and found.answers  # else it stands in the answer
    said = "; ".join([*([found.reason] if told else []), *found.notes])
    notes = (sentence(said),) if said else ()
    table = replace(critical_table(found, over_fewest=False), notes=notes)
    answer = piece("said", sentence(critical_in_words(found)))
    apart = sizes_apart(found, scales)
    title = "Beside the noise scales of the same runs"
    beside = [] if apart is None else [piece("drawer", title, [apart.html()])]
    return piece(
        "part", "Critical batch size", [piece("note", lead), answer, table.html(), *beside]
    )
