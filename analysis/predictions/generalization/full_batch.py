"""H-a: towards the full batch, equal updates do not reach the score of small batches."""

import math
from collections.abc import Mapping
from dataclasses import replace

import xarray as xr

from ultraslow.analysis.intervals import CONTRADICTED, SUPPORTED, UNDECIDABLE
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import label
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import number

from .equal_updates import too_few_seeds, without_scores
from .gaps import (
    TUNING_SEEDS,
    Gap,
    Setting,
    chance_below,
    chance_beyond,
    equal_updates,
    meaning,
    sample_of,
    seeds_or_else,
    setting,
    tuning_notes,
)

EFFECT = "held-out score of the smallest batch size less that of the largest, equal updates"
# Drawn without replacement, a batch of half the data has half the noise it would have with it:
# the factor 1 − M/D of its covariance. From there on a batch counts as near the full one.
HUGE_SHARE = 0.5
# Of the updates of the smallest batch size: what holds before says little of the end.
SHORTEST = 0.1


def full_batch(study: Study) -> Verdict:
    """Verdict on H-a.

    With the gap Δ = score(smallest batch size) − score(M) at equal updates, both tuned: supported
    when Δ lies beyond the margin for the largest M ≥ D/2, contradicted when it lies below. They
    are compared where the longest trainings of the smallest batch size end; where M was not
    trained for so long, after as many updates as both have made at a constant rate.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the gap of the largest batch size; gaps of the others are among the
        assumptions.
    """
    blank = question("H-a", EFFECT)
    missing = without_scores(blank, study, full=True)
    if missing is not None:
        return missing
    kept = study.scored
    given = setting(kept)
    if given is None:
        return too_few_seeds(blank, study)
    huge = sorted(huge_sizes(kept.runs))
    if not huge or huge[-1] == given.base:
        return blank.lacking(_no_huge_batch(kept.runs), sample_of(given, []))
    given = common_length(given, huge[-1])
    gaps = [equal_updates(given, size) for size in given.larger]
    known = [gap for gap in gaps if gap is not None]
    if not known or known[-1].batch_size not in huge:
        return blank.lacking(_no_equal_updates(given, huge[-1]), sample_of(given, []))
    largest = known[-1]
    word = SUPPORTED if largest.stays else CONTRADICTED if largest.closed else UNDECIDABLE
    open_ = _needed(largest, given)
    after = f"After as many updates ({number(given.iterations)})"
    reason = f"{after} {given.told(largest)}, {given.equal}."
    if largest.untuned:
        reason = f"{reason} {open_.reason}"
    return blank.decided(
        word,
        largest.contrast,
        reason=reason,
        needed=open_.needed,
        meaning=meaning(given, largest.batch_size, "equal updates"),
        sample=sample_of(given, known),
        assumptions=(*tuning_notes(known), _ladder(known)),
        null=(given.margin, math.inf),
        span=given.end,
        have=open_.have,
        need=open_.need,
        unit=open_.unit,
    )


def common_length(given: Setting, size: int) -> Setting:
    """The setting at the most updates after which both batch sizes were scored.

    Lengths at which lower and higher rates than the best were tried at both come first, whatever
    the scores say; others are taken where there is none.

    Arguments:
        given: the setting at the end of the smallest batch size.
        size: the other batch size, M.

    Returns:
        The setting at the longest such training, of `SHORTEST` of the whole or more; the given one
        where there is none.
    """
    if given.tuned(size, given.iterations) is not None:
        return given
    ends = {int(at) for one in given.trainings if one.batch_size == size for at in one.iteration}
    fewer = [at for at in ends if SHORTEST * given.iterations <= at < given.iterations]
    pairs = {at: (given.tuned(given.base, at), given.tuned(size, at)) for at in sorted(fewer)}
    known = {at: [one for one in pair if one] for at, pair in pairs.items() if all(pair)}
    enclosed = [at for at, pair in known.items() if all(one.enclosed for one in pair)]
    length = max(enclosed or known, default=given.iterations)
    return replace(given, iterations=length)


def huge_sizes(runs: Mapping[str, xr.Dataset]) -> set[int]:
    """Batch sizes of at least half the training set, M ≥ D/2.

    Arguments:
        runs: recordings; those without `data_size` count as small.

    Returns:
        The sizes, samples.
    """
    pairs = [(int(run.variables["batch_size"].values), _data_size(run)) for run in runs.values()]
    return {size for size, whole in pairs if whole > 0 and size >= HUGE_SHARE * whole}


def _data_size(run: xr.Dataset) -> float:
    return float(str(label(run, "data_size", 0)))


def _no_huge_batch(runs: Mapping[str, xr.Dataset]) -> Missing:
    known = {_data_size(run) for run in runs.values()} - {0.0}
    if not known:
        reason = (
            "The size of the training set was not recorded, so that no batch is known as huge."
        )
        return Missing(reason, "recordings with `data_size`")
    whole = int(max(known))
    reason = f"No batch size reaches half of the training set of {number(whole)} samples."
    return Missing(reason, f"the full batch: an arm at batch size {number(whole)}")


def _no_equal_updates(given: Setting, size: int) -> Missing:
    reason = (
        f"Batch size {size} was not trained for as many updates as batch size {given.base} "
        f"({number(given.iterations)}) with {TUNING_SEEDS} seeds."
    )
    needed = (
        f"{TUNING_SEEDS} seeds at several learning rates at batch size {size} that end at "
        f"iteration {number(given.iterations)}"
    )
    return Missing(reason, needed)


def _needed(gap: Gap, given: Setting) -> Missing:
    """What would decide it: rates beyond those tried, or seeds."""
    if gap.untuned is not None:
        return gap.untuned

    def chance(seeds: int) -> float:
        both = (chance_beyond, chance_below)
        return sum(one(gap, seeds, level=given.level) for one in both)

    longer = f"runs of {number(10 * given.iterations)} iterations at every batch size"
    needed, have, need = seeds_or_else([gap], chance, longer)
    return Missing("", needed, have, need, "seeds" if math.isfinite(need) else "")


def _ladder(gaps: list[Gap]) -> str:
    return "gaps by batch size: " + ", ".join(f"{g.batch_size}: {g.contrast}" for g in gaps)
