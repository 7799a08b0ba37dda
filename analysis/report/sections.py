"""The parts of the report's page, from its first paragraph to the table of runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from markupsafe import Markup

from ultraslow.analysis.growth import MARGIN as EXPONENT_MARGIN, ONSET, misfits
from ultraslow.analysis.intervals import CONTRADICTED, SUPPORTED, UNDECIDABLE, VERDICTS
from ultraslow.analysis.noise import ArmScale, Breakdown
from ultraslow.analysis.predictions.batch_size import MARGIN as RATIO_MARGIN, OptimizerExponents
from ultraslow.analysis.predictions.growth import settled
from ultraslow.analysis.runs import SUMMED_RATE, clock_words
from ultraslow.analysis.scores import CriticalBatch, Ladder
from ultraslow.analysis.study import Study
from ultraslow.analysis.text import fixed, number, percent, plural, sentence

from . import data, distances, figures, markup
from .absent import happened, in_part
from .batch_sizes import critical_in_words, critical_table, sizes_apart
from .by_optimizer import optimizer_table, rules_table
from .exponents import exponent_table
from .markup import piece
from .tables import ladder_table, noise_table, origin_table, part_tables, sized, whole_gain
from .verdicts import effect, folded, set_title

_FEW = 6  # events, up to which they are not folded


@dataclass(frozen=True)
class Findings:
    """Everything that the page shows."""

    study: Study
    verdicts: xr.Dataset
    tensor_fits: xr.Dataset
    tensors: list[str]
    colours: dict[int, str]
    noise: Sequence[ArmScale] = ()
    noise_detail: Breakdown | None = None
    critical: CriticalBatch = CriticalBatch()
    ladders: Sequence[Ladder] = ()
    optimizers: Sequence[OptimizerExponents] = ()


def whole_page(found: Findings, content: dict[str, Any]) -> str:
    """The report's page.

    Arguments:
        found: what the figures show.
        content: what the JSON file holds.

    Returns:
        HTML.
    """
    sets = [
        _of_set(found.verdicts, name, [row for row in content["verdicts"] if row["set"] == name])
        for name in found.verdicts["set"].values.tolist()
    ]
    what = {f"{row['model']} on {row['data']}" for row in content["inputs"] if row["model"]}
    made = f"ultraslow {content['versions']['ultraslow']} · {content['created'][:10]}"
    sections = [
        _rivals(found),
        _distance(found),
        _exponents(found),
        _by_optimizer(found.optimizers),
        *map(_ladder, found.ladders),
        _noise(found),
        _critical(found.critical, found.noise),
        _loss(found),
        _events(found.study.runs),
        _not_used(content["unusable"]),
        _provenance(found, content),
    ]
    return markup.page(
        title="How the weights moved",
        overline=[made, plural(len(found.study.runs), "run"), *sorted(what)[:2]],
        answer=Markup(" ").join([part for one in sets for part in one.answers]),
        sets=sets,
        sections=[section for section in sections if section],
    )


@dataclass(frozen=True)
class VerdictSet:
    """What the page says of one set of equal runs.

    Attributes:
        title: the set and its size; empty where there is one only.
        answers: sentences of the page's first paragraph.
        told: verdicts, decided ones first.
        lacking: those that lack a measurement, folded away.
    """

    title: str
    answers: tuple[Markup, ...]
    told: list[dict[str, Any]]
    lacking: Markup


def _of_set(verdicts: xr.Dataset, name: str, rows: list[dict[str, Any]]) -> VerdictSet:
    several = verdicts.sizes["set"] > 1
    # Decided predictions first, then open ones; those that lack a measurement folded away.
    told = sorted(
        (row for row in rows if not folded(row)), key=lambda row: row["verdict"] == UNDECIDABLE
    )
    answers = [_answer(row) for row in rows if row["prediction"] in _ANSWERS]
    if several and name != verdicts["set"].values[0]:
        # Beside the first set the others say what they decide, and nothing of what they lack.
        answers = [
            _answer(row)
            for row in rows
            if row["prediction"] in _ANSWERS and row["verdict"] in (SUPPORTED, CONTRADICTED)
        ]
    named = (
        [Markup("<b>{}</b>:").format(name[:1].upper() + name[1:])] if several and answers else []
    )
    tally = [Markup(_tally(rows))] if answers else []
    return VerdictSet(
        set_title(verdicts, name) if several else "",
        (*named, *answers, *tally),
        told,
        _lacking([row for row in rows if folded(row)]),
    )


def _section(title: str, lead: str, *parts: Markup) -> Markup:
    """A titled part of the page; empty when it has no parts."""
    return piece("section", title, lead, parts) if any(parts) else Markup()


def _figure(panels: Sequence[Markup], caption: str) -> Markup:
    """Panels in columns with one caption."""
    return piece("figure", panels, caption) if panels else Markup()


def _lacking(rows: list[dict[str, Any]]) -> Markup:
    """Predictions without a measurement, behind a line that opens; empty without any."""
    summary = f"{plural(len(rows), 'more prediction')} could not be tested: what is missing"
    return piece("drawer", summary, [piece("lacking", rows)]) if rows else Markup()


def _events(runs: Mapping[str, xr.Dataset]) -> Markup:
    """What happened to the runs, folded where it is much; empty where nothing did."""
    told = [*happened(runs), *in_part(runs)]
    listed = piece("lines", told) if told else Markup()
    if len(told) > _FEW:
        listed = piece("drawer", f"{plural(len(told), 'event')} of the runs", [listed])
    lead = "What the recordings tell of their own course that a reader of the figures should know."
    return _section("Events", lead, listed)


def _not_used(bad: list[dict[str, Any]]) -> Markup:
    listed = piece("faults", bad) if bad else Markup()
    return _section("Not used", "Paths that gave no recording.", listed)


def _tally(rows: Sequence[dict[str, Any]]) -> str:
    """How many predictions came out how."""
    words = [row["verdict"] for row in rows]
    counts = ", ".join(f"{words.count(word)} {word}" for word in VERDICTS if word in words)
    return f"Of {plural(len(rows), 'prediction')}: {counts}."


# What the verdicts say, in the words of the page's first paragraph.
_ANSWERS = {
    "P1": {
        "supported": "The distance from the initial weights grows <b>like log t</b>",
        "contradicted": "The distance from the initial weights does <b>not</b> grow like log t",
        "undecidable": "Whether the distance grows like log t is <b>undecidable</b> so far",
        "not applicable": "Whether the distance grows like log t does <b>not arise</b> here",
    },
    "P2": {
        "supported": "Under √M learning rates the batch sizes' curves <b>coincide</b>",
        "contradicted": "Under √M learning rates the batch sizes' curves do <b>not</b> coincide",
        "undecidable": "Whether the batch sizes' curves coincide under √M learning rates is "
        "<b>undecidable</b> so far",
        "not applicable": "Whether the batch sizes' curves coincide under √M learning rates does "
        "<b>not arise</b> here",
    },
}
_EFFECTS = {"P2": "ratio of largest to smallest batch size"}


def _answer(row: dict[str, Any]) -> Markup:
    answer = Markup(_ANSWERS[row["prediction"]][row["verdict"]])
    if row["prediction"] == "P1" and row["effect"] is not None:
        if row["verdict"] == CONTRADICTED and row["last"] is not None:
            answer += f", nor like a logarithm that set in by iteration {settled(row['last'])}"
        # The reason begins with what anybody can read off the picture.
        return answer + ". " + sentence(row["reason"].split(". ")[0])
    if row["effect"] is None:
        return answer + "."
    return answer + f" ({_EFFECTS[row['prediction']]} {effect(row)})."


def _rivals(found: Findings) -> Markup:
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
    title = "Power of t or logarithm"
    first = shown.measured.iteration[0]
    lead = f"Where the verdict on P1 looks: {shown.name}, iterations {first:.0f} to {last:.0f}."
    return _section(title, lead, _figure(both, caption))


def _distance(found: Findings) -> Markup:
    panels = distances.distance_panels(found.study)
    on_rate = distances.rate_panels(found.study)
    return _section(
        "Distance from the initial weights",
        "‖wₜ − w₀‖ over all tensors, against iterations on a logarithmic axis.",
        _figure(_drawn(panels, found.colours), _distance_caption(found, panels, on_rate)),
        _overlay(found, distances.distances(found.study.runs)),
        _on_summed_rate(found, on_rate),
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
    return _GAP + _figure(drawn, caption) + listed


_GAP = Markup('<div style="height:36px"></div>')
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
    return _GAP + _figure(both, caption)


def _exponents(found: Findings) -> Markup:
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
    if not plots:
        return Markup()
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
    return _section(
        "Exponents",
        "p in d = a + b·[(t + τ)^p − 1]/p: 0 is log t, ½ is √t, 1 is t, below 0 saturates.",
        _figure(drawn, _exponents_caption(found, plots)),
        *told,
        _along(found),
    )


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
    return _section("Learning rate and batch size, by optimizer", lead, *both)


def _noise(found: Findings) -> Markup:
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
    return _section(
        "Gradient noise scale",
        "",
        _figure(small, caption),
        _scales(found.noise),
        _taken_apart(found.noise_detail),
    )


def _scales(found: Sequence[ArmScale]) -> Markup:
    known = any(one.place != "unknown" for one in found)
    return noise_table(found).html() if known else Markup()


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


def _loss(found: Findings) -> Markup:
    curves = [curve for curve in data.losses(found.study.runs) if curve.value.size]
    if not curves:
        return Markup()
    log = all((curve.value > 0).all() for curve in curves)
    drawn = figures.all_runs(curves, colours=found.colours, title="training loss", log=log)
    caption = f"Mean over the updates since the last record, {plural(len(curves), 'run')}."
    return _section("Training loss", "", _figure([drawn], caption))


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
    answer = piece("small", sentence(critical_in_words(found)))
    apart = sizes_apart(found, scales)
    beside = [] if apart is None else [apart.html()]
    return _section("Critical batch size", lead, answer, table.html(), *beside)


def _ladder(ladder: Ladder) -> Markup:
    """The gains of a ladder's rungs; empty where there is one."""
    if len(ladder.rungs) < 2:
        return Markup()
    plot = data.gains(ladder)
    name = f"ladder-{ladder.metric}-{ladder.name}"
    drawn = figures.gain_dots(plot.dots, plot.rows, label=f"gain in {ladder.metric}", name=name)
    notes = "".join(f" {sentence(note)}" for note in ladder.notes)
    caption = f"Gain of each rung over the one before; diamond: the last over the first.{notes}"
    table = ladder_table(ladder)
    listed = replace(table, notes=table.lead).html()
    return _section(
        table.title.capitalize(), whole_gain(ladder), _figure([drawn], caption), listed
    )


def _provenance(found: Findings, content: dict[str, Any]) -> Markup:
    note = str(found.verdicts.attrs.get("note", ""))  # which of the recordings were counted once
    origins = [
        piece("details", row["node"], markup.json_lines({key: row[key] for key in _ORIGIN}))
        for row in content["inputs"]
    ]
    title = f"Paths, hashes and attributes of {plural(len(origins), 'run')}"
    used = " · ".join(f"{name} {version}" for name, version in content["versions"].items())
    table = replace(origin_table(content["inputs"], found.colours), notes=(note,) if note else ())
    return _section(
        "Runs",
        "Decades: the longest stretch of constant learning rate. Hash: the beginning of SHA-256.",
        table.html(),
        piece("drawer", title, origins),
        piece("small", used),
    )


_ORIGIN = ("path", "sha256", "attributes")
