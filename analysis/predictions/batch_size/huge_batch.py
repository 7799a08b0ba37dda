"""H-b: at huge batch sizes the distance is not logarithmic or not on the common curve."""

import math
from dataclasses import replace

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    decide,
)
from ultraslow.analysis.predictions.evidence import named
from ultraslow.analysis.predictions.generalization import HUGE_SHARE, huge_sizes
from ultraslow.analysis.predictions.growth.log_growth import log_growth
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import common_window, label, last_common_decade
from ultraslow.analysis.study import Missing, Study

from .scaled_sets import DECADES, MARGIN, Curves, log_curves, ratio_of

EFFECT = "ratio of distances, the huge batch size over the nearest other, last common decade"
# Under these rules the curves of all batch sizes are said to coincide per iteration.
SCALINGS = ("sqrt", "exact_sqrt")


def huge_batch(study: Study) -> Verdict:
    """Verdict on H-b.

    Supported when the distance at the largest M ≥ D/2 is not logarithmic (as P1 judges it) or lies
    beyond the margin from that of every smaller batch size, on one side of all of them.
    Contradicted when it is logarithmic and lies within the margin of every smaller batch size.
    Each of the two findings that support it has half of the error.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the ratio of the distance to that of the nearest other batch size.
    """
    scaled = study.distinct.where(lambda run: label(run, "scaling") in SCALINGS)
    kept = scaled.of_arms(SEEDS)
    blank = question("H-b", EFFECT)
    missing = _missing(study, scaled, kept)
    if missing is not None:
        return blank.lacking(missing, kept.sample)
    size = max(huge_sizes(kept.runs))
    growth = log_growth(kept.where(lambda run: int(run["batch_size"].values) == size))
    curves = log_curves(kept, last_common_decade(kept.runs)).mean()
    sharp = replace(curves, level=1 - (1 - study.level) / 2)
    blank = replace(blank, sample=kept.sample)
    return _judge(blank, growth, _ratios(sharp, size), _ratios(curves, size))


def _missing(study: Study, scaled: Study, kept: Study) -> Missing | None:
    """Why there is nothing to compare, and what would complete the set."""
    if not huge_sizes(study.runs):
        sized = any("data_size" in run for run in study.runs.values())
        what = "No batch size reaches" if sized else "No recording says how large the data are, so"
        rest = f"{HUGE_SHARE:.0%} of the training set" if sized else "no batch is known as huge"
        needed = "an arm at half of the training set or more" if sized else "`data_size`"
        return Missing(f"{what} {rest}.", f"{needed}, and {SEEDS} seeds an arm")
    if not huge_sizes(scaled.runs) or len(scaled.batch_sizes) < 2:
        return Missing(
            "No huge batch size was run beside others under the √M rule.",
            f"a huge and a smaller batch size with the rate scaled by √M, {SEEDS} seeds each",
        )
    if not huge_sizes(kept.runs) or len(kept.batch_sizes) < 2:
        return Missing(
            f"Fewer than two batch sizes, a huge one among them, have {SEEDS} seeds.",
            f"{SEEDS} seeds at each batch size",
        )
    return _unlike(kept)


def _unlike(kept: Study) -> Missing | None:
    if kept.unlike is not None:
        return replace(kept.unlike, needed="test the sets of equal runs apart")
    if len(kept.batch_sizes) < len(kept.arms):
        reason = "There are several learning rates at one batch size under the √M rule."
        return Missing(reason, "test the sets of one learning rate a batch size apart")
    first, last = common_window(kept.runs)
    if last < 10 * first or last < 10**DECADES:
        return Missing(
            f"The runs share a constant learning rate only from iteration {first} to {last}.",
            kept.longer(max(100, 10 * first)),
        )
    return None


def _ratios(curves: Curves, size: int) -> list[Interval]:
    """Of the huge batch size over each other."""
    huge = next(arm for arm in curves.logs if arm.batch_size == size)
    return [curves.ratio(huge, other) for other in curves.logs if other.batch_size < size]


def _judge(
    blank: Verdict, growth: Verdict, sharp: list[Interval], plain: list[Interval]
) -> Verdict:
    limit = math.log1p(MARGIN)
    off = [int(ratio.low > limit) - int(ratio.high < -limit) for ratio in sharp]
    apart = abs(sum(off)) == len(off)
    together = all(decide(ratio.low, ratio.high, limit) == SUPPORTED for ratio in plain)
    word = UNDECIDABLE
    if apart or growth.verdict == CONTRADICTED:
        word = SUPPORTED
    elif together and growth.verdict == SUPPORTED:
        word = CONTRADICTED
    nearest = min(plain, key=lambda ratio: abs(ratio.value))
    return blank.decided(
        word,
        nearest.mapped(math.exp),
        reason=_reason(growth, nearest, apart=apart, together=together),
        needed=_needed(growth, nearest, limit),
        assumptions=growth.assumptions,
    )


def _reason(growth: Verdict, nearest: Interval, *, apart: bool, together: bool) -> str:
    near = f"on the curve of the others within ±{MARGIN:.0%}"
    far = f"off the curve of the others by more than {MARGIN:.0%}"
    place = far if apart else near if together else f"neither surely {near} nor {far}"
    law = {
        SUPPORTED: "grows like log t",
        CONTRADICTED: "does not grow like log t",
        UNDECIDABLE: "may or may not grow like log t",
    }[growth.verdict]
    return (
        f"The distance {law} at the huge batch size ({growth.reason.rstrip('.')}); it is {place}, "
        f"the nearest ratio being {named(nearest, ratio_of)}."
    )


def _needed(growth: Verdict, nearest: Interval, limit: float) -> str:
    if growth.verdict == UNDECIDABLE and growth.needed:
        return growth.needed
    half, away = (nearest.high - nearest.low) / 2, abs(limit - abs(nearest.value))
    more = SEEDS * max((half / away) ** 2, 1.0) if away > 0 else math.inf
    if more > 1000:
        return "hardly more seeds: a ratio lies at the margin itself"
    return f"about {math.ceil(round(more, 6))} seeds a batch size"
