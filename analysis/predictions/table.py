"""Predictions against recordings: one verdict a prediction."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ultraslow.analysis.predictions.batch_size import collapse_in_rate
from ultraslow.analysis.predictions.batch_size.collapse import collapse
from ultraslow.analysis.predictions.batch_size.huge_batch import huge_batch
from ultraslow.analysis.predictions.generalization import generalization
from ultraslow.analysis.predictions.generalization.full_batch import full_batch
from ultraslow.analysis.predictions.generalization.less_distance import less_distance
from ultraslow.analysis.predictions.growth.aging import aging
from ultraslow.analysis.predictions.growth.log_growth import log_growth
from ultraslow.analysis.predictions.growth.noise_off import noise_off
from ultraslow.analysis.predictions.growth.straightness import straightness
from ultraslow.analysis.predictions.landscape import activation, closed_loop, landscape_growth
from ultraslow.analysis.predictions.landscape.barriers import barriers
from ultraslow.analysis.predictions.landscape.closure import closure
from ultraslow.analysis.runs import some_recordings
from ultraslow.analysis.study import of_one_study

from .evidence import repeated
from .verdict import Verdict

# Names and meanings of the columns, in the order of `_row`.
COLUMNS = {
    "statement": "what the prediction claims",
    "verdict": "supported, contradicted or undecidable",
    "effect": "estimated effect size",
    "effect_low": "lower end of the effect's interval",
    "effect_high": "upper end of the effect's interval",
    "effect_meaning": "what the effect is",
    "runs": "runs that entered",
    "seeds": "fewest seeds in an arm",
    "batch_sizes": "batch sizes that entered",
    "assumptions": "conditions that were checked",
    "reason": "why this verdict",
    "needed": "what would decide it",
}


def test(runs: xr.DataTree, *, level: float = 0.95, fits: xr.Dataset | None = None) -> xr.Dataset:
    """Verdicts on the predictions about how the distance grows.

    Arguments:
        runs: recordings, as `load` gives them.
        level: confidence level of the intervals.
        fits: `growth.fit_totals` of these runs at this level, when it is at hand.

    Returns:
        A Dataset along `prediction` with the variables of `COLUMNS`; its attribute `note` names
        recordings that were counted once, or left out: of another weight decay than most have, or
        of a ladder's rungs above its baseline.

    Raises:
        ValueError: when there are no recordings.
    """
    known, left_out = of_one_study(some_recordings(runs))
    found = as_dataset(verdicts(known, level=level, fits=fits), level=level)
    return found.assign_attrs(note=" ".join(filter(None, [left_out, repeated(known)])))


# pytest would collect a function of this name wherever a test module imports it.
test.__test__ = False  # type: ignore[attr-defined]


def verdicts(
    runs: dict[str, xr.Dataset], *, level: float = 0.95, fits: xr.Dataset | None = None
) -> tuple[Verdict, ...]:
    """Verdicts on the predictions as plain values.

    Arguments:
        runs: recordings by node name.
        level: confidence level of the intervals.
        fits: `growth.fit_totals` of these runs at this level, when it is at hand.

    Returns:
        One verdict a prediction, in the order of their numbers.
    """
    return (
        log_growth(runs, fits, level=level),
        closed_loop(runs, level=level),
        collapse(runs, level=level),
        collapse_in_rate(runs, level=level),
        generalization(runs, level=level),
        landscape_growth(runs, level=level),
        activation(runs, level=level),
        noise_off(runs, level=level),
        barriers(runs, level=level),
        aging(runs, level=level),
        straightness(runs, level=level),
        closure(runs, level=level),
        full_batch(runs, level=level),
        huge_batch(runs, fits, level=level),
        less_distance(runs, level=level),
    )


def as_dataset(found: Sequence[Verdict], *, level: float) -> xr.Dataset:
    """Verdicts as a table.

    Arguments:
        found: the verdicts.
        level: confidence level of their intervals.

    Returns:
        A Dataset along `prediction` with the variables of `COLUMNS`.
    """
    columns = zip(*(_row(item) for item in found), strict=True)
    variables = {
        name: ("prediction", np.asarray(values), {"long_name": meaning})
        for (name, meaning), values in zip(COLUMNS.items(), columns, strict=True)
    }
    names = [item.prediction for item in found]
    return xr.Dataset(variables, coords={"prediction": names}, attrs={"level": level})


def _row(item: Verdict) -> tuple[str | float | int, ...]:
    sample = item.sample
    return (
        item.statement,
        item.verdict,
        item.effect,
        item.effect_low,
        item.effect_high,
        item.effect_meaning,
        sample.runs,
        sample.seeds,
        ", ".join(map(str, sample.batch_sizes)),
        "; ".join(item.assumptions),
        item.reason,
        item.needed,
    )
