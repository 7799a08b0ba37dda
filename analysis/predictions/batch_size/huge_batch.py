"""H-b: at huge batch sizes the distance is not logarithmic or not on the common curve."""

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    chance_within,
    decide,
    seeds_to_decide,
    welch,
)
from ultraslow.analysis.predictions.generalization import HUGE_SHARE, huge_sizes
from ultraslow.analysis.predictions.growth import told_arm
from ultraslow.analysis.predictions.growth.log_growth import RATIO_EFFECT, log_growth
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import Span, common_window, label, last_common_decade
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import number

from .scaled_sets import (
    DECADES,
    MARGIN,
    SQUARE_ROOT,
    Curves,
    log_curves,
    ratio_of,
    set_aside,
    short_of_noise,
    sound_part,
    without_short,
)

EFFECT = "ratio of distances, the huge batch size over what is nearest to it, last common decade"
# Under these rules the curves of all batch sizes are said to coincide per iteration.
SCALINGS = ("sqrt", "exact_sqrt")


def huge_batch(study: Study) -> Verdict:
    """Verdict on H-b.

    Supported when the distance at the largest M ≥ D/2 is not logarithmic (as P1 judges it), or
    lies beyond the margin from that of every smaller batch size, on one side of all of them, and
    from their trend in ln M by more than they depart from it themselves: where the others drift
    apart as well, a huge batch that drifts on is no news. Contradicted when it is logarithmic and
    lies within the margin of every smaller batch size, or of their trend. Each of the two findings
    that support it has half of the error. The others are batch sizes far below the training set's
    (`short_of_noise`): one that is near it departs from the common curve by the same causes.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the ratio of the distance to that of the others which decides; with the
        number that decides P1 there where that alone does.
    """
    scaled = study.distinct.where(lambda run: label(run, "scaling") in SCALINGS)
    scaled, notes = _of_one_rule(scaled)
    scaled, aside = _references(scaled)
    notes += aside
    kept = scaled.of_arms(SEEDS)
    blank = question("H-b", EFFECT)
    missing = _missing(study, scaled, kept)
    if missing is not None:
        return blank.lacking(missing, kept.sample)
    size = max(huge_sizes(kept.runs))
    growth = log_growth(kept.where(lambda run: int(run.variables["batch_size"].values) == size))
    times = last_common_decade(kept.runs)
    curves = log_curves(kept, times).mean()
    blank = replace(blank, sample=kept.sample, span=(float(times[0]), float(times[-1])))
    smaller = told_arm(kept.where(lambda run: int(run.variables["batch_size"].values) < size))
    found = _judge(blank, growth, Place.of(curves, size), smaller[1] if smaller else "")
    return replace(found, assumptions=(*found.assumptions, *notes))


