"""P3: large batches generalize as well as small ones when trained for as many updates."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ultraslow.analysis.intervals import CONTRADICTED, SUPPORTED, UNDECIDABLE, Interval
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.scores import METRICS, once
from ultraslow.analysis.study import Missing, Sample, Study
from ultraslow.analysis.text import number

from .gaps import (
    TUNING_SEEDS,
    Gap,
    Setting,
    base_rate_epochs,
    chance_below,
    chance_beyond,
    equal_epochs,
    equal_updates,
    meaning,
    most_seeds,
    sample_of,
    seeds_or_else,
    setting,
    training_set,
    tuning_notes,
    without_value,
)

EFFECT = "held-out score of the smallest batch size less that of a larger one, equal updates"


@dataclass(frozen=True)
class Gaps:
    """The gaps of one batch size; None where the runs for it are missing.

    Attributes:
        updates: at equal updates.
        epochs: at equal epochs.
        base_rate: at equal epochs with the learning rate of the smallest batch size.
    """

    updates: Gap | None
    epochs: Gap | None
    base_rate: Interval | None

    @property
    def needless(self) -> bool:
        """Whether a gap at equal epochs closes by tuning alone, without more updates."""
        if self.epochs is None or self.base_rate is None:
            return False
        return self.epochs.closed and self.base_rate.low > self.epochs.margin


def generalization(study: Study) -> Verdict:
    """Verdict on P3.

    With the gap Δ = score(smallest batch size) − score(M), both at learning rates chosen by other
    seeds: supported when Δ lies below the margin at equal updates for every M and beyond it at
    equal epochs for some M. Contradicted when Δ lies beyond the margin at equal updates for some
    M, or when at equal epochs it lies beyond it at the small batch's rate and below it at the best
    one. A gap counts only if rates on both sides of the best one were tried where more tuning
    could undo it.

    References:
        Hoffer, Hubara and Soudry (2017), arXiv 1705.08741: the claim.
        Shallue et al. (2019), Journal of Machine Learning Research 20, 112: why both must be
        tuned.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the gap it hangs on.
    """
    blank = question("P3", EFFECT)
    missing = without_scores(blank, study)
    if missing is not None:
        return missing
    given = setting(study.scored)
    if given is None:
        return too_few_seeds(blank, study)
    # Several batch sizes may each contradict the claim for all; their errors are shared out.
    wide = replace(given, level=_joint(given))
    return _judge(blank, given, _gaps(given), _gaps(wide))


def without_scores(blank: Verdict, study: Study, *, full: bool = False) -> Verdict | None:
    """The verdict on sets that cannot be compared: no evaluation, unlike runs, one batch size.

    Arguments:
        blank: the verdict so far.
        study: the runs.
        full: whether the other batch size has to be the whole training set.
    """
    scored = study.scored
    if not scored.runs:
        reason = f"No run holds a held-out value ({' or '.join(METRICS)})."
        missing = Missing(reason, "runs recorded with an evaluation")
        return blank.lacking(missing, Sample(len(once(study.runs))))
    if scored.unlike is not None:
        return blank.lacking(scored.unlike, _unjudged(scored))
    if len(scored.batch_sizes) < 2:
        also = " with held-out values" if len(study.batch_sizes) > 1 else ""
        (only,) = scored.batch_sizes
        missing = Missing(
            f"Only batch size {only} was run{also}.",
            f"{_another_size(scored, only, full=full)} as well, {TUNING_SEEDS} seeds at three "
            "learning rates each",
            1,
            2,
            "batch sizes",
        )
        return blank.lacking(missing, _unjudged(scored))
    return None


def _another_size(scored: Study, only: int, *, full: bool) -> str:
    """A batch size to compare the only one with; none is larger than the training set."""
    whole = training_set(scored)
    if 1 < whole <= only:
        told = f"none is larger than the {number(whole)} training samples"
        return f"batch size {max(only // 4, 1)} ({told})"
    if not full:
        return f"batch size {min(4 * only, whole or 4 * only)}"
    if not whole:
        return "the full batch, with `data_size`"
    return f"the full batch of {number(whole)} samples"


def too_few_seeds(blank: Verdict, study: Study) -> Verdict:
    """The verdict on sets whose smallest batch size has too few seeds."""
    scored = study.scored
    base = scored.batch_sizes[0]
    most = most_seeds(scored, base)
    missing = Missing(
        f"No learning rate of batch size {base} has {TUNING_SEEDS} seeds with a held-out value at "
        f"the end of equally long runs (at most {most}).{without_value(scored)}",
        f"{TUNING_SEEDS} seeds at each learning rate and batch size",
        most,
        TUNING_SEEDS,
        "seeds",
    )
    return blank.lacking(missing, _unjudged(scored))


def _unjudged(scored: Study) -> Sample:
    """The sample where no seeds were counted."""
    return Sample(len(scored.runs), 0, scored.batch_sizes)


def _gaps(given: Setting) -> dict[int, Gaps]:
    """The gaps of each larger batch size."""
    return {
        size: Gaps(
            equal_updates(given, size), equal_epochs(given, size), base_rate_epochs(given, size)
        )
        for size in given.larger
    }


def _judge(
    blank: Verdict, given: Setting, found: dict[int, Gaps], wide: dict[int, Gaps]
) -> Verdict:
    updates = [gaps.updates for gaps in found.values() if gaps.updates is not None]
    epochs = [gaps.epochs for gaps in found.values() if gaps.epochs is not None]
    blank = replace(
        blank,
        null=(-math.inf, given.margin),
        span=given.end,
        sample=sample_of(given, updates or epochs),
        assumptions=tuning_notes(updates or epochs),
    )
    after = f"After as many updates ({number(given.iterations)})"
    staying = [g.updates for g in wide.values() if g.updates is not None and g.updates.stays]
    if staying:
        worst = max(staying, key=lambda gap: gap.contrast.low)
        reason = f"{after} {given.told(worst)}, {given.equal}."
        return _at_joint(_decided(blank, CONTRADICTED, reason, worst, given), given)
    needless = [gaps for gaps in wide.values() if gaps.needless]
    if needless and needless[0].epochs is not None:
        told = _needless(blank, needless[0].epochs, str(needless[0].base_rate), given)
        return _at_joint(told, given)
    if not updates or not epochs:
        missing = _without_arm(given, "updates" if not updates else "samples")
        return blank.lacking(missing, blank.sample)
    worst = max(updates, key=lambda gap: gap.contrast.high)
    gapped = [g.epochs for g in wide.values() if g.epochs is not None and g.epochs.stays]
    if all(gap.closed for gap in updates) and gapped:
        most = max(gapped, key=lambda gap: gap.contrast.low)
        reason = (
            f"After as many samples {given.told(most)}; {after[:1].lower()}{after[1:]} "
            f"{given.told(worst)}, {given.equal}."
        )
        return _decided(blank, SUPPORTED, reason, worst, given)
    open_ = _decided(blank, UNDECIDABLE, "", worst, given)
    return _undecided(open_, given, updates, epochs, wide)


def _decided(blank: Verdict, word: str, reason: str, gap: Gap, given: Setting) -> Verdict:
    told = meaning(given, gap.batch_size, "equal updates")
    return blank.decided(word, gap.contrast, reason=reason, needed="", meaning=told)


def _at_joint(verdict: Verdict, given: Setting) -> Verdict:
    """A verdict whose interval shares the error among all larger batch sizes."""
    return replace(verdict, effect_level=_joint(given))


def _joint(given: Setting) -> float:
    return 1 - (1 - given.level) / len(given.larger)


def _needless(blank: Verdict, epochs: Gap, base_rate: str, given: Setting) -> Verdict:
    reason = (
        f"After as many samples batch size {epochs.batch_size} scores {base_rate} lower than "
        f"batch size {given.base} at the learning rate of the latter, and {epochs.contrast} lower "
        f"at its own best one, {given.equal}: the gap closes without more updates."
    )
    found = _decided(blank, CONTRADICTED, reason, epochs, given)
    return replace(found, effect_meaning=meaning(given, epochs.batch_size, "equal epochs"))


def _without_arm(given: Setting, missing: str) -> Missing:
    """That no larger batch size was trained for as many updates, or samples, and for how long."""
    updates = missing == "updates"
    length = given.iterations if updates else given.iterations * given.base
    alike = "" if updates else f" ({number(length)})"
    end = f"at iteration {number(length)}" if updates else f"after {number(length)} samples"
    return Missing(
        f"No larger batch size was evaluated after as many {missing}{alike} as batch size "
        f"{given.base} saw in {number(given.iterations)} iterations, with {TUNING_SEEDS} seeds.",
        f"{TUNING_SEEDS} seeds at three learning rates of a larger batch size that end {end}, or "
        "are evaluated there at a constant rate",
    )


def _undecided(
    blank: Verdict,
    given: Setting,
    updates: list[Gap],
    epochs: list[Gap],
    wide: Mapping[int, Gaps],
) -> Verdict:
    untuned = next((gap.untuned for gap in (*updates, *epochs) if gap.untuned), None)
    if untuned is not None:
        return blank.lacking(untuned, blank.sample)
    worst = max(updates, key=lambda gap: gap.contrast.high)
    most = max(epochs, key=lambda gap: gap.contrast.high)
    largest, whole = given.larger[-1], given.whole
    larger = (
        f"runs of {number(10 * given.iterations)} iterations at every batch size"
        if 0 < whole <= largest
        else f"batch size {min(4 * largest, whole or 4 * largest)}, {TUNING_SEEDS} seeds at three "
        "learning rates"
    )
    if all(gap.contrast.high < gap.margin for gap in epochs):
        reason = f"There is no gap to close: after as many samples {given.told(most)}."
        return replace(blank, reason=reason, needed=larger)
    reason = (
        f"After as many updates ({number(given.iterations)}) {given.told(worst)}, and after as "
        f"many samples {given.told(most)}, {given.equal}."
    )
    chance = partial(_chance, given, updates, wide)
    needed, have, need = seeds_or_else([*updates, *epochs], chance, larger)
    unit = "seeds" if math.isfinite(need) else ""
    return replace(blank, reason=reason, needed=needed, have=have, need=need, unit=unit)


def _chance(given: Setting, updates: Sequence[Gap], wide: Mapping[int, Gaps], seeds: int) -> float:
    """Chance that so many seeds decide: a gap that stays, or all closed beside one that was."""
    joint = _joint(given)
    shared = [gaps.updates for gaps in wide.values() if gaps.updates is not None]
    stays = max((chance_beyond(gap, seeds, level=joint) for gap in shared), default=0.0)
    there = [gaps.epochs for gaps in wide.values() if gaps.epochs is not None]
    opened = max((chance_beyond(gap, seeds, level=joint) for gap in there), default=0.0)
    closed = min(chance_below(gap, seeds, level=given.level) for gap in updates)
    return opened * closed + stays
