"""P6: without noise there is no growth; full-batch descent from the same weights comes to rest.

The log-slope of full-batch runs over the last common decade is set against that of noisy runs of
the same learning rate from the same initial weights, seed by seed. Without noise is a run whose
updates were all the same full gradient, which is measured or declared (`runs.noise_free`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.analysis.growth import DECADES
from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    fieller,
    joint_level,
)
from ultraslow.analysis.predictions.evidence import (
    left_out,
    more_seeds,
    most_seen,
    over,
    undecided_by_seeds,
)
from ultraslow.analysis.predictions.means import Measure, Zone
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import (
    Arm,
    Span,
    by_seed,
    constant_rate,
    label,
    noise_free,
    setting_differences,
    slope,
    whole_batch,
)
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import number, plural

Array = NDArray[np.float64]

EFFECT = "log-slope without noise over that with noise, last common decade"
# At rest: less than a tenth of the noisy slope. Growing "by the same law": at least half of it.
# What lies between is slowing down, and where it will end is not known.
AT_REST, ALIKE = 0.1, 0.5


@dataclass(frozen=True)
class _Comparison:
    """Runs without and with noise of one learning rate, in pairs of equal seeds.

    Attributes:
        rate: the learning rate.
        noisy: the arm with noise, in words.
        pairs: node names, without and with noise.
        span: last decade that they have in common.
    """

    rate: float
    noisy: str
    pairs: tuple[tuple[str, str], ...]
    span: Span


def noise_off(study: Study) -> Verdict:
    """Verdict on P6.

    At each learning rate that was run without noise, the noisy arm of the smallest batch size that
    shares it is compared. Supported when the interval of the ratio of slopes lies within
    ±`AT_REST` at all of them, contradicted when it lies above `ALIKE` at one.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the ratio of slopes.
    """
    blank = question("P6", EFFECT)
    known, missing = study.comparable("distance_sq", "data_size", "learning_rate")
    missing = missing or _missing_arm(known, study.whole or study)
    if missing is not None:
        return blank.lacking(missing, known.sample)
    long = known.where(lambda run: constant_rate(run).decades >= DECADES)
    compared = _comparisons(long)
    if not compared:
        return blank.lacking(_unpaired(known, long), known.sample)
    found = [_share(long, one, level=study.level) for one in compared]
    joint = joint_level(study.level, len(compared))
    wide = [_share(long, one, level=joint) for one in compared]
    word, place = _judged(found, wide)
    share = (wide if word == CONTRADICTED else found)[place]
    used = long.part(dict.fromkeys(n for one in compared for pair in one.pairs for n in pair))
    need = Missing("", "")
    if word == UNDECIDABLE:
        need = _needed(long, share, compared[place])
    return blank.decided(
        word,
        share,
        reason=_reason(word, share, compared[place]),
        needed=need.needed,
        sample=used.sample,
        assumptions=_assumptions(known, long, used, compared),
        null=(-AT_REST, AT_REST),
        span=compared[place].span,
        level=joint if word == CONTRADICTED else study.level,
        have=need.have,
        need=need.need,
        unit=need.unit,
    )


def ratio_of_means(numerators: Array, denominators: Array, *, level: float) -> Interval:
    """Ratio of two paired means with Fieller's interval.

    Arguments:
        numerators: x, shape (pair,).
        denominators: y, shape (pair,).
        level: confidence level.

    Returns:
        The ratio; its interval is unbounded where the mean of y is not told from 0.
    """
    n = numerators.size
    means = float(numerators.mean()), float(denominators.mean())
    covariance = np.cov(numerators, denominators) / n
    return fieller(*means, covariance, n=n, level=level)


def _word(share: Interval) -> str:
    if share.low > -AT_REST and share.high < AT_REST:
        return SUPPORTED
    return CONTRADICTED if share.low > ALIKE else UNDECIDABLE


def _judged(found: list[Interval], wide: list[Interval]) -> tuple[str, int]:
    """The word of all comparisons, and the place of the one that it hangs on."""
    places = range(len(found))
    against = [k for k in places if _word(wide[k]) == CONTRADICTED]
    if against:
        return CONTRADICTED, max(against, key=lambda k: wide[k].low)
    words = [_word(one) for one in found]
    if set(words) == {SUPPORTED}:
        return SUPPORTED, max(places, key=lambda k: found[k].farthest)
    still_open = [k for k in places if words[k] != SUPPORTED]
    return UNDECIDABLE, max(still_open, key=lambda k: found[k].farthest)


def _share(study: Study, compared: _Comparison, *, level: float) -> Interval:
    slopes = _slopes(study, compared)
    return ratio_of_means(slopes[:, 0], slopes[:, 1], level=level)


def _slopes(study: Study, compared: _Comparison) -> Array:
    """Log-slopes without and with noise, shape (pair, 2)."""
    return np.array(
        [[slope(study.runs[name], compared.span) for name in pair] for pair in compared.pairs]
    )


def _comparisons(study: Study) -> list[_Comparison]:
    """Of each learning rate without noise, the pairs with the noisy arm that stands for it."""
    still = study.where(lambda run: noise_free(run) is True)
    noisy = study.where(lambda run: not whole_batch(run))
    found = {}
    for own in sorted(still.arms):
        # Of the smallest batch size, which is the noisiest; arms of added noise after the others.
        ranked = sorted(
            (arm for arm in noisy.arms if arm.rate == own.rate),
            key=lambda arm: (arm.noise > 0, arm.batch_size, -arm.noise, arm),
        )
        each = (_compared(study, still.arms[own], noisy.arms[arm], arm) for arm in ranked)
        one = next((pairs for pairs in each if pairs is not None), None)
        if one is not None:
            found[own] = one
    return list(found.values())


def _compared(study: Study, still: list[str], noisy: list[str], arm: Arm) -> _Comparison | None:
    """Pairs of equal seeds from the same weights, over the decade that most of them reach."""
    walking = by_seed(study.runs, noisy)
    pairs = {
        name: (name, walking[seed])
        for seed, name in by_seed(study.runs, still).items()
        if seed in walking and not _from_other_weights(study.runs, (name, walking[seed]))
    }
    ends = {name: study.part(pair).last_decade[1] for name, pair in pairs.items()}

    def enough(names: list[str]) -> bool:
        if len(names) < SEEDS:
            return False
        span = study.part(n for name in names for n in pairs[name]).last_decade
        return all(
            math.isfinite(slope(study.runs[n], span)) for name in names for n in pairs[name]
        )

    used = sorted(most_seen(ends, enough), key=lambda name: str(label(study.runs[name], "seed")))
    if not used:
        return None
    chosen = tuple(pairs[name] for name in used)
    span = study.part(n for pair in chosen for n in pair).last_decade
    return _Comparison(arm.rate, str(arm), chosen, span)


def _from_other_weights(runs: Mapping[str, xr.Dataset], pair: tuple[str, str]) -> bool:
    digests = {str(runs[name].attrs.get("initial_sha256", "")) for name in pair}
    return len(digests - {""}) > 1


def _missing_arm(known: Study, folder: Study) -> Missing | None:
    """That there is no arm without noise, or none with; what it says is true of the folder."""
    free = {name: noise_free(run) for name, run in known.runs.items()}
    noisy = known.where(lambda run: not whole_batch(run))
    if not noisy.runs:
        count = plural(len(free), "run")
        reason = f"No run has noise to compare with: all are at the full batch ({count})."
        return Missing(reason, f"a noisy arm of {SEEDS} seeds", 0.0, float(SEEDS), "seeds")
    if any(said is True for said in free.values()):
        return None
    # Of the arm that has most seeds, as they are to be paired.
    arm = max(noisy.arms, key=lambda own: (noisy.seeds(own), -own.batch_size, own))
    needed = (
        f"{SEEDS} seeds at the full batch (batch size = data size) with all samples in the same "
        f"order and without augmentation, at learning rate {number(arm.rate)} and from the "
        f"weights of the noisy runs at {arm}"
    )
    if noisy.seeds(arm) < SEEDS:
        needed += f", of which {SEEDS} are needed as well"
    unknown = [name for name, run in known.runs.items() if whole_batch(run)]
    if unknown:
        reason = _UNKNOWN.format(f"The {plural(len(unknown), 'run')} at the full batch")
        measured = [name for name in unknown if free[name] is False]
        if len(measured) == len(unknown):
            reason = "Updates at the full batch differ: samples are augmented or meet others."
        return Missing(reason, needed, 0.0, float(SEEDS), "seeds")
    others = [run for run in folder.runs.values() if whole_batch(run)]
    if not others:
        reason = (
            "No run saw the whole training set in each update, which is what removes the noise."
        )
        return Missing(reason, needed, 0.0, float(SEEDS), "seeds")
    apart = setting_differences([others[0], next(iter(noisy.runs.values()))])
    what = " and ".join(one.split(":")[0].replace("_", " ") for one in apart)
    reason = (
        f"None of these {plural(len(known.runs), 'run')} saw the whole training set in each "
        f"update; those of the folder that did ({len(others)}) differ in {what or 'ingredients'}."
    )
    return Missing(reason, needed, 0.0, float(SEEDS), "seeds")


_UNKNOWN = "{} cannot be told to be without noise: nobody measured whether updates are alike."


def _unpaired(known: Study, long: Study) -> Missing:
    """Why runs with and without noise make no comparison, and what would."""
    still = known.where(lambda run: noise_free(run) is True)
    rates = sorted({arm.rate for arm in still.arms})
    noisy = known.where(lambda run: not whole_batch(run))
    shared = [rate for rate in rates if any(arm.rate == rate for arm in noisy.arms)]
    if not shared:
        there = ", ".join(number(rate) for rate in sorted({arm.rate for arm in noisy.arms}))
        return Missing(
            f"No noisy run has the learning rate of the full-batch runs, {number(rates[0])}; they "
            f"have {there}.",
            f"{SEEDS} seeds of a noisy arm at learning rate {number(rates[0])}, from the weights "
            "of the full-batch runs",
            0.0,
            float(SEEDS),
            "seeds",
        )
    counts = [_paired_seeds(known, rate) for rate in shared]
    if max(counts) < SEEDS:
        best = shared[int(np.argmax(counts))]
        return Missing(
            f"{plural(max(counts), 'seed')} with and without noise from the same weights at "
            f"learning rate {number(best)}; the seeds are the sample.",
            f"{SEEDS} seeds or more in both arms, from the same weights",
            float(max(counts)),
            float(SEEDS),
            "seeds",
        )
    return Missing(
        f"Fewer than {SEEDS} seeds with and without noise have {DECADES:g} decades of constant "
        "learning rate and finite distances in the last one.",
        f"training on with a constant learning rate until iteration {number(10**DECADES)} or "
        "later in both arms",
        max((constant_rate(run).decades for run in known.runs.values()), default=0.0),
        DECADES,
        "decades",
    )


def _paired_seeds(study: Study, rate: float) -> int:
    """Seeds at a learning rate with a run of each kind from the same weights."""
    names = [name for arm, own in study.arms.items() if arm.rate == rate for name in own]
    runs = study.runs
    still = by_seed(runs, [name for name in names if noise_free(runs[name]) is True])
    noisy = by_seed(runs, [name for name in names if not whole_batch(runs[name])])
    pairs = [(still[seed], noisy[seed]) for seed in still if seed in noisy]
    return sum(not _from_other_weights(runs, pair) for pair in pairs)


def _reason(word: str, share: Interval, compared: _Comparison) -> str:
    found = (
        f"At learning rate {number(compared.rate)} the distance without noise grows {share} times "
        f"as fast in ln t as with that of {compared.noisy}, {over(compared.span)}"
    )
    if word == SUPPORTED:
        return f"{found}: it comes to rest, within ±{AT_REST:g}."
    if word == CONTRADICTED:
        return f"{found}; above {ALIKE:g} it keeps growing."
    return f"{found}; within ±{AT_REST:g} it is at rest, above {ALIKE:g} it keeps growing."


def _assumptions(
    known: Study, long: Study, used: Study, compared: list[_Comparison]
) -> tuple[str, ...]:
    told = all(run.attrs.get("initial_sha256") for run in used.runs.values())
    weights = "compared by their hash" if told else "taken to be those of equal seeds"
    pairs = [
        f"{len(one.pairs)} pairs at learning rate {number(one.rate)}, noise of {one.noisy}"
        for one in compared
    ]
    short = left_out(known, long, f"less than {DECADES:g} decades of constant rate")
    unpaired = left_out(long, used, "no run of their rate and seed to compare, or shorter than it")
    return (f"initial weights {weights}", *pairs, *short, *unpaired)


def _needed(study: Study, share: Interval, compared: _Comparison) -> Missing:
    """More seeds, where so many as anybody would train decide."""
    where = "with and without noise"
    otherwise = undecided_by_seeds(share.n, compared.span[1], where)
    if not math.isfinite(share.low):
        return otherwise
    still, noisy = _slopes(study, compared).T
    # Fieller's interval of the ratio lies beyond a bound where a t test of x − bound·y says so.
    measures = [
        Measure(Zone(-math.inf, math.inf, above=0.0), [still - ALIKE * noisy]),
        Measure(Zone(-math.inf, 0.0), [still - AT_REST * noisy]),
        Measure(Zone(0.0, math.inf), [still + AT_REST * noisy]),
    ]
    return more_seeds(measures, share.n, where, level=study.level, otherwise=otherwise)
