"""The report: one self-contained HTML page, and its numbers as JSON beside it."""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from . import figures, markup, panels
from .collapse import MARGIN as RATIO_MARGIN
from .curves import recordings
from .fits import fit_tensors, fit_totals
from .hypotheses import test
from .log_law import MARGIN as EXPONENT_MARGIN
from .provenance import fit_rows, inputs, noise_rows, now, plain, verdict_rows, versions
from .reader import unusable
from .text import interval, number, plural

_HASH_LENGTH = 12


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        path: the page.
        numbers: the JSON file.
        verdicts: as `test` gives them.
    """

    path: Path
    numbers: Path
    verdicts: xr.Dataset


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


def report(
    runs: xr.DataTree,
    path: str | os.PathLike[str],
    *,
    level: float = 0.95,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Report:
    """Write a diagnostic page about recorded runs.

    The page needs no network and runs no script. The JSON file has the same name with the suffix
    `.json` and holds the inputs with their hashes, the options, the verdicts and all fits; numbers
    that are not finite are null or the texts "inf" and "-inf".

    Arguments:
        runs: recordings, as `load` gives them.
        path: the page to write; an existing one is replaced.
        level: confidence level of all intervals.
        progress: wraps the sets of curves while they are fitted.

    Returns:
        The paths written and the verdicts.
    """
    page = Path(path)
    numbers = page.with_suffix(".json")
    found = _findings(runs, level=level, progress=progress)
    content = _numbers(runs, found)
    _write(numbers, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))
    _write(page, _page(found, content, [(item.source, item.faults) for item in unusable(runs)]))
    return Report(page, numbers, found.verdicts)


def _write(path: Path, text: str) -> None:
    """Write under a temporary name and rename, so that a failure leaves no half page."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8", errors="replace")
    os.replace(temporary, path)


def _findings(runs: xr.DataTree, *, level: float, progress: Callable) -> Findings:
    by_name = recordings(runs)
    fits = fit_totals(by_name, level=level, progress=progress)
    tensors = panels.largest_tensors(by_name)
    shown = {name: _with_tensors(run, tensors) for name, run in by_name.items()}
    return Findings(
        runs=by_name,
        verdicts=test(runs, level=level, fits=fits),
        fits=fits,
        tensor_fits=fit_tensors(shown, level=level, progress=progress),
        tensors=tensors,
        level=level,
        colours=figures.palette(panels.batch_sizes(by_name)),
    )


def _with_tensors(run: xr.Dataset, tensors: list[str]) -> xr.Dataset:
    return run.isel(tensor=np.flatnonzero(np.isin(run["tensor"].values.astype(str), tensors)))


def _numbers(runs: xr.DataTree, found: Findings) -> dict[str, Any]:
    return {
        "created": now(),
        "versions": versions(),
        "options": {
            "level": found.level,
            "exponent_margin": EXPONENT_MARGIN,
            "ratio_margin": RATIO_MARGIN,
            "tensors": found.tensors,
        },
        "inputs": inputs(runs),
        "unusable": plain([vars(item) for item in unusable(runs)]),
        "verdicts": verdict_rows(found.verdicts),
        "fits": fit_rows(found.fits),
        "tensor_fits": fit_rows(found.tensor_fits),
        "noise_scale": noise_rows(found.runs, level=found.level),
    }


def _page(found: Findings, content: dict[str, Any], bad: list[tuple[str, tuple[str, ...]]]) -> str:
    rows = content["verdicts"]
    return markup.page(
        "How the weights moved",
        [
            _header(found, content),
            f'<div class="verdicts">{"".join(map(markup.verdict, rows))}</div>',
            _distance(found),
            _exponents(found),
            _noise(found),
            _loss(found),
            markup.section("Not used", "Paths that gave no recording.", markup.faults(bad)),
            _provenance(found, content),
        ],
    )


def _header(found: Findings, content: dict[str, Any]) -> str:
    made = f"ultraslow {content['versions']['ultraslow']} · {content['created'][:10]}"
    what = {f"{row['model']} on {row['data']}" for row in content["inputs"] if row["model"]}
    overline = [made, plural(len(found.runs), "run"), *sorted(what)[:2]]
    answer = " ".join(_sentence(row) for row in content["verdicts"])
    return (
        f'<header><p class="overline">{markup.escape(" · ".join(overline))}</p>'
        f'<h1>How the weights moved</h1><p class="answer">{answer}</p></header>'
    )


# What the verdicts say, in the words of the page's first paragraph.
_ANSWERS = {
    (
        "P1",
        "supported",
    ): "The distance from the initial weights grows <b>like log t</b>: {effect}.",
    ("P1", "contradicted"): (
        "The distance from the initial weights does <b>not grow like log t</b>: {effect}."
    ),
    ("P1", "undecidable"): (
        "Whether the distance from the initial weights grows like log t is <b>undecidable</b> from "
        "these runs{found}."
    ),
    ("P2", "supported"): (
        "Under √M learning rates the curves of the batch sizes <b>coincide</b>: {effect}."
    ),
    ("P2", "contradicted"): (
        "Under √M learning rates the curves of the batch sizes do <b>not coincide</b>: {effect}."
    ),
    ("P2", "undecidable"): (
        "Whether the curves of different batch sizes coincide under √M learning rates is "
        "<b>undecidable</b>{found}."
    ),
}
_EFFECTS = {"P1": "exponent", "P2": "ratio of largest to smallest batch size"}


