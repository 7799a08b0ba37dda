"""How far and how fast: distances, their laws, exponents, and batch sizes on one clock."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from markupsafe import Markup

from ultraslow.analysis import plot
from ultraslow.analysis.growth import MARGIN as EXPONENT_MARGIN, ONSET, misfits
from ultraslow.analysis.intervals import CONTRADICTED, SUPPORTED
from ultraslow.analysis.predictions.batch_size import OptimizerExponents, clock_errors
from ultraslow.analysis.predictions.growth import settled, told_arm
from ultraslow.analysis.report import data, figures
from ultraslow.analysis.report.by_optimizer import optimizer_table, rules_table
from ultraslow.analysis.report.exponents import exponent_table
from ultraslow.analysis.report.markup import piece
from ultraslow.analysis.runs import CLOCKS, ITERATION, SUMMED_RATE, clock_words
from ultraslow.analysis.text import first_of, fixed, number, percent, plural

from .answer import Beside
from .cards import three_digits
from .drawings import captioned, older, panel
from .findings import Findings
from .rulers import shown

_RATE = clock_words(SUMMED_RATE)
# Panels of distances, in the open and folded; of more the first, and all among the exponents.
_MOST, _MOST_FOLDED = 24, 8
_HERO, _HERO_NARROW = (660, 470), (360, 400)
_PANEL, _STRIPPED = (268, 222), (268, 300)  # without and with what the laws leave
_ROW, _TALL_ROW, _ROOM = 30, 44, 90  # pixels a row of a forest, wide and narrow, and around them
_CLOCKS = {ITERATION: "iterations t", "Ση": "summed rate Ση", "samples": "samples Mt"}


def hero(found: Findings) -> Markup:
    """Distances against ln t, with what a logarithm would have done; empty without a distance."""
    study = found.study
    curves = {one: plot.seeds_of(study, one) for one in plot.of_picture(study)}
    curves = {one: own for one, own in curves.items() if own}
    if not curves:
        return Markup()
    low, high = plot.window_of([each for own in curves.values() for each in own])
    ends = _ends(curves, (low, high))
    drawn = figures.figure(
        partial(plot.hero, study),
        name="hero",
        title="Distance from the initial weights against iterations, by batch size",
        description=f"On a logarithmic axis of iterations, where growth like log t is straight. "
        f"{' '.join(ends)}",
        wide=_HERO,
        narrow=_HERO_NARROW,
    )
    rule = {"sqrt": "η ∝ √M", "linear": "η ∝ M", "fixed": "one rate"}.get(
        next(iter(curves)).rule, ""
    )
    arms = f" Arms with {rule}." if rule and len(curves) > 1 else ""
    how = (
        "Thin lines: seeds; markers: their mean; dashed: the straight line that a logarithm "
        f"fitted to iterations {shown(low, exact=True)} to {shown(high, exact=True)} would follow."
        f"{_beside_late_law(found)}{arms}{_not_drawn(plot.arms_of(study), list(curves))}"
    )
    return piece("hero", drawn, captioned(_first_finding(found, several=len(curves) > 1), how))


def _first_finding(found: Findings, *, several: bool) -> str:
    """What the first picture shows, by the verdicts on it."""
    words = found.verdicts.isel(set=0)["verdict"]
    log, curve = (str(words.sel(prediction=key).values) for key in ("P1", "P2"))
    beside = Beside.of(found.verdicts, str(found.verdicts["set"].values[0]))
    law, about, sizes = (
        three_digits(texts.get(key, ""))
        for texts, key in ((beside.law, "P1"), (beside.about, "P1"), (beside.about, "P2"))
    )
    first = {
        CONTRADICTED: "Distances leave the logarithm",
        SUPPORTED: f"Distances follow {law or 'the logarithm'}",
    }.get(log, "Distances beside the logarithm through their beginnings")
    second = {
        CONTRADICTED: f", {sizes or 'batch sizes'} not on one curve",
        SUPPORTED: f", {sizes or 'all batch sizes'} on one curve",
    }.get(curve, "")
    return f"{first}{' ' + about if about else ''}{second if several else ''}."


def _beside_late_law(found: Findings) -> str:
    """How near the late logarithm that P1 found comes, where the dashed line is none; or empty."""
    verdicts = found.verdicts.isel(set=0)
    if "law" not in verdicts.coords or not str(verdicts["law"].sel(prediction="P1").values):
        return ""
    told = told_arm(next(iter(found.study.sets.values())))
    if told is None:
        return ""
    arm = told[0]
    middle = plot.mean((found.study.found(plot.curve_of, node) for node in arm.nodes), 53)
    if middle is None:
        return ""
    clock = np.log(middle.time + arm.onset)
    law = np.polynomial.Polynomial.fit(clock, middle.value, 1)(clock)
    off = float(np.abs(middle.value - law).max() / middle.value[-1])
    return (
        " That line is no measure of a logarithm that sets in later: "
        f"log(t + {shown(round(arm.onset), exact=True)}), fitted to all iterations at "
        f"{three_digits(arm.name)}, keeps within {fixed(100 * off, 1)} % of the final distance."
    )


def _not_drawn(every: Sequence[plot.Shown], drawn: Sequence[plot.Shown]) -> str:
    """Which arms a picture leaves out, in a sentence; empty where it shows all."""
    first, gone = drawn[0], [one for one in every if one not in drawn]
    own = [one for one in gone if not one.set_name and not one.rung]
    sizes = {one.batch_size for one in drawn}
    like = [one for one in own if one.rule == first.rule and one.batch_size not in sizes]
    others = len(own) - len(like)
    sets = dict.fromkeys(one.set_name for one in gone if one.set_name)
    rungs = sum(bool(one.rung) for one in gone)
    told = [
        first_of(list(dict.fromkeys(one.title for one in like))),
        f"{plural(others, 'arm')} at other rates" if others else "",
        f"the set{'s' if len(sets) > 1 else ''} {first_of(list(sets), 2)}" if sets else "",
        f"{plural(rungs, 'rung')} of the ladder" if rungs else "",
    ]
    listed = "; ".join(filter(None, told))
    return f" Not drawn: {listed}." if listed else ""


def _ends(curves: dict[Any, list[Any]], span: tuple[float, float]) -> list[str]:
    """Where each arm ends, and how far from its logarithm, in sentences."""
    told = []
    for one, own in curves.items():
        middle = plot.mean(own, 53)
        if middle is None or not middle.time.size:
            continue
        last, end = float(middle.time[-1]), float(middle.value[-1])
        said = f"{one.title} ends at {shown(end)} after {shown(last, exact=True)} iterations"
        line = plot.log_line(own, span)
        if line is not None and last > span[1]:
            reached = line[1] + line[0] * np.log(last)
            said += f", {shown(end / reached)} times the line" if reached > 0 else ""
        told.append(f"{said}.")
    return told


def distance(found: Findings, _: dict[str, Any]) -> tuple[str, str, list[Markup]]:
    """Distances with their laws and what these leave, one arm a panel."""
    study = found.study
    every = plot.arms_of(study)
    plain = [one for one in every if not one.rung] or every
    parts = _panels(found, plain[:_MOST], "iteration")
    if parts:
        parts.append(piece("caption", captioned(_bends(found), _distance_caption(found, plain))))
    return (
        "Distance and fitted laws",
        "One arm a panel; a straight line is growth like log t. Read p as the power of t: 0 is a "
        "logarithm, ½ is diffusion.",
        [*parts, _rivals(found), _on_summed_rate(found, every)],
    )


def _panels(found: Findings, arms: Sequence[plot.Shown], clock: str) -> list[Markup]:
    """Panels of arms, with a heading where the rule for the learning rate is another."""
    groups: dict[tuple[str, str, bool], list[plot.Shown]] = {}
    for one in arms:
        groups.setdefault((one.set_name, one.rule, bool(one.rung)), []).append(one)
    listed: list[tuple[str, list[Markup]]] = []
    for (name, rule, rungs), own in groups.items():
        heading = "Rungs of the ladder" if rungs else plot.HEADINGS.get(rule, rule)
        title = ", ".join(filter(None, (heading, name)))
        drawn = _of_group(found, own, clock)
        if drawn:
            listed.append((title if len(groups) > 1 else "", drawn))
    return [piece("groups", listed)] if listed else []


def _of_group(found: Findings, own: Sequence[plot.Shown], clock: str) -> list[Markup]:
    """Panels of one scale: distances over laws, and what the laws leave."""
    study = found.study
    curves = {one: plot.seeds_of(study, one, clock) for one in own}
    flat = [each for listed in curves.values() for each in listed]
    if not flat:
        return []
    top = 1.06 * max(float(each.value.max()) for each in flat)
    first, last = (float(end([c.time[k] for c in flat])) for end, k in ((min, 0), (max, -1)))
    span = (first, last) if last > first else (first / 2, 2 * first)
    fits = study.fits if clock == "iteration" else study.rate_fits
    drawn = []
    for place, one in enumerate(own):
        if not curves[one]:
            continue
        fitted = _exponents_of(fits, one)
        told = f"{one.title}, {one.rate_words}: distances reach {_reach(curves[one])}"
        told += f"; fitted exponents {_between(fitted)}." if fitted else "; no law is fitted."
        figure = figures.figure(
            partial(plot.panel, study, arm=one, clock=clock, top=top, span=span),
            name=_slug(f"distance-{clock}-{one.nodes[0]}-{place}"),
            title=f"Distances of {one.title}, {one.rule_words or one.name}",
            description=told,
            wide=_STRIPPED if fitted else _PANEL,
        )
        drawn.append(panel(one, one.rate_words, [figure]))
    return drawn


def _slug(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name)[:80]


def _exponents_of(fits: xr.Dataset | None, one: plot.Shown) -> list[float]:
    if fits is None:
        return []
    there = [node for node in one.nodes if node in fits["node"].values]
    values = fits["exponent"].sel(node=there).values
    return [float(value) for value in values[np.isfinite(values)]]


def _between(values: Sequence[float]) -> str:
    low, high = (fixed(end(values)).replace("-", "−") for end in (min, max))
    return low if low == high else f"{low} to {high}"


def _reach(curves: Sequence[plot.Curve]) -> str:
    ends = [float(each.value[-1]) for each in curves]
    low, high = shown(min(ends)), shown(max(ends))
    return low if low == high else f"{low} to {high}"


def _bends(found: Findings) -> str:
    """Whether arms bend above a straight line, by the exponents of their fits."""
    fits = found.study.fits
    means = [
        np.mean(own) for one in plot.arms_of(found.study) if (own := _exponents_of(fits, one))
    ]
    if not means:
        return "Distances of every arm."
    above = sum(bool(one > EXPONENT_MARGIN) for one in means)
    below = sum(bool(one < -EXPONENT_MARGIN) for one in means)
    along = len(means) - above - below
    bent = "a straight line in log t"
    for count, does in (
        (above, f"bends above {bent}"),
        (below, f"bends below {bent}"),
        (along, "follows a logarithm with its onset"),
    ):
        if count == len(means):
            each = "every arm" if count > 1 else "the arm"
            return f"In {each} the distance {does}."
    return (
        f"Of {plural(len(means), 'arm')}, {above} bend above {bent}, {below} below, {along} "
        "follow a logarithm with its onset."
    )


def _distance_caption(found: Findings, arms: Sequence[plot.Shown]) -> str:
    more = f" {len(arms) - _MOST} more arms are among the exponents." if len(arms) > _MOST else ""
    fits = found.study.fits
    known = np.isfinite(fits["exponent"].values)
    if not known.any():
        return (
            "Markers: records of all seeds, thinned. No law could be fitted over a constant "
            f"learning rate; the data quality says why.{more}"
        )
    walks = int((fits["status"].values[known] == "noise_nonstationary").sum())
    wander = (
        f" In {walks} of {plural(int(known.sum()), 'fit')} the residuals wander like a random "
        "walk: the line follows that walk, and the interval of p allows for it."
        if walks
        else ""
    )
    return (
        "Markers: records of all seeds, thinned. Pale lines: the law fitted to each seed, with "
        "the wandering of its run; dashed where the law alone runs beside it. Lower strip: "
        "records less their own law, % of the final distance; band ±2 %, arrowheads beyond ±6 %."
        f"{wander} Panels under one heading share scales.{more}"
    )


def _on_summed_rate(found: Findings, every: Sequence[plot.Shown]) -> Markup:
    """Fits against Ση of the runs whose learning rate changes, folded; empty where none does."""
    fits = found.study.rate_fits
    if fits is None:
        return Markup()
    arms = [one for one in every if _exponents_of(fits, one)][:_MOST_FOLDED]
    table = exponent_table(fits)
    listed = replace(table, notes=(*table.lead, *table.notes)).html()
    note = (
        f"The same distances against the summed learning rate {_RATE}, over all records; a "
        f"straight line is growth like log {_RATE}. No prediction takes these."
    )
    title = f"Runs whose learning rate changes, against the summed rate {_RATE}"
    drawn = _panels(found, arms, SUMMED_RATE)
    return piece(
        "drawer", title, [piece("note", note), *drawn, _forest(found, SUMMED_RATE), listed]
    )


def exponents(found: Findings, _: dict[str, Any]) -> tuple[str, str, list[Markup]]:
    """Exponents of arms and tensors, and along the curves."""
    lead = (
        "p in d = a + b·[(t + τ)^p − 1]/p, where τ is the iteration at which growth sets in: 0 is "
        "log t, ½ is √t, 1 is t, below 0 growth ends."
    )
    fits = data.counted(found.study, found.study.fits)
    drawn = _forest(found, ITERATION)
    if not drawn:
        return "Exponents", lead, [_tensors(found)]
    rows = found.study.found(plot.rows_of_arms, "iteration")
    how = f"Small dots: seeds. Bars: {_bars(rows, found.study.level)}. Shaded: counts as log t."
    if any(row.hollow for row in rows):
        how += (
            " Open marks: the onset lies at the latest allowed, a tenth of the iterations; with a "
            "later one p would be lower, beyond the bar."
        )
    caption = piece("caption", captioned(_clear_of_log(found), how))
    return "Exponents", lead, [drawn, caption, *_misfits(fits), _tensors(found), _along(found)]


def _bars(rows: Sequence[plot.Row], level: float) -> str:
    """What the bars of exponents are."""
    levels = sorted({round(row.level, 6) for row in rows if np.isfinite(row.level)})
    ends = list(dict.fromkeys(percent(one, 1) for one in (*levels[:1], *levels[-1:])))
    judged = f"the {' to '.join(ends)} interval with which P1 judges the arm"
    others = (
        f"the {percent(level)} interval of the mean for four seeds or more, else the intervals of "
        "the runs joined"
    )
    if not levels:
        return others
    if all(np.isfinite(row.level) for row in rows):
        return judged
    return f"{judged}; for arms that it does not judge {others}"


def _misfits(fits: xr.Dataset) -> list[Markup]:
    """Where the law leaves the curves of an arm: in a line each, folded where they are many."""
    told = [f"Misfit at {arm}: {one}." for arm, one in misfits(fits).items()]
    if len(told) <= _FEW:
        return [piece("note", f"{line} There p is an average over the curve.") for line in told]
    lead = f"In {len(told)} arms local exponents leave the law: p is an average over the curve"
    return [piece("drawer", lead, [piece("note", line) for line in told])]


_FEW = 2  # lines that need no folding


def _clear_of_log(found: Findings) -> str:
    """Between which values the exponents lie, and how many arms count as log t."""
    rows = found.study.found(plot.rows_of_arms, "iteration")
    low, high = (fixed(end(r.found.value for r in rows)).replace("-", "−") for end in (min, max))
    inside = sum(abs(row.found.value) <= EXPONENT_MARGIN for row in rows)
    where = (
        "none counts"
        if not inside
        else f"{inside} of {len(rows)} {'count' if inside > 1 else 'counts'}"
    )
    if len(rows) == 1:
        return f"The exponent is {low}, which {'counts' if inside else 'does not count'} as log t."
    return f"Exponents run from {low} to {high}; {where} as log t."


def _forest(found: Findings, clock: str) -> Markup:
    """Exponents of arms on a clock, an arm a row; empty without any."""
    name = "iteration" if clock == ITERATION else clock
    rows = found.study.found(plot.rows_of_arms, name)
    if not rows:
        return Markup()
    told = "; ".join(f"{row.name} {row.told}: {row.columns[0]}" for row in rows[:40])
    drawn = figures.figure(
        partial(plot.exponents, found.study, clock=name),
        name=_slug(f"exponents-{name}"),
        title=f"Growth exponents by arm{'' if clock == ITERATION else f' on {_RATE}'}",
        description=f"Exponent with its interval. {told}.",
        wide=(1120, _ROOM + _ROW * len(rows)),
        narrow=(360, _ROOM + _TALL_ROW * len(rows)),
    )
    return piece("whole", drawn)


def _tensors(found: Findings) -> Markup:
    """Exponents of the tensors that moved farthest, folded; empty without any."""
    dots = data.tensor_exponents(found.tensor_fits, found.tensors)
    if not any(np.isfinite(dot.found.value) for dot in dots.dots):
        return Markup()
    drawn = figures.exponent_dots(
        dots.dots,
        dots.rows,
        margin=EXPONENT_MARGIN,
        colours=found.colours,
        name="tensor-exponents",
        clock="t",
    )
    caption = (
        "One row a batch size, of the arm with most seeds; mean over its seeds with its interval "
        "where there are four or more. For looking at: verdicts rest on all tensors together."
    )
    title = f"Exponents of the {plural(len(found.tensors), 'tensor')} that moved farthest"
    return piece("drawer", title, [_older(found, [drawn], caption)])


def _older(found: Findings, panels: Sequence[Markup], caption: str) -> Markup:
    drawn = [older(one, found.colours) for one in panels]
    return piece("figure", drawn, caption)


def _rivals(found: Findings) -> Markup:
    """What P1 weighs, behind a line that opens; empty where no arm speaks."""
    shown = data.rivals(next(iter(found.study.sets.values())))
    if shown is None:
        return Markup()
    colour = found.colours[shown.batch_size]
    both = [figures.rivals_panel(shown, colour=colour), figures.residual_panel(shown)]
    log, power = (f"{miss:.2g} %" for miss in shown.misses)
    last = shown.measured.iteration[-1]
    law = "power of t" if shown.faster else "law that saturates"
    finding = {
        CONTRADICTED: f"A {law} follows the curves to {power} of their growth, even the best "
        f"late logarithm only to {log}.",
        SUPPORTED: f"A logarithm follows the curves to {log} of their growth, and no power of t "
        f"does better than {power}.",
    }.get(
        shown.word,
        f"A {law} follows the curves to {power} of their growth, a late logarithm to {log}.",
    )
    how = (
        f"Dots: mean of {plural(shown.seeds, 'seed')} at {three_digits(shown.name)}; bands: from "
        "the lowest to the highest. "
        f"Steps: the last decade added {fixed(shown.ratio)} times as much as the one before; on "
        "this axis log t is straight. Late logarithms: log(t + τ) with τ up to "
        f"{number(round(ONSET * last))}, and curves that grow in another way at first and turn "
        f"into log t by about iteration {settled(last)}. Second figure: what is left of each "
        "seed's curve."
    )
    caption = Markup("<b>{}</b> {}").format(finding, how)
    title = "What P1 weighs: the best late logarithm and the best power of t"
    return piece("drawer", title, [_older(found, both, caption)])


def batch_sizes(found: Findings, _: dict[str, Any]) -> tuple[str, str, list[Markup]]:
    """On which clock the curves of batch sizes coincide, and how they scale by optimizer."""
    study = found.study
    title = "Which clock brings the batch sizes together"
    lead = (
        "The same curves against four clocks. The error is that of predicting one batch size's "
        "distance from the others, over the decade that the verdict compares (shaded)."
    )
    rule = next((r for r in ("sqrt", "linear") if study.found(plot.compared_runs, r).runs), None)
    if rule is None:
        return title, lead, [_by_optimizer(found.optimizers)]
    compared = study.found(plot.compared_runs, rule)
    errors = {clock: _error(compared, clock) for clock in CLOCKS}
    order = sorted(CLOCKS, key=lambda clock: (np.isnan(errors[clock]), errors[clock]))
    drawn = [
        panel(
            None,
            f"apart over {_CLOCKS.get(clock, clock)}",
            [
                figures.figure(
                    _painted(study, clock, rule),
                    name=_slug(f"collapse-{CLOCKS.index(clock)}"),
                    title=f"Distances of all batch sizes against {_CLOCKS.get(clock, clock)}",
                    description=f"Out-of-seed error {_percent(errors[clock])}, over the decade "
                    "that all share.",
                    wide=_PANEL,
                )
            ],
            figure=_percent(errors[clock]),
            best=clock == order[0] and bool(np.isfinite(errors[clock])),
        )
        for clock in order
    ]
    sizes = [one for one in plot.arms_of(study) if set(one.nodes) & set(compared.runs)]
    best, own = _CLOCKS.get(order[0], order[0]), "Ση" if rule == "linear" else ITERATION
    first = f"On {best} the curves are {_percent(errors[order[0]])} apart"
    if order[0] != own:
        first += f"; on {_CLOCKS[own]}, the clock of the claim, {_percent(errors[own])}"
    how = f"Runs with η ∝ {'√M' if rule == 'sqrt' else 'M'}. Out-of-seed errors over that decade."
    return (
        title,
        lead,
        [
            piece("legend", [(one.rank, one.sizes, one.title) for one in sizes]),
            piece("panels", "", drawn),
            piece("caption", captioned(f"{first}.", how)),
            _by_optimizer(found.optimizers),
        ],
    )


def _painted(study: Any, clock: str, rule: str) -> Callable[[Any], Any]:
    return partial(plot.collapse, study, clock=clock, arms=rule)


def _error(study: Any, clock: str) -> float:
    """Mean over seeds of the error of predicting one batch size from the others; NaN for none."""
    found = list(clock_errors(study, clock).values())
    return float(np.mean(found)) if found else float("nan")


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{shown(100 * share).rstrip('0').rstrip('.')} %"


def _along(found: Findings) -> Markup:
    """How the exponent changes along the curves, behind a line that opens; empty without any."""
    shown = data.local_exponents(found.study)
    if not shown:
        return Markup()
    ends = [x for one in shown for x in (one.found.middle, one.law) if np.isfinite(x).any()]
    low, high = np.nanmin(np.concatenate(ends)), np.nanmax(np.concatenate(ends))
    span = max(min(low - 0.2, -0.2), -1.5), min(max(high + 0.2, 1.2), 2.0)
    panels = [
        figures.local_panel(one, colour=found.colours[one.batch_size], span=span) for one in shown
    ]
    caption = (
        "Local exponent κ = d ln s/d ln t, with s = dd/d ln t, of a spline through each curve: 0 "
        "is log t, ½ is √t, whatever the law. Line and band: mean of the seeds of the arm with "
        f"most, and its {percent(found.study.level)} interval at each iteration; where no arm has "
        "three, one run with the band of its own noise. Dashed: the laws that were fitted. "
        "Where the band keeps off the dashed line for long, the curve leaves the law; gaps: the "
        "slope is not told from 0."
    )
    title = "The exponent along the curves: whether one power holds from beginning to end"
    return piece("drawer", title, [_older(found, panels, caption)])


def _by_optimizer(found: Sequence[OptimizerExponents]) -> Markup:
    """How distance and noise scale with rate and batch size; empty without such arms."""
    if not found:
        return Markup()
    lead = "Of the distance at equal times of each clock, and of the noise scale: η^x·M^y."
    rules = rules_table(found)
    both = [optimizer_table(found).html(), *([rules.html()] if rules.rows else [])]
    title = "Learning rate and batch size, by optimizer"
    return piece("drawer", title, [piece("note", lead), *both])
