"""P3: large batches generalize as well as small ones when trained for as many updates."""

from dataclasses import dataclass, replace

import xarray as xr

from ultraslow.analysis.intervals import CONTRADICTED, SUPPORTED, UNDECIDABLE, Interval
from ultraslow.analysis.predictions.evidence import differing
from ultraslow.analysis.predictions.verdict import Sample, Verdict
from ultraslow.analysis.runs import differences, injected_noise
from ultraslow.analysis.scores import METRICS, has, metric_of, once
from ultraslow.analysis.text import rounded
from ultraslow.diffusion.predictions import PREDICTIONS

from .gaps import (
    SEEDS,
    Gap,
    Setting,
    base_rate_epochs,
    equal_epochs,
    equal_updates,
    meaning,
    more_seeds,
    sample,
    setting,
    tuning_notes,
)
from .gaps import batch_sizes as sizes_of

PREDICTION = "P3"
STATEMENT = PREDICTIONS[PREDICTION].statement
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


def generalization(runs: dict[str, xr.Dataset], *, level: float = 0.95) -> Verdict:
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
        runs: recordings by node name.
        level: confidence level.

    Returns:
        The verdict, with the gap it hangs on.
    """
    missing = missing_arm(PREDICTION, STATEMENT, EFFECT, runs)
    if missing is not None:
        return missing
    given = setting(with_metric(runs))
    if given is None:
        return too_few_seeds(PREDICTION, STATEMENT, EFFECT, runs)
    # Several batch sizes may each contradict the claim for all; their errors are shared out.
    joint = 1 - (1 - level) / len(given.larger)
    found = {size: _gaps(given, size, level=level) for size in given.larger}
    wide = {size: _gaps(given, size, level=joint) for size in given.larger}
    return _judge(given, found, wide)


def with_metric(runs: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """The runs that evaluated the metric to compare by, copies once.

    Diverged runs have no finite value and are kept. Noise that was added to gradients changes what
    a batch size scores; such runs are left out.
    """
    plain = {name: run for name, run in runs.items() if injected_noise(run) == 0}
    metric = metric_of(plain.values())
    return once({name: run for name, run in plain.items() if metric and has(run, metric)})


def missing_arm(
    prediction: str, statement: str, effect: str, runs: dict[str, xr.Dataset]
) -> Verdict | None:
    """The verdict on sets that cannot be compared: no evaluation, unlike runs, one batch size."""
    sizes = sizes_of(runs)
    blank = Verdict(prediction, statement, UNDECIDABLE, "", effect, sample=Sample(len(once(runs))))
    evaluated = with_metric(runs)
    if not evaluated:
        reason = f"No run holds a held-out value ({' or '.join(METRICS)})."
        return replace(blank, reason=reason, needed="runs recorded with an evaluation")
    blank = replace(blank, sample=Sample(len(evaluated), 0, sizes_of(evaluated)))
    unlike = differences(evaluated.values())
    if unlike:
        return replace(blank, reason=differing(unlike), needed="test the sets of equal runs apart")
    if len(sizes_of(evaluated)) < 2:
        also = " with held-out values" if len(sizes) > 1 else ""
        reason = f"Only batch size {sizes_of(evaluated)[0]} was run{also}."
        needed = f"a second batch size, {SEEDS} seeds and three learning rates or more"
        return replace(blank, reason=reason, needed=needed)
    return None


def too_few_seeds(
    prediction: str, statement: str, effect: str, runs: dict[str, xr.Dataset]
) -> Verdict:
    """The verdict on sets whose smallest batch size has too few seeds."""
    kept = with_metric(runs)
    base = sizes_of(kept)[0]
    return Verdict(
        prediction,
        statement,
        UNDECIDABLE,
        f"No learning rate of batch size {base} has {SEEDS} seeds with a held-out value at the "
        "end of equally long runs.",
        effect,
        sample=Sample(len(kept), 0, sizes_of(kept)),
        needed=f"{SEEDS} seeds or more for each learning rate and batch size",
    )


def _gaps(given: Setting, size: int, *, level: float) -> Gaps:
    return Gaps(
        equal_updates(given, size, level=level),
        equal_epochs(given, size, level=level),
        base_rate_epochs(given, size, level=level),
    )


def _judge(given: Setting, found: dict[int, Gaps], wide: dict[int, Gaps]) -> Verdict:
    updates = [gaps.updates for gaps in found.values() if gaps.updates is not None]
    epochs = [gaps.epochs for gaps in found.values() if gaps.epochs is not None]
    blank = Verdict(
        PREDICTION,
        STATEMENT,
        UNDECIDABLE,
        "",
        EFFECT,
        sample=sample(given, updates or epochs),
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
    return replace(
        blank,
        verdict=word,
        reason=reason,
        effect_meaning=meaning(given, gap.batch_size, "equal updates"),
        effect=gap.contrast.value,
        effect_low=gap.contrast.low,
        effect_high=gap.contrast.high,
    )


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
        f"({given.iterations} iterations) with {SEEDS} seeds."
    )
    needed = (
        f"the arm of equal {missing}: runs of {SEEDS} seeds at several learning rates that end, "
        f"or at a constant rate are evaluated, at iteration {given.iterations}"
    )
    if missing == "epochs":
        needed = (
            f"the arm of equal epochs: runs of {SEEDS} seeds at several learning rates that end, "
            f"or at a constant rate are evaluated, after {given.iterations * given.base} samples"
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