def _sentence(row: dict[str, Any]) -> str:
    effect = ""
    if row["effect"] is not None:
        ends = interval(float(row["effect_low"]), float(row["effect_high"]))
        effect = f"{_EFFECTS[row['prediction']]} {number(float(row['effect']))}, interval {ends}"
    template = _ANSWERS[row["prediction"], row["verdict"]]
    return template.format(effect=effect, found=f" ({effect})" if effect else "")


def _distance(found: Findings) -> str:
    curves = panels.distances(found.runs)
    laws = panels.laws(found.fits)
    small = [
        figures.distance(curves, laws.get(size, []), batch_size=size, colours=found.colours)
        for size in found.colours
    ]
    fitted = sum(map(len, laws.values()))
    caption = (
        f"Dots: total distance at each record of {plural(len(curves), 'run')}, other batch sizes in "
        f"grey. Lines: the fitted law of {plural(fitted, 'run')} over its constant learning rate, "
        "with two residual standard deviations. A straight line is growth like log t."
    )
    return markup.section(
        "Distance from the initial weights",
        "‖w_t − w_0‖ over all tensors, against iterations on a logarithmic axis.",
        markup.figure(small, caption),
        _overlay(found, curves),
    )


def _overlay(found: Findings, curves: list[panels.Curve]) -> str:
    if len(found.colours) < 2:
        return ""
    last = min(float(curve.iteration[-1]) for curve in curves)
    both = [
        figures.together(curves, colours=found.colours, title="distance, all runs", log=False),
        figures.ratios(
            panels.ratios(curves),
            margin=RATIO_MARGIN,
            span=(last / 10, last),
            colours=found.colours,
        ),
    ]
    caption = (
        f"All {plural(len(curves), 'run')}, named by batch size. Right: curves that coincide stay in "
        f"the grey band of ±{RATIO_MARGIN:.0%}; the verdict looks at the decade right of the dashed "
        "line."
    )
    return f'<div style="height:36px"></div>{markup.figure(both, caption)}'


def _exponents(found: Findings) -> str:
    by_run = panels.run_exponents(found.fits, level=found.level)
    by_tensor = panels.tensor_exponents(found.tensor_fits, found.tensors, level=found.level)
    options = {"margin": EXPONENT_MARGIN, "colours": found.colours}
    both = [
        figures.exponents(plot.dots, plot.rows, name=name, **options)
        for name, plot in (("run-exponents", by_run), ("tensor-exponents", by_tensor))
    ]
    caption = (
        f"Left: one row a run with its {found.level:.0%} interval; a diamond is the mean over four "
        f"or more seeds. Right: the {plural(len(found.tensors), 'tensor')} that moved farthest, one "
        "row a batch size. Arrow heads: the interval goes on. Grey band: counts as log t."
    )
    return markup.section(
        "Exponents",
        "p in d = a + b·[(t + τ)^p − 1]/p: 0 is log t, ½ is √t, 1 is t, below 0 saturates.",
        markup.figure(both, caption),
    )


def _noise(found: Findings) -> str:
    bands = panels.noise_bands(found.runs, level=found.level)
    limits = _noise_limits(bands)
    small = [
        figures.noise_scale(band, batch_size=size, limits=limits, colour=found.colours[size])
        for size, band in bands.items()
    ]
    caption = (
        f"B_simple = tr Σ/|G|² in samples with its {found.level:.0%} interval, the runs of a batch "
        "size taken together. Dashed: the batch size. Below the noise scale an update is mostly "
        "noise, above it mostly gradient."
    )
    return markup.section("Gradient noise scale", "", markup.figure(small, caption))


def _noise_limits(bands: dict[int, panels.Band]) -> tuple[float, float]:
    values = [np.asarray([float(size)]) for size in bands]
    for band in bands.values():
        values += [band.middle, band.low]
    known = np.concatenate(values) if values else np.ones(1)
    known = known[np.isfinite(known) & (known > 0)]
    return float(known.min()) / 2, float(known.max()) * 2


def _loss(found: Findings) -> str:
    curves = [curve for curve in panels.losses(found.runs) if curve.value.size]
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
    attributes = {row["node"]: row["attributes"] for row in content["inputs"]}
    return markup.section(
        "Runs",
        "Decades: the longest stretch of constant learning rate. Hashes are SHA-256.",
        markup.table((*_HEADER, "state", "hash", "path"), rows, text=1),
        *(markup.details(f"attributes of {name}", value) for name, value in attributes.items()),
        f'<p class="small">{markup.escape(used, 400)}</p>',
    )


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
    origin = [f"<code>{markup.escape(row['sha256'][:_HASH_LENGTH])}</code>"]
    origin += [f"<code>{markup.escape(row['path'], 48)}</code>"]
    return [markup.escape(row["run"], 40), size, *map(markup.escape, cells), *origin]
