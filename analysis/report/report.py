"""The report: one self-contained HTML page, and its numbers as JSON beside it."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ultraslow.analysis.growth import MARGIN as EXPONENT_MARGIN, Progress, fit_tensors
from ultraslow.analysis.intervals import SEEDS, check_level
from ultraslow.analysis.noise import arm_scales, noise_breakdown
from ultraslow.analysis.predictions import verdicts_on
from ultraslow.analysis.predictions.batch_size import MARGIN as RATIO_MARGIN
from ultraslow.analysis.predictions.batch_size.optimizer_exponents import optimizer_exponents
from ultraslow.analysis.runs import some_runs, unusable
from ultraslow.analysis.scores import ladders
from ultraslow.analysis.scores.critical_batch import critical_batch
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording import whole_file

from . import data, figures
from .by_optimizer import exponent_records
from .numbers import (
    breakdown_numbers,
    comparison_rows,
    fit_rows,
    inputs,
    ladder_rows,
    noise_rows,
    now,
    verdict_rows,
    versions,
)
from .page.document import whole_page
from .page.findings import Findings
from .table import plain

# Exponents of tensors are for looking at; verdicts rest on totals, which are simulated more often.
# Of many series none is: what is shown then is how seeds differ.
TENSOR_DRAWS, SIMULATED_SERIES = 200, 120


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


def report(
    runs: xr.DataTree,
    path: str | os.PathLike[str],
    *,
    level: float = 0.95,
    progress: Progress | None = None,
    answered: Callable[[xr.Dataset], None] | None = None,
) -> Report:
    """Write a diagnostic page about recorded runs.

    The page needs no network and runs no script. The JSON file has the same name with the suffix
    `.json` and holds the inputs with their hashes, the options, the verdicts and all fits; numbers
    that are not finite are null or the texts "inf" and "-inf".

    Arguments:
        runs: recordings, as `load` gives them.
        path: the page to write; an existing one is replaced.
        level: confidence level of all intervals.
        progress: called with the number of series fitted since the last call and of all.
        answered: called with the verdicts as soon as they are known, before anything is drawn.

    Returns:
        The paths written and the verdicts.

    Raises:
        ValueError: when there are no recordings, or the page has the name of one of them or of
            its own numbers.
        OSError: when the page's folder does not exist, or is the page.
    """
    check_level(level)
    page = Path(path)
    if page.is_dir():
        raise IsADirectoryError(f"path: found the folder {page}, expected a page's name")
    if not page.absolute().parent.is_dir():
        raise FileNotFoundError(f"path: the folder {page.absolute().parent} does not exist")
    if page.suffix in (".json", ".nc"):
        raise ValueError(f"path: found {page}, expected a page's name, such as report.html")
    numbers = page.with_suffix(".json")
    study = Study(some_runs(runs), level, progress)
    verdicts = verdicts_on(study)
    if answered is not None:
        answered(verdicts)
    found = _findings(study, verdicts)
    content = _numbers(runs, found)
    _write(numbers, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))
    _write(page, whole_page(found, content))
    return Report(page, numbers, found.verdicts)


def _write(path: Path, text: str) -> None:
    """Write all of it or nothing, so that a failure leaves no half page."""
    with whole_file(path.resolve()) as file:
        file.write(text.encode(errors="replace"))


def _findings(study: Study, verdicts: xr.Dataset) -> Findings:
    runs, level = study.runs, study.level
    tensors = data.largest_tensors(runs)
    noise = arm_scales(runs, level=level)
    shown = {name: _with_tensors(run, tensors) for name, run in runs.items()}
    return Findings(
        study=study,
        verdicts=verdicts,
        tensor_fits=fit_tensors(
            shown,
            level=level,
            intervals=not without_tensor_intervals(study, tensors),
            draws=TENSOR_DRAWS,
            progress=study.progress,
        ),
        tensors=tensors,
        colours=figures.palette(list(study.batch_sizes)),
        noise=noise,
        noise_detail=noise_breakdown(runs, noise, level=level),
        critical=critical_batch(runs, level=level),
        ladders=ladders(runs, level=level),
        optimizers=optimizer_exponents(study),
    )


def without_tensor_intervals(study: Study, tensors: Sequence[str]) -> str:
    """Why the exponents of tensors get no interval of their own; empty where they do."""
    count = len(study.runs) * len(tensors)
    if count > SIMULATED_SERIES:
        return (
            f"{count} series, and critical values are simulated for up to {SIMULATED_SERIES}: how "
            "seeds differ tells how sure an exponent is, `ultraslow fit --tensors` simulates all"
        )
    if not _some_arm_is_small(study.fits):
        return f"every arm has {SEEDS} seeds or more, whose spread tells how sure an exponent is"
    return ""


def _some_arm_is_small(fits: xr.Dataset) -> bool:
    """Whether a tensor's interval somewhere is that of single runs and not across seeds."""
    counts = [members.sizes["node"] for members in data.main_fits(fits).values()]
    return min(counts) < SEEDS


def _with_tensors(run: xr.Dataset, tensors: list[str]) -> xr.Dataset:
    return run.isel(
        tensor=np.flatnonzero(np.isin(run.variables["tensor"].values.astype(str), tensors))
    )


def _numbers(runs: xr.DataTree, found: Findings) -> dict[str, Any]:
    untold = without_tensor_intervals(found.study, found.tensors)
    return {
        "created": now(),
        "versions": versions(),
        "options": {
            "level": found.study.level,
            "exponent_margin": EXPONENT_MARGIN,
            "ratio_margin": RATIO_MARGIN,
            "tensors": found.tensors,
            "tensor_draws": TENSOR_DRAWS,
            "where": str(runs.attrs.get("where", "")),
            "left_out": int(runs.attrs.get("left_out", 0)),
        },
        "inputs": inputs(runs),
        "unusable": plain([vars(item) for item in unusable(runs)]),
        "verdicts": verdict_rows(found.verdicts),
        "fits": fit_rows(found.study.fits),
        "tensor_fits": fit_rows(found.tensor_fits),
        "tensor_intervals": {"status": "not_simulated" if untold else "ok", "reason": untold},
        "rate_fits": [] if found.study.rate_fits is None else fit_rows(found.study.rate_fits),
        "noise_scale": noise_rows(found.study.runs, level=found.study.level),
        "noise_by_batch_size": comparison_rows(found.noise),
        "noise_detail": breakdown_numbers(found.noise_detail),
        "optimizer_exponents": exponent_records(found.optimizers),
        "critical_batch": plain(found.critical.record()),
        "ladders": ladder_rows(found.ladders),
    }
