"""P2 and P2': with learning rates that follow the batch size, distance curves coincide.

P2: with η ∝ √M per iteration. P2': with η ∝ M in the summed learning rate, where the log-slopes
are equal as well. One number stands for a run: the mean of ln d over the last decade that all runs
have in common, in the logarithm of time.

How far drift lets large batches overshoot under √M rates, from the measured noise scale.

Which clock makes the curves of all batch sizes coincide best, scored on seeds left out.

The curve of a run is predicted by the mean curve of the other batch sizes, over all seeds but its
own, on the clock in question. What is left is the root mean square of ln d.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    chance_within,
    decide,
    joint_level,
    seeds_at_most,
    seeds_to_decide,
    t_interval,
)
from ultraslow.analysis.predictions.evidence import named
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import (
    CLOCKS,
    GRID,
    ITERATION,
    Span,
    common_window,
    label,
    last_common_decade,
    log_distance,
    window_mean,
)
from ultraslow.analysis.study import Study
from ultraslow.analysis.text import number, percent, rounded, sentence, sizes_and
from ultraslow.diffusion.noise import increment_excess

from .scaled_sets import (
    LEAST_SEEDS,
    LINEAR,
    MARGIN,
    RATE_TOLERANCE,
    SQUARE_ROOT,
    TIMES,
    Claim,
    Curves,
    lacking_sizes,
    log_curves,
    log_slopes,
    of_rule,
    ratio_of,
    set_aside,
    short_of_noise,
    smaller_batches,
    sound_part,
    unsound,
    without_short,
)
from .slope_law import slope_law

EFFECT = "ratio of distances, largest over smallest batch size, last common decade"
# A slope over one decade is known a few times less well than the distance itself.
SLOPE_MARGIN = 0.25


def collapse(study: Study) -> Verdict:
    """Verdict on P2.

    Supported when every pair of batch sizes agrees within `MARGIN` at the start, in the middle and
    at the end of the last common decade. Contradicted when the ratio of the largest to the
    smallest batch size lies beyond the margin both over that decade and at its end, so that a
    difference that is dying out decides nothing. This pair is chosen beforehand; no correction for
    the number of pairs is due.

    The claim is about gradient noise, and at batch sizes near the training set's there is less of
    it than √M presumes: they are set aside where that alone exceeds the margin (`short_of_noise`).

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the ratio of the extremes.
    """
    return _collapse(study, SQUARE_ROOT)


def collapse_in_rate(study: Study) -> Verdict:
    """Verdict on P2'.

    As `collapse`, over the summed learning rate and under the linear rule, whose temperature has
    the factor 1 − M/D as well. It is supported only if
    the log-slopes agree within `SLOPE_MARGIN` as well, and contradicted also when those of the
    largest and the smallest batch size differ by more.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the ratio of the extremes' distances.
    """
    return _collapse(study, LINEAR)


def _collapse(study: Study, claim: Claim) -> Verdict:
    following = of_rule(study, claim)
    short = short_of_noise(following)
    candidates = without_short(following, short)
    slopes = slope_law(study)
    blank = question(claim.prediction, EFFECT)
    if slopes.arms:  # told even where the verdict lacks an arm: it rests on other runs as well
        blank = replace(blank, assumptions=(slopes.text(claim.power),))
    missing = lacking_sizes(study, candidates, claim)
    if missing is not None:
        return blank.lacking(smaller_batches(missing, short, claim), candidates.sample)
    chosen, aside = sound_part(candidates.of_arms(LEAST_SEEDS), claim)
    missing = unsound(chosen, claim)
    if missing is not None:
        return blank.lacking(missing, chosen.sample)
    noted = (
        *_assumptions(candidates, chosen, claim),
        *aside,
        *set_aside(short, claim),
        *filter(None, (best_clock(chosen), explained_excess(chosen))),
        slopes.text(claim.power),
    )
    times = last_common_decade(chosen.runs, clock=claim.clock)
    found = _compare(log_curves(chosen, times, clock=claim.clock), claim)
    few = chosen.batch_sizes != following.batch_sizes
    blank = replace(
        blank,
        sample=chosen.sample,
        assumptions=noted,
        about=sizes_and(chosen.batch_sizes) if few else "",
        null=(1 / (1 + MARGIN), 1 + MARGIN),
        span=_iterations(chosen, times, claim),
    )
    longer = chosen.longer(10 * common_window(chosen.runs)[1])
    by_slope = None
    if claim.clock != ITERATION:
        by_slope = _slopes(log_slopes(chosen, times, clock=claim.clock), claim)
    verdict = _judge(blank, found, by_slope, _span(times, claim), longer)
    if not few:
        return verdict
    gone = _not_compared(set(following.batch_sizes) - set(chosen.batch_sizes), short)
    return replace(verdict, brief=f"{_first(verdict.reason)} {gone}")


def _first(reason: str) -> str:
    """The sentence that a reason begins with."""
    return re.split(r"(?<=\.) (?=[A-Z])", reason, maxsplit=1)[0]


def _not_compared(gone: Collection[int], short: Mapping[int, float]) -> str:
    """Which batch sizes under the rule did not enter, in sentences."""
    near, others = (sorted(size for size in gone if (size in short) is so) for so in (True, False))
    told = []
    if near:
        are = "is" if len(near) == 1 else "are"
        told.append(f"{sizes_and(near)}, near the training set's size, {are} set aside")
    if others:
        told.append(f"{sizes_and(others)} could not be compared")
    return " ".join(map(sentence, told))


def collapsing(study: Study, clock: str = ITERATION) -> Study:
    """The runs that P2 compares, or P2' where the clock is Ση; none where it lacks some.

    Arguments:
        study: runs that are equal but for batch size, rate and seed.
        clock: one of `CLOCKS`.
    """
    claim = LINEAR if clock == LINEAR.clock else SQUARE_ROOT
    following = of_rule(study, claim)
    candidates = without_short(following, short_of_noise(following))
    if lacking_sizes(study, candidates, claim) is not None:
        return study.part(())
    chosen, _ = sound_part(candidates.of_arms(LEAST_SEEDS), claim)
    return chosen if unsound(chosen, claim) is None else study.part(())


@dataclass(frozen=True)
class _Ratios:
    """Ratios of distances: of the extremes over the decade and at its end, and of all pairs.

    The latter also at the level at which all of them hold together, `surely`. Or of log-slopes,
    whose extremes are known over the decade alone. What contradicts is held to the level at which
    all of these hold together, with half of the error to spare.
    """

    extremes: tuple[Interval, ...]
    everywhere: list[Interval]
    limit: float
    level: float
    sharp: float
    spread: float = 0.0
    surely: Sequence[Interval] = ()

    @property
    def word(self) -> str:
        """What the ratios say by themselves."""
        if all(decide(one.low, one.high, self.limit) == SUPPORTED for one in self.everywhere):
            return SUPPORTED
        sides = {_beyond(one, self.limit) for one in self.extremes}
        return CONTRADICTED if sides in ({1}, {-1}) else UNDECIDABLE

    def chance(self, word: str, seeds: int) -> float:
        """Chance that so many seeds a batch size make them say a word."""
        more = partial(chance_within, seeds=seeds, arms=2)
        if word == SUPPORTED:
            within = partial(more, low=-self.limit, high=self.limit, level=self.level)
            return min(within(one) for one in self.everywhere)
        above = min(more(one, low=self.limit, level=self.sharp) for one in self.extremes)
        return above + min(more(one, high=-self.limit, level=self.sharp) for one in self.extremes)


def _compare(curves: Curves, claim: Claim) -> _Ratios:
    sharp = replace(curves, level=_sharp(curves, claim))
    means = sharp.mean()
    return _Ratios(
        (means.extremes(), sharp.at(-1).extremes()),
        curves.pairs_in_time(),
        math.log1p(MARGIN),
        curves.level,
        sharp.level,
        max(float(values.std(ddof=1)) for values in means.logs.values()),
        _all_pairs(curves),
    )


def _all_pairs(curves: Curves) -> list[Interval]:
    """The ratios of all pairs in time with intervals that hold together."""
    count = len(curves.pairs_in_time())
    return replace(curves, level=joint_level(curves.level, count)).pairs_in_time()


def _sharp(curves: Curves, claim: Claim) -> float:
    """Level of what contradicts: distances, and over the summed rate log-slopes as well."""
    return joint_level(curves.level, 1 if claim.clock == ITERATION else 2)


def _slopes(curves: Curves, claim: Claim) -> _Ratios | None:
    """Ratios of log-slopes; None where the distance of some run falls."""
    if not all(np.isfinite(values).all() for values in curves.logs.values()):
        return None
    sharp = replace(curves, level=_sharp(curves, claim))
    limit = math.log1p(SLOPE_MARGIN)
    return _Ratios((sharp.extremes(),), curves.pairs(), limit, curves.level, sharp.level)


def _iterations(study: Study, times: NDArray[np.float64], claim: Claim) -> Span:
    """First and last iteration of any run at these times of the clock."""
    if claim.clock == ITERATION:
        return float(times[0]), float(times[-1])
    rates = [arm.rate for arm in study.arms]
    return float(times[0]) / max(rates), float(times[-1]) / min(rates)


def _judge(
    blank: Verdict, found: _Ratios, slopes: _Ratios | None, span: str, longer: str
) -> Verdict:
    """The verdict on distances, and over the summed rate on log-slopes as well."""
    in_rate = blank.prediction == LINEAR.prediction
    word, reason = found.word, _reason(found, span, blank.about)
    if in_rate and slopes is None:
        word = UNDECIDABLE if word == SUPPORTED else word
        reason += " The distance of some runs falls, and has no log-slope."
    elif slopes is not None:
        words = {word, slopes.word}
        word = CONTRADICTED if CONTRADICTED in words else word
        word = UNDECIDABLE if words == {SUPPORTED, UNDECIDABLE} else word
        reason += f" The ratio of log-slopes is {named(slopes.extremes[0], ratio_of)}, where "
        reason += f"{_zone(SLOPE_MARGIN)} counts as equal."
    count = blank.sample.seeds
    seeds, needed = 0, longer
    if word == UNDECIDABLE and not (in_rate and slopes is None):
        more = seeds_to_decide(_chance(found, slopes), count)
        seeds, needed = more.count, more.in_words("a batch size")
        if not seeds:
            needed = (
                f"perhaps {longer}: the ratio may still change, or lie near the margin, so that "
                f"up to {seeds_at_most(count)} seeds a batch size would decide "
                f"{more.share} of studies"
            )
    between = (
        f"distances of equal runs differ by {found.spread:.2%} between seeds at most",
        f"the ratios of the extremes have {percent(found.sharp, 1)} intervals, those of all pairs "
        f"{percent(found.level)} ones",
    )
    return blank.decided(
        word,
        found.extremes[0].mapped(ratio_of),
        reason=reason,
        needed=needed,
        level=found.sharp,
        assumptions=(*blank.assumptions, *between),
        have=count if seeds else math.nan,
        need=seeds or math.nan,
        unit="seeds" if seeds else "",
    )


def _chance(found: _Ratios, slopes: _Ratios | None) -> Callable[[int], float]:
    """Chance of a decision, by number of seeds.

    Where the ratio still changes within the decade, intervals shrink to both sides of the margin,
    and no number of seeds leads to a verdict.
    """

    def chance(seeds: int) -> float:
        every = [one for one in (found, slopes) if one is not None]
        within = math.prod(one.chance(SUPPORTED, seeds) for one in every)
        return within + max(one.chance(CONTRADICTED, seeds) for one in every)

    return chance


def _span(times: NDArray[np.float64], claim: Claim) -> str:
    if claim.clock == ITERATION:
        return f"iterations {times[0]:.0f} to {times[-1]:.0f}"
    return f"{claim.clock} from {number(times[0])} to {number(times[-1])}"


def _beyond(ratio: Interval, limit: float) -> int:
    """1 above the margin, −1 below it, 0 where the interval touches it."""
    return int(ratio.low > limit) - int(ratio.high < -limit)


def _zone(margin: float) -> str:
    return f"{1 / (1 + margin):.2f} to {1 + margin:.2f}"


def _reason(found: _Ratios, span: str, about: str = "") -> str:
    extremes, at_end = found.extremes
    place = max(range(len(found.everywhere)), key=lambda k: found.everywhere[k].farthest)
    widest = found.everywhere[place]
    one_curve = f"where {_zone(MARGIN)} counts as one curve"
    if found.word == SUPPORTED:
        every = f"every two of {about}" if len(found.everywhere) > TIMES and about else about
        return (
            f"Over {span} {every or 'every two batch sizes'} have moved equally far, {one_curve}; "
            f"the least certain ratio is {named(widest, ratio_of)}."
        )
    largest, smallest = extremes.name.replace("batch", "batch size").split(" over ")
    still = "still " if abs(at_end.value) <= abs(extremes.value) else ""
    moved = (
        f"Over {span} {largest} has moved {extremes.mapped(ratio_of)} times as far as {smallest}, "
        f"and {still}{at_end.mapped(ratio_of)} times at the end, {one_curve}"
    )
    if found.word == CONTRADICTED:
        return f"{moved}."
    if widest.name == extremes.name:
        when = ("at the start", "in the middle", "")[place % TIMES]
        return f"{moved}; {when} it was {widest.mapped(ratio_of)} times." if when else f"{moved}."
    # The claim is judged by the extremes, named beforehand; of several pairs one is far by chance.
    by_chance = ""
    if _beyond(found.surely[place], found.limit):
        by_chance = ", which is no chance; the extremes, named beforehand, decide"
    elif _beyond(widest, found.limit):
        by_chance = ", which as the farthest of them may be so by chance"
    return f"{moved}; of all pairs the farthest apart is {named(widest, ratio_of)}{by_chance}."


def _assumptions(candidates: Study, chosen: Study, claim: Claim) -> tuple[str, ...]:
    few = sorted(set(candidates.batch_sizes) - set(chosen.batch_sizes))
    rule = f"rates ∝ {claim.symbol} within {RATE_TOLERANCE:.0%}"
    noted = [f"{rule}, constant in the compared decade"]
    noted += [_ghost_batches(chosen)] if claim.clock == ITERATION else []
    noted += [f"batch size {size} left out: fewer than {LEAST_SEEDS} seeds" for size in few]
    return tuple(noted)


def _ghost_batches(study: Study) -> str:
    """The claim is about ghost batch normalization; recordings may not know of any."""
    sizes = {label(run, "ghost_size", None) for run in study.runs.values()}
    if None in sizes:
        return "ghost batch size not recorded, so that this part of the claim is not checked"
    return f"batch statistics over {', '.join(map(str, sorted(sizes, key=str)))} samples"


def explained_excess(study: Study) -> str:
    """In words, the overshoot of squared updates that drift explains; empty without its grounds.

    (1 + M/B)/(1 + M₀/B) with the noise scale B = tr Σ/|G|² over the last common decade, all runs
    together, M the largest and M₀ the smallest batch size.

    Arguments:
        study: the runs.

    Returns:
        One phrase, for runs under the √M rule whose noise was recorded.
    """
    runs, sizes, span = study.runs.values(), study.batch_sizes, study.last_decade
    scaled = {arm.rate / math.sqrt(arm.batch_size) for arm in study.arms}
    if len(sizes) < 2 or not min(scaled) > 0 or max(scaled) / min(scaled) - 1 > RATE_TOLERANCE:
        return ""
    traces = [window_mean(run, "noise_trace", span) for run in runs]
    squares = [window_mean(run, "gradient_sq", span) for run in runs]
    scale = sum(traces) / sum(squares) if sum(squares) else math.nan
    if not (scale > 0 and math.isfinite(scale)):
        return ""
    factor = float(increment_excess(scale, sizes[-1], sizes[0]))
    return (
        f"with the noise scale of all runs together, B = {number(scale)}, drift would make "
        f"squared updates at batch size {sizes[-1]} (1 + M/B)/(1 + M₀/B) = {rounded(factor)} "
        f"times those at {sizes[0]}{_recorded(study)}"
    )


def _recorded(study: Study) -> str:
    """What the paths say instead, where all runs recorded theirs."""
    if any("step_sq" not in run for run in study.runs.values()):
        return ""
    by_size: dict[int, list[float]] = {}
    for run in study.runs.values():
        step = _mean_step(run, study.last_decade)
        by_size.setdefault(int(run.variables["batch_size"].values), []).append(step)
    low, high = (fmean(by_size[size]) for size in (min(by_size), max(by_size)))
    return f"; the recorded paths make it {rounded(high / low)}" if low > 0 and high > 0 else ""


def _mean_step(run: xr.Dataset, span: Span) -> float:
    """Mean squared length of an update in a span; NaN where no part of it lies between records."""
    at = run.variables["iteration"].values
    within = np.flatnonzero((at > span[0]) & (at <= span[1]))
    if not within.size or within[0] == 0:
        return math.nan
    path = float(run.variables["step_sq"].sum("tensor", skipna=False).values[within].sum())
    return path / float(at[within[-1]] - at[within[0] - 1])


Array = NDArray[np.float64]

_ROUNDING = 1e-9


def clock_errors(study: Study, clock: str) -> dict[object, float]:
    """Out-of-seed error of one clock, over the last decade that all runs have in common on it.

    Arguments:
        study: runs of two batch sizes or more.
        clock: one of `CLOCKS`.

    Returns:
        Root mean squared error of ln d by seed, for the seeds that every arm has; empty where the
        runs share no decade of the clock, or fewer than two seeds.
    """
    first, last = common_window(study.runs, clock=clock)
    members = list(study.arms.values())
    seed_of = {name: label(run, "seed", None) for name, run in study.runs.items()}
    seeds = _shared_seeds(members, seed_of)
    if last < 10 * first or len(seeds) < 2:
        return {}
    times = np.geomspace(last / 10, last, GRID)
    curves = {name: log_distance(run, times, clock=clock) for name, run in study.runs.items()}
    return {seed: _error(members, seed_of, curves, seed) for seed in sorted(seeds, key=str)}


def _shared_seeds(members: Sequence[Sequence[str]], seed_of: Mapping[str, object]) -> set[object]:
    """Seeds that every arm has, where there are two arms or more."""
    named = [{seed_of[name] for name in names} for names in members]
    return set.intersection(*named) - {None} if len(named) > 1 else set()


def _error(
    members: Sequence[Sequence[str]],
    seed_of: Mapping[str, object],
    curves: Mapping[str, Array],
    seed: object,
) -> float:
    """Error of predicting a seed's runs from the other seeds of the other arms."""
    squares = []
    for names in members:
        own = [n for n in names if seed_of[n] == seed]
        others = [n for n in curves if n not in names and seed_of[n] != seed]
        middle = np.mean([curves[n] for n in others], axis=0)
        squares += [float(np.mean((curves[n] - middle) ** 2)) for n in own]
    return math.sqrt(float(np.mean(squares)))


def best_clock(study: Study) -> str:
    """In words, the clock of least out-of-seed error; empty where fewer than two can be scored.

    Arguments:
        study: the runs.

    Returns:
        One phrase with the errors of all clocks that can be scored.
    """
    scored = {clock: clock_errors(study, clock) for clock in CLOCKS}
    means = {clock: float(np.mean(list(e.values()))) for clock, e in scored.items() if e}
    if len(means) < 2 or not all(map(math.isfinite, means.values())):
        return ""
    # Under the √M rule Ση²/M runs like the iterations: of equal clocks the first is named.
    order = sorted(means, key=lambda clock: round(means[clock] / _ROUNDING))
    best, following = order[:2]
    gains = [scored[best][seed] - scored[following][seed] for seed in scored[best]]
    told = t_interval(gains, level=study.level).high < -_ROUNDING
    listed = ", ".join(f"{clock} {means[clock]:.1%}" for clock in order)
    how = "" if told else f", not told from {following}"
    return f"curves coincide best over {best}{how} (out-of-seed errors: {listed})"
