"""P3: large batches generalize as well as small ones when trained for as many updates."""

from dataclasses import dataclass, replace

from ultraslow.analysis.intervals import CONTRADICTED, SUPPORTED, UNDECIDABLE, Interval
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.scores import METRICS, once
from ultraslow.analysis.study import Sample, Study
from ultraslow.analysis.text import rounded

from .gaps import (
    TUNING_SEEDS,
    Gap,
    Setting,
    base_rate_epochs,
    equal_epochs,
    equal_updates,
    meaning,
    more_seeds,
    sample_of,
    setting,
    tuning_notes,
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
    joint = replace(given, level=1 - (1 - study.level) / len(given.larger))
    return _judge(blank, given, _gaps(given), _gaps(joint))


def without_scores(blank: Verdict, study: Study) -> Verdict | None:
    """The verdict on sets that cannot be compared: no evaluation, unlike runs, one batch size."""
    scored = study.scored
    if not scored.runs:
        reason = f"No run holds a held-out value ({' or '.join(METRICS)})."
        sample = Sample(len(once(study.runs)))
        needed = "runs recorded with an evaluation"
        return replace(blank, reason=reason, needed=needed, sample=sample)
    blank = replace(blank, sample=_unjudged(scored))
    if scored.unlike is not None:
        needed = "test the sets of equal runs apart"
        return replace(blank, reason=scored.unlike.reason, needed=needed)
    if len(scored.batch_sizes) < 2:
        also = " with held-out values" if len(study.batch_sizes) > 1 else ""
        reason = f"Only batch size {scored.batch_sizes[0]} was run{also}."
        needed = f"a second batch size, {TUNING_SEEDS} seeds and three learning rates or more"
        return replace(blank, reason=reason, needed=needed)
    return None


def too_few_seeds(blank: Verdict, study: Study) -> Verdict:
    """The verdict on sets whose smallest batch size has too few seeds."""
    base = study.scored.batch_sizes[0]
    return replace(
        blank,
        reason=f"No learning rate of batch size {base} has {TUNING_SEEDS} seeds with a held-out "
        "value at the end of equally long runs.",
        needed=f"{TUNING_SEEDS} seeds or more for each learning rate and batch size",
        sample=_unjudged(study.scored),
    )


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
        sample=sample_of(given, updates or epochs),
        assumptions=tuning_notes(updates or epochs),
    )
    staying = [g.updates for g in wide.values() if g.updates is not None and g.updates.stays]
    if staying:
        worst = max(staying, key=lambda gap: gap.contrast.low)
        reason = f"A gap of {worst} remains at equal updates, beyond {rounded(given.margin)}."
        return _decided(blank, CONTRADICTED, reason, worst, given)
    needless = [gaps for gaps in wide.values() if gaps.needless]
    if needless and needless[0].epochs is not None:
        return _needless(blank, needless[0].epochs, str(needless[0].base_rate), given)
    if not updates or not epochs:
        return _without_arm(blank, given, "updates" if not updates else "epochs")
    worst = max(updates, key=lambda gap: gap.contrast.high)
    gapped = [g.epochs for g in wide.values() if g.epochs is not None and g.epochs.stays]
    if all(gap.closed for gap in updates) and gapped:
        most = max(gapped, key=lambda gap: gap.contrast.low)
        reason = f"At equal epochs the gap is {most}, at equal updates at most {worst}."
        return _decided(blank, SUPPORTED, reason, worst, given)
    return _undecided(_decided(blank, UNDECIDABLE, "", worst, given), updates, epochs)


def _decided(blank: Verdict, word: str, reason: str, gap: Gap, given: Setting) -> Verdict:
    told = meaning(given, gap.batch_size, "equal updates")
    return blank.decided(word, gap.contrast, reason=reason, needed="", meaning=told)


def _needless(blank: Verdict, epochs: Gap, base_rate: str, given: Setting) -> Verdict:
    reason = (
        f"At equal epochs the gap is {base_rate} at the small batch's learning rate and {epochs} "
        "at the best one: it closes without more updates."
    )
    found = _decided(blank, CONTRADICTED, reason, epochs, given)
    return replace(found, effect_meaning=meaning(given, epochs.batch_size, "equal epochs"))


def _without_arm(blank: Verdict, given: Setting, missing: str) -> Verdict:
    reason = (
        f"No larger batch size was evaluated after as many {missing} as batch size {given.base} "
        f"({given.iterations} iterations) with {TUNING_SEEDS} seeds."
    )
    needed = (
        f"the arm of equal {missing}: runs of {TUNING_SEEDS} seeds at several learning rates that "
        f"end, or at a constant rate are evaluated, at iteration {given.iterations}"
    )
    if missing == "epochs":
        needed = (
            f"the arm of equal epochs: runs of {TUNING_SEEDS} seeds at several learning rates "
            "that end, or at a constant rate are evaluated, after "
            f"{given.iterations * given.base} samples"
        )
    return replace(blank, reason=reason, needed=needed)


def _undecided(blank: Verdict, updates: list[Gap], epochs: list[Gap]) -> Verdict:
    untuned = next((gap.untuned for gap in (*updates, *epochs) if gap.untuned), "")
    if untuned:
        needed = "three learning rates or more at each batch size, on both sides of the best one"
        return replace(blank, reason=untuned, needed=needed)
    worst = max(updates, key=lambda gap: gap.contrast.high)
    most = max(epochs, key=lambda gap: gap.contrast.high)
    if all(gap.contrast.high < gap.margin for gap in epochs):
        reason = f"There is no gap to close: at equal epochs it is at most {most}."
        return replace(blank, reason=reason, needed="larger batch sizes")
    reason = (
        f"The gap is {worst} at equal updates and {most} at equal epochs, where "
        f"{rounded(worst.margin)} decides."
    )
    return replace(blank, reason=reason, needed=more_seeds([*updates, *epochs]))
