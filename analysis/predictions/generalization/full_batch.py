"""H-a: towards the full batch, equal updates do not reach the score of small batches."""

from dataclasses import replace

import xarray as xr

from ultraslow.analysis.intervals import CONTRADICTED, SUPPORTED, UNDECIDABLE
from ultraslow.analysis.predictions.verdict import Verdict
from ultraslow.analysis.runs import label
from ultraslow.analysis.text import rounded
from ultraslow.diffusion.predictions import PREDICTIONS

from .equal_updates import missing_arm, too_few_seeds, with_metric
from .gaps import SEEDS, Gap, Setting, equal_updates, meaning, more_seeds, sample, tuning_notes
from .gaps import setting as gap_setting

PREDICTION = "H-a"
STATEMENT = PREDICTIONS[PREDICTION].statement
EFFECT = "held-out score of the smallest batch size less that of the largest, equal updates"
# Drawn without replacement, a batch of half the data has half the noise it would have with it:
# the factor 1 − M/D of its covariance. From there on a batch counts as near the full one.
HUGE_SHARE = 0.5


def full_batch(runs: dict[str, xr.Dataset], *, level: float = 0.95) -> Verdict:
    """Verdict on H-a.

    With the gap Δ = score(smallest batch size) − score(M) at equal updates, both tuned: supported
    when Δ lies beyond the margin for the largest M ≥ D/2, contradicted when it lies below.

    Arguments:
        runs: recordings by node name.
        level: confidence level.

    Returns:
        The verdict, with the gap of the largest batch size; gaps of the others are among the
        assumptions.
    """
    missing = missing_arm(PREDICTION, STATEMENT, EFFECT, runs)
    if missing is not None:
        return missing
    kept = with_metric(runs)
    given = gap_setting(kept)
    if given is None:
        return too_few_seeds(PREDICTION, STATEMENT, EFFECT, runs)
    blank = Verdict(PREDICTION, STATEMENT, UNDECIDABLE, "", EFFECT, sample=sample(given, []))
    huge = sorted(huge_sizes(kept))
    if not huge or huge[-1] == given.base:
        reason, needed = _no_huge_batch(kept)
        return replace(blank, reason=reason, needed=needed)
    gaps = [equal_updates(given, size, level=level) for size in given.larger]
    known = [gap for gap in gaps if gap is not None]
    if not known or known[-1].batch_size not in huge:
        reason, needed = _no_equal_updates(given, huge[-1])
        return replace(blank, reason=reason, needed=needed)
    return _judge(given, known)


def huge_sizes(runs: dict[str, xr.Dataset]) -> set[int]:
    """Batch sizes of at least half the training set, M ≥ D/2.

    Arguments:
        runs: recordings; those without `data_size` count as small.

    Returns:
        The sizes, samples.
    """
    pairs = [(int(run["batch_size"].values), _data_size(run)) for run in runs.values()]
    return {size for size, whole in pairs if whole > 0 and size >= HUGE_SHARE * whole}


def _data_size(run: xr.Dataset) -> float:
    return float(str(label(run, "data_size", 0)))


def _no_huge_batch(runs: dict[str, xr.Dataset]) -> tuple[str, str]:
    known = {_data_size(run) for run in runs.values()} - {0.0}
    if not known:
        reason = (
            "The size of the training set was not recorded, so that no batch is known as huge."
        )
        return reason, "recordings with `data_size`"
    whole = int(max(known))
    reason = f"No batch size reaches half of the training set of {whole} samples."
    return reason, f"the full batch: an arm at batch size {whole}"


def _no_equal_updates(given: Setting, size: int) -> tuple[str, str]:
    reason = (
        f"Batch size {size} was not trained for as many updates as batch size {given.base} "
        f"({given.iterations}) with {SEEDS} seeds."
    )
    needed = (
        f"{SEEDS} seeds at several learning rates at batch size {size} that end at iteration "
        f"{given.iterations}"
    )
    return reason, needed


def _judge(given: Setting, gaps: list[Gap]) -> Verdict:
    largest = gaps[-1]
    word = SUPPORTED if largest.stays else CONTRADICTED if largest.closed else UNDECIDABLE
    return Verdict(
        PREDICTION,
        STATEMENT,
        word,
        _reason(word, largest),
        meaning(given, largest.batch_size, "equal updates"),
        *(largest.contrast.value, largest.contrast.low, largest.contrast.high),
        sample=sample(given, gaps),
        assumptions=(*tuning_notes(gaps), _ladder(gaps)),
        needed=_needed(largest) if word == UNDECIDABLE else "",
    )


def _reason(word: str, gap: Gap) -> str:
    found = f"At equal updates the gap is {gap}"
    if word == SUPPORTED:
        return f"{found}, beyond {rounded(gap.margin)}."
    if word == CONTRADICTED:
        return f"{found}, below {rounded(gap.margin)}."
    return f"{found}. {gap.untuned}" if gap.untuned else f"{found}; {rounded(gap.margin)} decides."


def _needed(gap: Gap) -> str:
    if gap.untuned:
        return "three learning rates or more at each batch size, on both sides of the best one"
    return more_seeds([gap])


def _ladder(gaps: list[Gap]) -> str:
    return "gaps by batch size: " + ", ".join(f"{g.batch_size}: {g.contrast}" for g in gaps)
