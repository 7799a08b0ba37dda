"""How far and how fast: distances, their laws, exponents, and batch sizes on one clock."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from markupsafe import Markup

from ultraslow.analysis.growth import MARGIN as EXPONENT_MARGIN, ONSET, misfits
from ultraslow.analysis.intervals import CONTRADICTED, SUPPORTED
from ultraslow.analysis.predictions.batch_size import MARGIN as RATIO_MARGIN, OptimizerExponents
from ultraslow.analysis.predictions.growth import settled
from ultraslow.analysis.report import data, distances, figures
from ultraslow.analysis.report.by_optimizer import optimizer_table, rules_table
from ultraslow.analysis.report.exponents import exponent_table
from ultraslow.analysis.report.markup import piece, without_style
from ultraslow.analysis.runs import SUMMED_RATE, clock_words
from ultraslow.analysis.text import fixed, number, percent, plural, sentence

from .findings import Findings


def _figure(panels: Sequence[Markup], caption: str) -> Markup:
    """Panels in columns with one caption."""
    return piece("figure", list(map(without_style, panels)), caption) if panels else Markup()


def hero(found: Findings) -> Markup:
    """The picture of P1's sentence; empty where no arm speaks."""
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
        f"Dots: mean of {plural(shown.seeds, 'seed')}; bands: from the lowest to the highest. "
        f"Steps: the last decade added {fixed(shown.ratio)} times as much as the one before; on "
        "this axis log t is straight. Late logarithms: log(t + τ) with τ up to "
        f"{number(round(ONSET * last))}, and curves that grow in another way at first and turn "
        f"into log t by about iteration {settled(last)}. Second figure: what is left of each "
        "seed's curve."
    )
    caption = Markup("<b>{}</b> {}").format(finding, how)
    return piece("hero", without_style(both[0]), caption)


def distance(found: Findings, _: dict[str, Any]) -> tuple[str, str, list[Markup]]:
    """Distances with their laws, one arm a panel."""
    panels = distances.distance_panels(found.study)
    on_rate = distances.rate_panels(found.study)
    return (
        "Distance and fitted laws",
        "‖wₜ − w₀‖ over all tensors, against iterations on a logarithmic axis: a straight line is "
        "growth like log t.",
        [
            _figure(_drawn(panels, found.colours), _distance_caption(found, panels, on_rate)),
            _on_summed_rate(found, on_rate),
        ],
    )


def batch_sizes(found: Findings, _: dict[str, Any]) -> tuple[str, str, list[Markup]]:
    """Whether the curves of batch sizes coincide, and how they scale by optimizer."""
    return (
        "Which clock brings the batch sizes together",
        "The same curves against each other, and how distance and noise scale with learning rate "
        "and batch size.",
        [_overlay(found, distances.distances(found.study.runs)), _by_optimizer(found.optimizers)],
    )


def _drawn(
    panels: Sequence[distances.Panel], colours: Mapping[int, str], clock: str = "iteration"
) -> list[Markup]:
    """Panels of distances, all of one height."""
    top = distances.distance_top(
        [curve for one in panels for curve in one.curves],
        [law for one in panels for law in one.laws],
    )
    return [
        figures.distance_panel(one, top=top, colour=colours[one.batch_size], clock=clock)
        for one in panels
    ]


def _on_summed_rate(found: Findings, panels: Sequence[distances.Panel]) -> Markup:
    """Fits against Ση of the runs whose learning rate changes; empty where none does."""
    fits = found.study.rate_fits
    if fits is None:
        return Markup()
    caption = (
        f"The same distances against the summed learning rate {_RATE}, of "
        f"{_shown(panels)}. Lines: laws fitted over all records with "
        f"{percent(found.study.level)} bands. A straight line is growth like log {_RATE}; "
        "well below its onset τ any law bends upwards."
        f"{_without_bands(panels)}"
    )
    drawn = _drawn(panels, found.colours, f"summed learning rate {_RATE}")
    table = exponent_table(fits)
    listed = replace(table, notes=(*table.lead, *table.notes)).html()
    title = f"Exponents on the summed learning rate {_RATE}, as a table"
    return _figure(drawn, caption) + piece("drawer", title, [listed])


_RATE = clock_words(SUMMED_RATE)


def _shown(panels: Sequence[distances.Panel]) -> str:
    """The number of runs in front, and what stands behind them."""
    runs = plural(sum(len(one.curves) for one in panels), "run")
    if len(panels) < 2:
        return runs
    if any(one.part for one in panels):
        return f"{runs}, some of those of other panels in grey"
    return f"{runs}, some of the other batch sizes in grey"


def _without_bands(panels: Sequence[distances.Panel]) -> str:
    """That bands are not drawn, where some would hide what is measured."""
    wide, laws = sum(one.wide for one in panels), sum(len(one.laws) for one in panels)
    if not wide:
        return ""
    return (
        f" Of {plural(laws, 'law')} the band of {number(wide)} is not drawn: with it more than "
        f"{percent(distances.MOST_COVERED)} of a panel would be grey."
    )


