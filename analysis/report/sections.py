"""The parts of the report's page, from its first paragraph to the table of runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ultraslow.analysis.growth import MARGIN as EXPONENT_MARGIN
from ultraslow.analysis.intervals import UNDECIDABLE, VERDICTS
from ultraslow.analysis.noise import ArmScale, Breakdown
from ultraslow.analysis.predictions.batch_size import MARGIN as RATIO_MARGIN
from ultraslow.analysis.scores import CriticalBatch, Ladder
from ultraslow.analysis.text import interval, number, plural, real, rounded

from . import data, figures, ladder_table, markup, noise_table
from .tables import folded

_HASH_LENGTH = 12


@dataclass(frozen=True)
class Findings:
    """Everything that the page shows."""

    runs: dict[str, xr.Dataset]
    verdicts: xr.Dataset
    fits: xr.Dataset
    tensor_fits: xr.Dataset
    tensors: list[str]
    level: float
    colours: dict[int, str]
    noise: Sequence[ArmScale] = ()
    noise_detail: Breakdown | None = None
    critical: CriticalBatch = CriticalBatch()
    ladders: Sequence[Ladder] = ()


def whole_page(found: Findings, content: dict[str, Any]) -> str:
    """The report's page.

    Arguments:
        found: what the figures show.
        content: what the JSON file holds.

    Returns:
        HTML.
    """
    rows = content["verdicts"]
    bad = [(item["source"], item["faults"]) for item in content["unusable"]]
    return markup.page(
        "How the weights moved",
        [
            _header(found, content),
            _verdicts(rows),
            _distance(found),
            _exponents(found),
            ladder_table.section(found.ladders),
            _noise(found),
            noise_table.critical(found.critical),
            _loss(found),
            markup.section("Not used", "Paths that gave no recording.", markup.faults(bad)),
            _provenance(found, content),
        ],
    )


def _verdicts(rows: list[dict[str, Any]]) -> str:
    """Decided predictions first, then open ones; those that lack a measurement folded away."""
    told = [row for row in rows if not folded(row)]
    told.sort(key=lambda row: row["verdict"] == UNDECIDABLE)
    cards = "".join(map(markup.verdict, told))
    return (
        f'<div class="verdicts">{cards}</div>'
        f"{markup.lacking([row for row in rows if folded(row)])}"
    )


def _header(found: Findings, content: dict[str, Any]) -> str:
    made = f"ultraslow {content['versions']['ultraslow']} · {content['created'][:10]}"
    what = {f"{row['model']} on {row['data']}" for row in content["inputs"] if row["model"]}
    overline = [made, plural(len(found.runs), "run"), *sorted(what)[:2]]
    rows = content["verdicts"]
    told = [_sentence(row) for row in rows if row["prediction"] in _ANSWERS]
    answer = " ".join([*told, _tally(rows)])
    return (
        f'<header><p class="overline">{markup.escape(" · ".join(overline))}</p>'
        f'<h1>How the weights moved</h1><p class="answer">{answer}</p></header>'
    )


def _tally(rows: list[dict[str, Any]]) -> str:
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
    },
    "P2": {
        "supported": "Under √M learning rates the batch sizes' curves <b>coincide</b>",
        "contradicted": "Under √M learning rates the batch sizes' curves do <b>not</b> coincide",
        "undecidable": "Whether the batch sizes' curves coincide under √M learning rates is "
        "<b>undecidable</b> so far",
    },
}
_EFFECTS = {"P1": "exponent", "P2": "ratio of largest to smallest batch size"}


def _sentence(row: dict[str, Any]) -> str:
    answer = _ANSWERS[row["prediction"]][row["verdict"]]
    if row["effect"] is None:
        return f"{answer}."
    ends = interval(real(row["effect_low"]), real(row["effect_high"]), show=rounded)
    effect = f"{_EFFECTS[row['prediction']]} {rounded(real(row['effect']))} {ends}"
    return f"{answer} ({effect})."


def _distance(found: Findings) -> str:
    curves = data.distances(found.runs)
    laws = data.laws(found.fits)
    small = []
    top = data.distance_top(curves, laws)
    for size, colour in found.colours.items():
        own, behind = data.parted(curves, size)
        options: dict[str, Any] = {"behind": behind, "batch_size": size, "colour": colour}
        small.append(figures.distance(own, laws.get(size, []), top=top, **options))
    caption = _distance_caption(found, fitted=sum(map(len, laws.values())))
    return markup.section(
        "Distance from the initial weights",
        "‖wₜ − w₀‖ over all tensors, against iterations on a logarithmic axis.",
        markup.figure(small, caption),
        _overlay(found, curves),
    )


def _distance_caption(found: Findings, *, fitted: int) -> str:
    others = ", some of the other batch sizes in grey" if len(found.colours) > 1 else ""
    dots = f"Dots: total distance at each record of {plural(len(found.runs), 'run')}{others}."
    if not fitted:
        return f"{dots} No law could be fitted; the JSON file says why, run by run."
    return (
        f"{dots} Lines: fitted laws ({plural(fitted, 'run')}) over the constant learning rate "
        f"with {found.level:.0%} bands. A straight line is growth like log t.{_wandering(found)}"
    )


def _wandering(found: Findings) -> str:
    """Why a line may miss the dots, where one does."""
    models = found.fits["noise_model"].values[np.isfinite(found.fits["exponent"].values)]
    walks = sum(str(model).startswith("walk") for model in models)
    if not walks:
        return ""
    return (
        f" In {walks} of {plural(len(models), 'fit')} the residuals wander like a random walk: "
        "the line is the law without that walk and may run beside the dots, and the interval of "
        "its exponent is wide for that reason."
    )


def _overlay(found: Findings, curves: list[data.Curve]) -> str:
    if len(found.colours) < 2:
        return ""
    last = min((float(curve.iteration[-1]) for curve in curves if curve.value.size), default=1.0)
    both = [
        figures.together(curves, colours=found.colours, title="distance, all runs", log=False),
        figures.ratios(
            data.ratios(curves),
            margin=RATIO_MARGIN,
            span=(last / 10, last),
            colours=found.colours,
        ),
    ]
    caption = (
        f"{plural(len(curves), 'run')}, named by batch size. Second figure: curves that coincide "
        f"stay in the grey band of ±{RATIO_MARGIN:.0%}; the verdict looks at the decade right of "
        "the dashed line."
    )
    return f'<div style="height:36px"></div>{markup.figure(both, caption)}'


def _exponents(found: Findings) -> str:
    by_run = data.run_exponents(found.fits, level=found.level)
    by_tensor = data.tensor_exponents(found.tensor_fits, found.tensors, level=found.level)
    options: dict[str, Any] = {"margin": EXPONENT_MARGIN, "colours": found.colours}
    both = [
        figures.exponents(plot.dots, plot.rows, name=name, **options)
        for name, plot in (("run-exponents", by_run), ("tensor-exponents", by_tensor))
    ]
    caption = (
        f"First: one row a run with its {found.level:.0%} interval; a diamond is the mean over "
        "four or more seeds of an arm. Second: the tensors that moved farthest "
        f"({plural(len(found.tensors), 'tensor')}), one row a batch size, of the arm with most "
        "seeds. Arrow heads: the interval goes on. Grey band: counts as log t."
    )
    return markup.section(
        "Exponents",
        "p in d = a + b·[(t + τ)^p − 1]/p: 0 is log t, ½ is √t, 1 is t, below 0 saturates.",
        markup.figure(both, caption),
    )


def _noise(found: Findings) -> str:
    bands = data.noise_bands(found.runs, level=found.level)
    limits = _noise_limits(bands)
    small = [
        figures.noise_scale(band, batch_size=size, limits=limits, colour=found.colours[size])
        for size, band in bands.items()
    ]
    caption = (
        f"B_simple = tr Σ/|G|² in samples with its {found.level:.0%} interval, of each batch size "
        "the runs of the arm with most seeds. Dashed: the batch size. Below the noise scale an "
        "update is mostly noise, above it mostly gradient."
    )
    return markup.section(
        "Gradient noise scale",
        "",
        markup.figure(small, caption),
        noise_table.by_batch_size(found.noise),
        noise_table.in_parts(found.noise_detail),
    )


def _noise_limits(bands: dict[int, data.Band]) -> tuple[float, float]:
    values = [np.asarray([float(size)]) for size in bands]
    for band in bands.values():
        values += [band.middle, band.low]
    known = np.concatenate(values) if values else np.ones(1)
    known = known[np.isfinite(known) & (known > 0)]
    return float(known.min()) / 2, float(known.max()) * 2


def _loss(found: Findings) -> str:
    curves = [curve for curve in data.losses(found.runs) if curve.value.size]
    if not curves:
        return ""
    log = all((curve.value > 0).all() for curve in curves)
    drawn = figures.together(curves, colours=found.colours, title="training loss", log=log)
    caption = f"Mean over the updates since the last record, {plural(len(curves), 'run')}."
    return markup.section("Training loss", "", markup.figure([drawn], caption))


_HEADER = ("run", "batch size", "seed", "rate", "scaling", "iterations", "records", "decades")


def _provenance(found: Findings, content: dict[str, Any]) -> str:
    rows = [_run_row(row, found.colours) for row in content["inputs"]]
    used = " · ".join(f"{name} {version}" for name, version in content["versions"].items())
    attributes = {row["node"]: _origin(row) for row in content["inputs"]}
    return markup.section(
        "Runs",
        "Decades: the longest stretch of constant learning rate. Hash: the beginning of SHA-256.",
        markup.table((*_HEADER, "state", "hash"), rows, text=1),
        _note(found),
        markup.drawer(
            f"Paths, hashes and attributes of {plural(len(attributes), 'run')}",
            *(markup.details(name, value) for name, value in attributes.items()),
        ),
        f'<p class="small">{markup.escape(used, 400)}</p>',
    )


def _note(found: Findings) -> str:
    """Which of the recordings in the table were counted once."""
    note = str(found.verdicts.attrs.get("note", ""))
    return f'<p class="small">{markup.escape(note, 400)}</p>' if note else ""


def _origin(row: dict[str, Any]) -> dict[str, Any]:
    return {"path": row["path"], "sha256": row["sha256"], "attributes": row["attributes"]}


def _run_row(row: dict[str, Any], colours: dict[int, str]) -> list[str]:
    rate = row["learning_rate"]
    cells = [
        "–" if row["seed"] is None else row["seed"],
        "–" if rate is None else number(rate),
        row["scaling"] or "–",
        row["last_iteration"],
        row["records"],
        f"{row['constant_rate_decades']:.2f}",
        row["state"],
    ]
    size = markup.swatch(colours[row["batch_size"]], str(row["batch_size"]))
    digest = f"<code>{markup.escape(row['sha256'][:_HASH_LENGTH])}</code>"
    return [markup.escape(row["run"], 40), size, *map(markup.escape, cells), digest]
