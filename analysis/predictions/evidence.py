"""What verdicts rest on: runs that may be compared, means across seeds, what is missing."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    SUPPORTED,
    UNDECIDABLE,
    joint_level,
    t_interval,
)
from ultraslow.analysis.runs import Arm, differences, one_per_seed, seeds
from ultraslow.analysis.runs.arms import arms
from ultraslow.analysis.text import first_of, interval, plural, rounded

from .verdict import Sample, Verdict

# What a recording has to hold, and how it comes to hold it.
SOURCES = {
    "distance_sq": "the distance of the weights",
    "loss_difference": "landscape scans: the loss along directions at several radii",
    "line_loss": "landscape scans: the loss on lines between checkpoints",
    "sketch": "the probe 'trajectory': a sketch of the weights at each record",
    "step_sq": "the probe 'path': squared lengths of the updates",
    "noise_trace": "the gradient noise",
    "learning_rate": "the learning rate",
    "learning_rate_sum": "the summed learning rate",
    "data_size": "the size of the training set",
}


@dataclass(frozen=True)
class Missing:
    """Why nothing can be decided, and what would change that."""

    reason: str
    needed: str


@dataclass(frozen=True)
class Mean:
    """Mean of one number a run over the seeds of an arm, with its t interval.

    Attributes:
        name: whose it is, in words.
        value: the mean.
        low: lower end of its interval.
        high: upper end.
        runs: number of seeds.
    """

    name: str
    value: float
    low: float
    high: float
    runs: int

    def text(self, show: Callable[[float], float] = float) -> str:
        """The mean with its interval, on a scale of choice."""
        ends = interval(show(self.low), show(self.high), show=rounded)
        return f"{rounded(show(self.value))} {ends} ({self.name})"


def sample(runs: Mapping[str, xr.Dataset]) -> Sample:
    """Number of runs, fewest seeds of an arm, and batch sizes."""
    members = [[runs[name] for name in names] for names in arms(dict(runs)).values()]
    sizes = tuple(sorted({int(run["batch_size"].values) for run in runs.values()}))
    return Sample(len(runs), min(map(seeds, members), default=0), sizes)


def undecided(blank: Verdict, runs: Mapping[str, xr.Dataset], missing: Missing) -> Verdict:
    """The verdict that nothing can be decided about these runs, and why."""
    return replace(
        blank,
        verdict=UNDECIDABLE,
        reason=missing.reason,
        needed=missing.needed,
        sample=sample(runs),
    )


def decided(
    blank: Verdict,
    runs: Mapping[str, xr.Dataset],
    word: str,
    mean: Mean,
    *,
    reason: str,
    assumptions: tuple[str, ...],
    needed: str,
) -> Verdict:
    """The verdict that rests on the mean of a logarithm; its effect is the exponential.

    Arguments:
        blank: with the prediction's words.
        runs: that were used; those of arms with fewer than `SEEDS` seeds did not enter.
        word: what was decided.
        mean: the logarithm, and its interval, of the arm that decided.
        reason: why, with the numbers.
        assumptions: what the decision takes for granted.
        needed: what would decide it; told only where nothing could be.
    """
    entered, few = entering(runs)
    count = len(arms(entered))
    joint = word == CONTRADICTED and count > 1
    which = "both" if count == 2 else f"all {count}"
    told = [f"the interval holds together with those of {which} arms"] if joint else []
    return replace(
        blank,
        verdict=word,
        reason=reason,
        effect=math.exp(mean.value),
        effect_low=math.exp(mean.low),
        effect_high=math.exp(mean.high),
        sample=sample(entered),
        assumptions=(*assumptions, *told, *few),
        needed=needed if word == UNDECIDABLE else "",
    )


def entering(runs: Mapping[str, xr.Dataset]) -> tuple[dict[str, xr.Dataset], tuple[str, ...]]:
    """The runs that enter means across seeds, of arms with `SEEDS`; and a note on the others."""
    full = [names for names in arms(dict(runs)).values() if len(names) >= SEEDS]
    entered = {name: runs[name] for names in full for name in names}
    return entered, left_out(runs, entered, f"their arms have fewer than {SEEDS} seeds")


def repeated(runs: Mapping[str, xr.Dataset]) -> str:
    """In words, which runs repeat the seed of another in their arm; empty without any.

    Tables list them, and verdicts count one of each: a copy or a rerun is no further draw.
    """
    kept = one_per_seed(dict(runs))
    again = [str(run["run"].values)[:40] for name, run in runs.items() if name not in kept]
    if not again:
        return ""
    verb = "repeats" if len(again) == 1 else "repeat"
    return (
        f"{plural(len(again), 'recording')} {verb} the seed of another at the same batch size, "
        f"rule and rate: {first_of(again)}. Verdicts count one of each, the longest that recorded "
        "what they need."
    )


def differing(found: Iterable[str]) -> str:
    """The sentence that says what differs."""
    return f"The runs differ in what they should share ({'; '.join(found)})."


def unlike(runs: Mapping[str, xr.Dataset]) -> Missing | None:
    """What runs differ in that should be equal, and the sets to test apart; None for equals."""
    found = differences(runs.values())
    if not found:
        return None
    return Missing(
        differing(found), "tests of the sets of equal runs apart, each with its own paths"
    )


def comparable(
    runs: Mapping[str, xr.Dataset], *, fields: Sequence[str]
) -> tuple[dict[str, xr.Dataset], Missing | None]:
    """Runs that hold all the fields, one a seed, or what stands against comparing them.

    Arguments:
        runs: recordings by node name.
        fields: variables or coordinates that a run has to hold.

    Returns:
        The runs that can be used, and None or why there is nothing to compare.
    """
    # Of a seed that was run twice, the run that holds the fields speaks.
    kept = one_per_seed({name: run for name, run in runs.items() if _holds(run, fields)})
    if not kept:
        distinct = one_per_seed(dict(runs))
        absent = _absent(distinct.values(), fields)
        listed = " and ".join(SOURCES[name] for name in absent)
        names = ", ".join(absent)
        return distinct, Missing(f"No run recorded {names}.", f"runs recorded with {listed}")
    return kept, unlike(kept)


def _holds(run: xr.Dataset, fields: Sequence[str]) -> bool:
    return all(name in run and _some_finite(run[name]) for name in fields)


def _some_finite(values: xr.DataArray) -> bool:
    return bool(np.isfinite(values.values).any()) if values.dtype.kind == "f" else values.size > 0


def _absent(runs: Iterable[xr.Dataset], fields: Sequence[str]) -> list[str]:
    """Fields that no run holds; all of them where each run lacks another one."""
    known = list(runs)
    absent = [name for name in fields if not any(_holds(run, [name]) for run in known)]
    return absent or list(fields)


def arm_means(
    numbers: Mapping[str, float], runs: Mapping[str, xr.Dataset], *, level: float
) -> list[Mean]:
    """Means across the seeds of each arm with enough of them.

    Arguments:
        numbers: one number a run, by node name; those that are not finite are left out.
        runs: the recordings.
        level: confidence level of each interval.

    Returns:
        One mean an arm of `SEEDS` runs or more.
    """
    known = {name: run for name, run in runs.items() if math.isfinite(numbers.get(name, math.nan))}
    return [
        _mean(arm, [numbers[name] for name in names], level=level)
        for arm, names in arms(known).items()
        if len(names) >= SEEDS
    ]


def _mean(arm: Arm, values: Sequence[float], *, level: float) -> Mean:
    found = t_interval(values, level=level)
    name = f"mean of {found.n} seeds at {arm}"
    return Mean(name, found.value, found.low, found.high, found.n)


def judge_arms(
    numbers: Mapping[str, float],
    runs: Mapping[str, xr.Dataset],
    rule: Callable[[float, float], str],
    *,
    level: float,
) -> tuple[str, Mean] | None:
    """The verdict of all arms on one number a run, and the mean it hangs on.

    Supported when the rule says so of every arm's interval, contradicted when it says so of one
    arm's at `joint_level`.

    Arguments:
        numbers: one number a run, by node name.
        runs: the recordings.
        rule: from the ends of an interval to one of the three words.
        level: confidence level.

    Returns:
        Word and mean; None where no arm has enough seeds.
    """
    means = arm_means(numbers, runs, level=level)
    if not means:
        return None
    wide = arm_means(numbers, runs, level=joint_level(level, len(means)))
    against = [mean for mean in wide if rule(mean.low, mean.high) == CONTRADICTED]
    if against:
        return CONTRADICTED, _farthest(against)
    words = [rule(mean.low, mean.high) for mean in means]
    word = SUPPORTED if set(words) == {SUPPORTED} else UNDECIDABLE
    return word, _farthest(
        [mean for mean, said in zip(means, words, strict=True) if said == word] or means
    )


def _farthest(means: Sequence[Mean]) -> Mean:
    return max(means, key=lambda mean: max(abs(mean.low), abs(mean.high)))


def few_seeds(runs: Mapping[str, xr.Dataset], what: str) -> Missing:
    """That no arm has enough seeds with a usable number."""
    most = max((seeds([runs[n] for n in names]) for names in arms(dict(runs)).values()), default=0)
    return Missing(
        f"The seeds are the sample, and no arm has {SEEDS} with {what} "
        f"({plural(most, 'seed')} at most).",
        f"{SEEDS} seeds or more at one batch size, with {what}",
    )


def left_out(runs: Mapping[str, xr.Dataset], kept: Iterable[str], why: str) -> tuple[str, ...]:
    """A note on the runs that were left out, where there are any."""
    count = len(runs) - len(list(kept))
    return (f"{plural(count, 'run')} left out: {why}",) if count else ()