@dataclass(frozen=True)
class Place:
    """Where the distance of a huge batch size lies beside those of the others.

    Attributes:
        size: the huge batch size.
        ratios: logarithms of its ratio to each smaller one.
        trend: that to their trend in ln M; to the other itself where there is one.
        sharp: the same, the trend last, at half of the error.
        apart: by how much the others depart from their trend at most, a logarithm.
        seeds: fewest seeds of an arm.
        level: confidence level of `ratios` and `trend`.
    """

    size: int
    ratios: list[Interval]
    trend: Interval
    sharp: list[Interval]
    apart: float
    seeds: int
    level: float

    @classmethod
    def of(cls, curves: Curves, size: int) -> "Place":
        """From one number a run."""
        half = 1 - (1 - curves.level) / 2
        trend, apart = trend_ratio(curves, size)
        sharp = replace(curves, level=half)
        return cls(
            size,
            _ratios(curves, size),
            trend,
            [*_ratios(sharp, size), trend_ratio(sharp, size)[0]],
            apart,
            min(values.size for values in curves.logs.values()),
            curves.level,
        )

    @property
    def limits(self) -> list[float]:
        """How far off each of `sharp` has to be: the trend by more than the others are."""
        return [math.log1p(MARGIN)] * len(self.ratios) + [math.log1p(MARGIN) + self.apart]

    @property
    def off(self) -> bool:
        """Whether it lies off all others and their trend, on one side."""
        pairs = list(zip(self.sharp, self.limits, strict=True))
        above = all(ratio.low > limit for ratio, limit in pairs)
        return above or all(ratio.high < -limit for ratio, limit in pairs)

    @property
    def on(self) -> bool:
        """Whether it lies within the margin of all others, or of their trend."""
        limit = math.log1p(MARGIN)
        within = [decide(one.low, one.high, limit) == SUPPORTED for one in self.ratios]
        return all(within) or decide(self.trend.low, self.trend.high, limit) == SUPPORTED

    @property
    def telling(self) -> Interval:
        """What it hangs on: where it lies on all others the farthest, else the nearest to 1."""
        limit = math.log1p(MARGIN)
        if all(decide(one.low, one.high, limit) == SUPPORTED for one in self.ratios):
            return max(self.ratios, key=lambda ratio: abs(ratio.value))
        return min([*self.ratios, self.trend], key=lambda ratio: abs(ratio.value))

    def chance(self, seeds: int) -> float:
        """Chance that so many seeds an arm put it off the others, or on them."""
        limit, half = math.log1p(MARGIN), 1 - (1 - self.level) / 2
        pairs = list(zip(self.sharp, self.limits, strict=True))
        more = partial(chance_within, seeds=seeds, arms=2)
        off = max(
            min(more(one, low=bound, level=half) for one, bound in pairs),
            min(more(one, high=-bound, level=half) for one, bound in pairs),
        )
        within = partial(more, low=-limit, high=limit, level=self.level)
        return off + max(min(map(within, self.ratios)), within(self.trend))


def trend_ratio(curves: Curves, size: int) -> tuple[Interval, float]:
    """How far a batch size lies off the line in ln M through the smaller ones, as a logarithm.

    ln d̄ − Σ wₖ·ln d̄ₖ, wₖ = 1/K + (ln M − x̄)·(xₖ − x̄)/Σ (x − x̄)², x = ln Mₖ, with Welch's
    interval; for one smaller size the difference to it.

    Arguments:
        curves: one number a run.
        size: M.

    Returns:
        The logarithm with its interval, and the largest departure of a smaller one from the line.
    """
    smaller = {arm.batch_size: v for arm, v in curves.logs.items() if arm.batch_size < size}
    own = next(v for arm, v in curves.logs.items() if arm.batch_size == size)
    x = np.log([float(one) for one in smaller])
    means = np.array([values.mean() for values in smaller.values()])
    centred = x - x.mean()
    squares = float(centred @ centred) or 1.0
    weights = 1 / x.size + (math.log(size) - x.mean()) * centred / squares
    line = means.mean() + centred * float(centred @ means) / squares
    samples = [own, *smaller.values()]
    contrast = welch(
        float(own.mean() - weights @ means),
        [float(values.var(ddof=1)) for values in samples],
        [values.size for values in samples],
        [1.0, *weights],
    )
    name = f"batch {size} over the trend of the others"
    found = replace(contrast.interval(curves.level), name=name)
    return found, float(np.abs(means - line).max())


def _of_one_rule(scaled: Study) -> tuple[Study, tuple[str, ...]]:
    """The arms of one rate/√M where a batch size has several rates, and a note on the others."""
    if len(scaled.batch_sizes) == len(scaled.arms):
        return scaled, ()
    part, notes = sound_part(scaled, SQUARE_ROOT)
    return (part, notes) if huge_sizes(part.runs) else (scaled, ())


def _references(scaled: Study) -> tuple[Study, tuple[str, ...]]:
    """The largest batch size and those it is compared with, and a note on each left out."""
    near = short_of_noise(scaled)
    near.pop(max(scaled.batch_sizes, default=0), None)
    return (without_short(scaled, near), set_aside(near, SQUARE_ROOT)) if near else (scaled, ())