def _distance_caption(
    found: Findings, panels: Sequence[distances.Panel], on_rate: Sequence[distances.Panel]
) -> str:
    dots = f"Dots: total distance at each record of {_shown(panels)}."
    fitted = sum(len(one.laws) for one in panels)
    if not fitted and on_rate:
        runs = plural(sum(len(one.laws) for one in on_rate), "run")
        return (
            f"{dots} No law is fitted against iterations, as no stretch of constant learning rate "
            f"is long enough: {runs} fitted against {_RATE} below."
        )
    if not fitted:
        return f"{dots} No law could be fitted; the JSON file says why, run by run."
    return (
        f"{dots} Lines: fitted laws ({plural(fitted, 'run')}) over the constant learning rate "
        f"with {percent(found.study.level)} bands. A straight line is growth like log t."
        f"{_without_bands(panels)}{_wandering(found)}"
    )


def _wandering(found: Findings) -> str:
    """Why a line may miss the dots, where one does."""
    models = found.study.fits["noise_model"].values[
        np.isfinite(found.study.fits["exponent"].values)
    ]
    walks = sum(str(model).startswith("walk") for model in models)
    if not walks:
        return ""
    return (
        f" In {walks} of {plural(len(models), 'fit')} the residuals wander like a random walk: "
        "the line is the law without that walk and may run beside the dots, and the interval of "
        "its exponent is wide for that reason."
    )


def _overlay(found: Findings, curves: list[data.Curve]) -> Markup:
    curves = [curve for curve in curves if curve.batch_size]  # 0 is one that nobody knows
    if len({curve.batch_size for curve in curves}) < 2:
        return Markup()
    last = min((float(curve.iteration[-1]) for curve in curves if curve.value.size), default=1.0)
    both = [
        figures.all_runs(curves, colours=found.colours, title="distance, all runs", log=False),
        figures.ratio_curves(
            data.ratios(curves),
            margin=RATIO_MARGIN,
            span=(last / 10, last),
            colours=found.colours,
        ),
    ]
    caption = (
        f"{plural(len(curves), 'run')}, named by batch size. Second figure: curves that coincide "
        f"stay in the grey band of ±{percent(RATIO_MARGIN)}; the verdict looks at the decade "
        "right of the dashed line."
    )
    return _figure(both, caption)


def exponents(found: Findings, _: dict[str, Any]) -> tuple[str, str, list[Markup]]:
    """Exponents of runs, arms and tensors, and along the curves."""
    fits, on_rate = data.counted(found.study, found.study.fits), found.study.rate_fits
    plots = {
        "run-exponents": data.run_exponents(fits),
        "rate-exponents": data.DotPlot((), ())
        if on_rate is None
        else data.run_exponents(data.counted(found.study, on_rate)),
        "tensor-exponents": data.tensor_exponents(found.tensor_fits, found.tensors),
    }
    plots = {
        name: plot
        for name, plot in plots.items()
        if any(np.isfinite(dot.found.value) for dot in plot.dots)
    }
    title = "Exponents"
    lead = "p in d = a + b·[(t + τ)^p − 1]/p: 0 is log t, ½ is √t, 1 is t, below 0 saturates."
    if not plots:
        return title, lead, []
    drawn = [
        figures.exponent_dots(
            plot.dots,
            plot.rows,
            margin=EXPONENT_MARGIN,
            colours=found.colours,
            name=name,
            clock=_RATE if name == "rate-exponents" else "t",
        )
        for name, plot in plots.items()
    ]
    told = [
        piece("small", f"Misfit at {arm}: {one}. There p is an average over the curve.")
        for arm, one in misfits(fits).items()
    ]
    return title, lead, [_figure(drawn, _exponents_caption(found, plots)), *told, _along(found)]


def _exponents_caption(found: Findings, plots: Mapping[str, data.DotPlot]) -> str:
    """What each of the figures that are there shows."""
    dots = [dot for plot in plots.values() for dot in plot.dots]
    runs = f"one row a run with its {percent(found.study.level)} interval"
    if any(dot.strong for name in plots if name != "tensor-exponents" for dot in plots[name].dots):
        runs += "; a diamond is the mean over four or more seeds of an arm"
    words = {
        "run-exponents": runs,
        "rate-exponents": f"runs whose learning rate changes, t being {_RATE}; "
        + ("no prediction takes these" if "run-exponents" in plots else runs),
        "tensor-exponents": "the tensors that moved farthest "
        f"({plural(len(found.tensors), 'tensor')}), one row a batch size, of the arm with most "
        "seeds",
    }
    told = [words[name] for name in plots]
    if len(told) > 1:
        places = ("First", "Second", "Third")
        told = [f"{place}: {one}" for place, one in zip(places, told, strict=False)]
    if any(np.isfinite(dot.windows).all() for dot in dots):
        told.append(
            "Pale bars: lowest and highest exponent of single decades of the run; of t^p each is p"
        )
    told += ["Arrow heads: the interval goes on", "Grey band: counts as log t"]
    return " ".join(map(sentence, told))


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
    return piece("drawer", title, [_figure(panels, caption)])


def _by_optimizer(found: Sequence[OptimizerExponents]) -> Markup:
    """How distance and noise scale with rate and batch size; empty without such arms."""
    if not found:
        return Markup()
    lead = "Of the distance at equal times of each clock, and of the noise scale: η^x·M^y."
    rules = rules_table(found)
    both = [optimizer_table(found).html(), *([rules.html()] if rules.rows else [])]
    title = "Learning rate and batch size, by optimizer"
    return piece("drawer", title, [piece("note", lead), *both])
