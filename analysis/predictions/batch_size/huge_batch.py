"""H-b: at huge batch sizes the distance is not logarithmic or not on the common curve."""

import math
from dataclasses import replace

import xarray as xr

from ultraslow.analysis.intervals import CONTRADICTED, SUPPORTED, UNDECIDABLE, decide
from ultraslow.analysis.predictions.evidence import differing
from ultraslow.analysis.predictions.generalization import HUGE_SHARE, batch_sizes, huge_sizes
from ultraslow.analysis.predictions.growth.log_growth import log_growth
from ultraslow.analysis.predictions.verdict import Sample, Verdict
from ultraslow.analysis.runs import Arm, differences, label, one_per_seed, seeds
from ultraslow.analysis.runs.arms import arms
from ultraslow.diffusion.predictions import PREDICTIONS

from .distance_ratio import Ratio, common_window, last_common_decade, log_curves, log_ratio, means

PREDICTION = "H-b"
STATEMENT = PREDICTIONS[PREDICTION].statement
EFFECT = "ratio of distances, the huge batch size over the nearest other, last common decade"
MARGIN = 0.10
SEEDS = 4
DECADES = 2.0
# Under these rules the curves of all batch sizes are said to coincide per iteration.
SCALINGS = ("sqrt", "exact_sqrt")


def huge_batch(
    runs: dict[str, xr.Dataset],
    fits: xr.Dataset | None = None,
    *,
    level: float = 0.95,
    margin: float = MARGIN,
) -> Verdict:
    """Verdict on H-b.

    Supported when the distance at the largest M ≥ D/2 is not logarithmic (as P1 judges it) or lies
    beyond the margin from that of every smaller batch size, on one side of all of them.
    Contradicted when it is logarithmic and lies within the margin of every smaller batch size.
    Each of the two findings that support it has half of the error.

    Arguments:
        runs: recordings by node name.
        fits: `growth.fit_totals(runs, level=level)`, when it is at hand.
        level: confidence level.
        margin: largest relative difference of distances that counts as none.

    Returns:
        The verdict, with the ratio of the distance to that of the nearest other batch size.
    """
    scaled = {name: run for name, run in one_per_seed(runs).items() if _scaled(run)}
    kept = _with_seeds(scaled)
    blank = Verdict(PREDICTION, STATEMENT, UNDECIDABLE, "", EFFECT, sample=_sample(kept))
    missing = _missing(runs, scaled, kept)
    if missing is not None:
        return replace(blank, reason=missing[0], needed=missing[1])
    half = 1 - (1 - level) / 2
    size = max(huge_sizes(kept))
    own = {name: run for name, run in kept.items() if int(run["batch_size"].values) == size}
    growth = log_growth(own, fits, level=level)
    sharp, plain = (_ratios(kept, size, level=item) for item in (half, level))
    return _judge(blank, growth, sharp, plain, margin=margin)


def _scaled(run: xr.Dataset) -> bool:
    return label(run, "scaling") in SCALINGS