def _missing(study: Study, scaled: Study, kept: Study) -> Missing | None:
    """Why there is nothing to compare, and what would complete the set."""
    if not huge_sizes(study.runs):
        sized = any("data_size" in run for run in study.runs.values())
        what = "No batch size reaches" if sized else "No recording says how large the data are, so"
        rest = f"{HUGE_SHARE:.0%} of the training set" if sized else "no batch is known as huge"
        needed = (
            "an arm at half of the training set or more"
            if sized
            else "`ultraslow label RUN data_size=…`"
        )
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
            float(last),
            float(max(10**DECADES, 10 * first)),
            "iterations",
        )
    return None


def _ratios(curves: Curves, size: int) -> list[Interval]:
    """Of the huge batch size over each other."""
    huge = next(arm for arm in curves.logs if arm.batch_size == size)
    return [curves.ratio(huge, other) for other in curves.logs if other.batch_size < size]


def _judge(blank: Verdict, growth: Verdict, place: Place, others: str) -> Verdict:
    """The verdict, where P1 says `others` of the smaller batch sizes."""
    word = UNDECIDABLE
    if place.off or growth.verdict == CONTRADICTED:
        word = SUPPORTED
    elif place.on and growth.verdict == SUPPORTED:
        word = CONTRADICTED
    needed, have, need, unit = _needed(growth, place)
    found = blank.decided(
        word,
        place.telling.mapped(math.exp),
        reason=_reason(blank.span, growth, place, others),
        needed=needed,
        assumptions=(f"P1 at batch size {place.size}: {growth.reason}", *growth.assumptions),
        have=have,
        need=need,
        unit=unit,
    )
    if place.off or growth.verdict != CONTRADICTED:
        return found
    return replace(
        found,
        effect=growth.effect,
        effect_low=growth.effect_low,
        effect_high=growth.effect_high,
        effect_meaning=growth.effect_meaning,
        effect_level=growth.effect_level,
        span=growth.span,
    )


def _reason(span: Span, growth: Verdict, place: Place, others: str) -> str:
    low, high = 1 / (1 + MARGIN), 1 + MARGIN
    far = f"off all others and their trend, where {low:.2f} to {high:.2f} counts as one curve"
    near = "on the curve of the others"
    where = far if place.off else near if place.on else "neither surely on the others nor off them"
    telling = place.telling
    ratio = f"{telling.mapped(ratio_of)} times that of {telling.name.partition(' over ')[2]}"
    lies = f"the distance at batch size {place.size} lies {where} ({ratio})"
    over = f"ver iterations {number(round(span[0]))} to {number(round(span[1]))}"
    power = _no_logarithm(growth)
    alike = ", though smaller batch sizes grow like none either" if others == CONTRADICTED else ""
    if growth.verdict == CONTRADICTED and not place.off:
        law = f"At batch size {place.size} the distance {power}: that is enough for the claim"
        return f"{law}{alike}. O{over} {lies}."
    if growth.verdict == CONTRADICTED:
        return f"O{over} {lies}, and {power}. Either is enough for the claim{alike}."
    grows = "grows like log t" if growth.verdict == SUPPORTED else "may or may not grow like log t"
    return f"O{over} {lies}, and {grows}."


def _no_logarithm(growth: Verdict) -> str:
    """How the distance grows where P1 is contradicted, in words."""
    found = Interval(growth.effect, growth.effect_low, growth.effect_high)
    if growth.effect_meaning.startswith(RATIO_EFFECT):
        return f"all but stops growing (its last decade added {found} times as much), unlike log t"
    return f"grows like t^p with p = {found}, which is not log t"


def _needed(growth: Verdict, place: Place) -> tuple[str, float, float, str]:
    """An instruction, how much there is, how much is needed, and of what."""
    if growth.verdict == UNDECIDABLE and growth.needed:
        return growth.needed, growth.have, growth.need, growth.unit
    more = seeds_to_decide(place.chance, place.seeds)
    if more.count:
        return more.in_words("a batch size"), place.seeds, more.count, "seeds"
    beside = "a batch size between the huge one and the others, which bounds their trend"
    return f"{SEEDS} seeds at {beside}", math.nan, math.nan, ""
