"""Predictions against recordings: one verdict a prediction."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from ultraslow.analysis.intervals import check_level
from ultraslow.analysis.predictions.batch_size import collapse_in_rate
from ultraslow.analysis.predictions.batch_size.collapse import collapse
from ultraslow.analysis.predictions.batch_size.huge_batch import huge_batch
from ultraslow.analysis.predictions.generalization import generalization
from ultraslow.analysis.predictions.generalization.full_batch import full_batch
from ultraslow.analysis.predictions.generalization.less_distance import less_distance
from ultraslow.analysis.predictions.growth.aging import aging
from ultraslow.analysis.predictions.growth.log_growth import log_growth
from ultraslow.analysis.predictions.growth.noise_off import noise_off
from ultraslow.analysis.predictions.growth.straightness import random_motion
from ultraslow.analysis.predictions.landscape import activation, closed_loop, landscape_growth
from ultraslow.analysis.predictions.landscape.barriers import barriers
from ultraslow.analysis.predictions.landscape.closure import closure
from ultraslow.analysis.runs import FITTED_SHARE, some_runs
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import plural
from ultraslow.diffusion.predictions import PREDICTIONS

from .evidence import LONG_SEEDS
from .odd_seeds import naming_odd_runs
from .verdict import Verdict, question

# The test of each prediction in `diffusion.predictions`, in the order of their numbers.
TESTS: Mapping[str, Callable[[Study], Verdict]] = {
    "P1": log_growth,
    "P1'": closed_loop,
    "P2": collapse,
    "P2'": collapse_in_rate,
    "P3": generalization,
    "P4": landscape_growth,
    "P5": activation,
    "P6": noise_off,
    "P7": barriers,
    "P8": aging,
    "P9": random_motion,
    "P10": closure,
    "H-a": full_batch,
    "H-b": huge_batch,
    "H-c": less_distance,
}

# On scores, and on the landscape alone: these hold whatever is fitted.
_NOT_ON_MOTION = ("P3", "P4", "H-a", "H-c")
_ON_SCORES = ("P3", "H-a")
# What lacks these is about the phase though nothing was estimated.
_OF_LENGTH = ("decades", "iterations", LONG_SEEDS)

# Names and meanings of the columns, in the order of `_row`.
COLUMNS = {
    "statement": "what the prediction claims",
    "verdict": "supported, contradicted, undecidable or not applicable",
    "effect": "effect that decides",
    "effect_low": "lower end of the effect's interval",
    "effect_high": "upper end of the effect's interval",
    "effect_meaning": "what the effect is",
    "null_low": "lowest effect at which the prediction holds",
    "null_high": "highest effect at which the prediction holds",
    "first": "first iteration that the verdict speaks of",
    "last": "last iteration that the verdict speaks of",
    "runs": "runs that entered",
    "seeds": "fewest seeds in an arm",
    "batch_sizes": "batch sizes that entered",
    "assumptions": "conditions that were checked",
    "reason": "why this verdict",
    "needed": "what would decide it",
    "have": "how much there is of what is missing",
    "need": "how much of it would decide",
    "unit": "of `have` and `need`",
}

# Texts beside the columns, for who has room for a sentence only.
BESIDE = {
    "brief": "what was found, in a sentence or two",
    "about": "the arms that the verdict is about, where they are not all",
    "law": "the law that was found in place of log t",
}


def test(runs: xr.DataTree, *, level: float = 0.95) -> xr.Dataset:
    """Verdicts on the predictions about how the distance grows.

    Runs that differ in model, data, optimizer or weight decay are of different laws: each set of
    equal runs is judged by itself, and the runs of one change nothing that is said of another.

    Arguments:
        runs: recordings, as `load` gives them.
        level: confidence level of the intervals.

    Returns:
        A Dataset along `set` and `prediction` with the variables of `COLUMNS`. Sets are named by
        what tells them apart, `all runs` where there is one, that of most runs first; the
        coordinate `recordings` counts their runs. The attribute `note` names recordings that are
        left out, or count once: higher rungs of a ladder, copies, repeated seeds, and seeds that
        stopped early.

    Raises:
        ValueError: when there are no recordings.
    """
    check_level(level)
    return verdicts_on(Study(some_runs(runs), level))


# pytest would collect a function of this name wherever a test module imports it.
test.__test__ = False  # type: ignore[attr-defined]


def verdicts_on(study: Study) -> xr.Dataset:
    """Verdicts on the predictions about recordings at hand, as `test` gives them."""
    found = {
        name: [in_phase(_decided(key, part), part).told_at(study.level) for key in TESTS]
        for name, part in study.sets.items()
    }
    recordings = [len(part.runs) for part in study.sets.values()]
    return (
        as_dataset(found, level=study.level)
        .assign_coords(recordings=("set", recordings, {"long_name": "recordings in the set"}))
        .assign_attrs(note=study.note)
    )


def _decided(key: str, study: Study) -> Verdict:
    """The verdict on a prediction; of one about batch sizes by the runs whose size is known."""
    if "batch_size" not in PREDICTIONS[key].needs or all(study.batch_sizes):
        return _tested(key, study)
    known = study.where(lambda run: int(run.variables["batch_size"].values) > 0)
    if known.runs:
        return _tested(key, known)
    missing = Missing(
        "The batch size of no run is known.",
        "the samples in an update, as `ultraslow import` and `ultraslow checkpoints` take them",
    )
    return question(key, PREDICTIONS[key].measurement).lacking(missing, study.sample)


def _tested(key: str, study: Study) -> Verdict:
    """The verdict on a prediction; on one about the motion with the names of odd runs."""
    found = TESTS[key](study)
    return found if key in _ON_SCORES else naming_odd_runs(found, study, TESTS[key])


def in_phase(verdict: Verdict, study: Study) -> Verdict:
    """The verdict with a sentence on where its phase ends, if training sets were fitted.

    Arguments:
        verdict: on the study.
        study: its runs; those of batch sizes that did not enter are not spoken of.

    Returns:
        The verdict, with what growth afterwards means among the assumptions. One that lacks what
        has nothing to do with the phase is left as it is.
    """
    entered = verdict.sample.batch_sizes or study.batch_sizes
    runs = study.where(lambda run: int(run.variables["batch_size"].values) in entered)
    ends = sorted(runs.ends_of_phase.values())
    about = math.isfinite(verdict.effect) or verdict.unit in _OF_LENGTH
    if not ends or verdict.prediction in _NOT_ON_MOTION or not about:
        return verdict
    noted = (
        f"{len(ends)} of {plural(len(runs.runs), 'run')} at a constant rate until they fit their "
        "training set, and counted to there",
        "growth like log t after that is the one on separable data (null law N5), and no walk's",
    )
    told = replace(verdict, assumptions=(*verdict.assumptions, *noted))
    if "training set is fitted" in verdict.reason:
        return told
    where = (
        f"iteration {ends[0]}" if ends[0] == ends[-1] else f"iterations {ends[0]} to {ends[-1]}"
    )
    some = "" if len(ends) == len(runs.runs) else f" in {len(ends)} of {len(runs.runs)} runs"
    sentence = (
        f"It is about the time until {where}, where the training set is fitted{some} (loss at "
        f"{FITTED_SHARE:.0%} of its start)."
    )
    return replace(told, reason=f"{verdict.reason} {sentence}")


def as_dataset(found: Mapping[str, Sequence[Verdict]], *, level: float) -> xr.Dataset:
    """Verdicts as a table.

    Arguments:
        found: the verdicts on each set of runs, on the same predictions in the same order.
        level: confidence level of their intervals.

    Returns:
        A Dataset along `set` and `prediction` with the variables of `COLUMNS`.
    """
    of_sets = [list(zip(*map(_row, verdicts), strict=True)) for verdicts in found.values()]
    variables = {
        name: (
            ("set", "prediction"),
            np.asarray([columns[place] for columns in of_sets]),
            {"long_name": meaning},
        )
        for place, (name, meaning) in enumerate(COLUMNS.items())
    }
    names = [item.prediction for item in next(iter(found.values()))]
    told = {
        name: (
            ("set", "prediction"),
            np.asarray([[getattr(item, name) for item in own] for own in found.values()]),
            {"long_name": meaning},
        )
        for name, meaning in BESIDE.items()
    }
    coords = {"set": list(found), "prediction": names, **told}
    return xr.Dataset(variables, coords=coords, attrs={"level": level})


def _row(item: Verdict) -> tuple[str | float | int, ...]:
    sample = item.sample
    return (
        item.statement,
        item.verdict,
        item.effect,
        item.effect_low,
        item.effect_high,
        item.effect_meaning,
        *item.null,
        *item.span,
        sample.runs,
        sample.seeds,
        ", ".join(map(str, sample.batch_sizes)),
        "; ".join(item.assumptions),
        item.reason,
        item.needed,
        item.have,
        item.need,
        item.unit,
    )