def _with_seeds(runs: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    groups = arms(runs).values()
    kept = [n for names in groups if seeds([runs[n] for n in names]) >= SEEDS for n in names]
    return {name: runs[name] for name in kept}


def _missing(
    runs: dict[str, xr.Dataset], scaled: dict[str, xr.Dataset], kept: dict[str, xr.Dataset]
) -> tuple[str, str] | None:
    """Why there is nothing to compare, and what would complete the set."""
    if not huge_sizes(runs):
        sized = any("data_size" in run for run in runs.values())
        what = "No batch size reaches" if sized else "No recording says how large the data are, so"
        rest = f"{HUGE_SHARE:.0%} of the training set" if sized else "no batch is known as huge"
        needed = "an arm at half of the training set or more" if sized else "`data_size`"
        return f"{what} {rest}.", f"{needed}, and {SEEDS} seeds an arm"
    if not huge_sizes(scaled) or len(batch_sizes(scaled)) < 2:
        return (
            "No huge batch size was run beside others under the √M rule.",
            f"a huge and a smaller batch size with the rate scaled by √M, {SEEDS} seeds each",
        )
    if not huge_sizes(kept) or len(batch_sizes(kept)) < 2:
        return (
            f"Fewer than two batch sizes, a huge one among them, have {SEEDS} seeds.",
            f"{SEEDS} seeds at each batch size",
        )
    return _unlike(kept)


def _unlike(kept: dict[str, xr.Dataset]) -> tuple[str, str] | None:
    unlike = differences(kept.values())
    if unlike:
        return differing(unlike), "test the sets of equal runs apart"
    if len(batch_sizes(kept)) < len(arms(kept)):
        reason = "There are several learning rates at one batch size under the √M rule."
        return reason, "test the sets of one learning rate a batch size apart"
    first, last = common_window(kept)
    if last < 10 * first or last < 10**DECADES:
        return (
            f"The runs share a constant learning rate only from iteration {first} to {last}.",
            f"training on at a constant rate until iteration {max(100, 10 * first)} or later",
        )
    return None


def _ratios(runs: dict[str, xr.Dataset], size: int, *, level: float) -> list[Ratio]:
    """Of the huge batch size over each other, over the last common decade."""
    curves = means(log_curves(runs, last_common_decade(runs)))
    huge = next(arm for arm in curves if arm.batch_size == size)
    others: list[Arm] = [arm for arm in curves if arm.batch_size < size]
    return [log_ratio(huge, other, curves, level=level) for other in others]


def _judge(
    blank: Verdict, growth: Verdict, sharp: list[Ratio], plain: list[Ratio], *, margin: float
) -> Verdict:
    limit = math.log1p(margin)
    off = [int(ratio.low > limit) - int(ratio.high < -limit) for ratio in sharp]
    apart = abs(sum(off)) == len(off)
    together = all(decide(ratio.low, ratio.high, limit) == SUPPORTED for ratio in plain)
    word = UNDECIDABLE
    if apart or growth.verdict == CONTRADICTED:
        word = SUPPORTED
    elif together and growth.verdict == SUPPORTED:
        word = CONTRADICTED
    nearest = min(plain, key=lambda ratio: abs(ratio.log))
    return replace(
        blank,
        verdict=word,
        reason=_reason(growth, nearest, apart=apart, together=together, margin=margin),
        effect=math.exp(nearest.log),
        effect_low=math.exp(nearest.low),
        effect_high=math.exp(nearest.high),
        assumptions=(*blank.assumptions, *growth.assumptions),
        needed=_needed(growth, nearest, limit) if word == UNDECIDABLE else "",
    )


def _reason(growth: Verdict, nearest: Ratio, *, apart: bool, together: bool, margin: float) -> str:
    near = f"on the curve of the others within ±{margin:.0%}"
    far = f"off the curve of the others by more than {margin:.0%}"
    place = far if apart else near if together else f"neither surely {near} nor {far}"
    law = {
        SUPPORTED: "grows like log t",
        CONTRADICTED: "does not grow like log t",
        UNDECIDABLE: "may or may not grow like log t",
    }[growth.verdict]
    return (
        f"The distance {law} at the huge batch size ({growth.reason.rstrip('.')}); it is {place}, "
        f"the nearest ratio being {nearest}."
    )


def _needed(growth: Verdict, nearest: Ratio, limit: float) -> str:
    if growth.verdict == UNDECIDABLE and growth.needed:
        return growth.needed
    half, away = (nearest.high - nearest.low) / 2, abs(limit - abs(nearest.log))
    more = SEEDS * max((half / away) ** 2, 1.0) if away > 0 else math.inf
    if more > 1000:
        return "hardly more seeds: a ratio lies at the margin itself"
    return f"about {math.ceil(round(more, 6))} seeds a batch size"


def _sample(runs: dict[str, xr.Dataset]) -> Sample:
    members = [[runs[name] for name in names] for names in arms(runs).values()]
    fewest = min((seeds(arm) for arm in members), default=0)
    return Sample(len(runs), fewest, batch_sizes(runs))
