"""What verdicts rest on: means of one number a run across the seeds of each arm."""

import math
from collections.abc import Callable, Mapping, Sequence

from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    joint_level,
    t_interval,
)
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import plural

from .verdict import Verdict


def arm_means(study: Study, numbers: Mapping[str, float]) -> list[Interval]:
    """Means across the seeds of each arm with enough of them, each with its t interval.

    Arguments:
        study: the runs.
        numbers: one number a run, by node name; those that are not finite are left out.

    Returns:
        One mean an arm of `SEEDS` runs or more, named after it.
    """
    known = study.part(n for n in study.runs if math.isfinite(numbers.get(n, math.nan)))
    return [
        t_interval(
            [numbers[name] for name in names],
            level=study.level,
            name=f"mean of {len(names)} seeds at {arm}",
        )
        for arm, names in known.arms.items()
        if len(names) >= SEEDS
    ]


def judge_arms(
    study: Study, numbers: Mapping[str, float], rule: Callable[[float, float], str]
) -> tuple[str, Interval] | None:
    """The verdict of all arms on one number a run, and the mean it hangs on.

    Supported when the rule says so of every arm's interval, contradicted when it says so of one
    arm's at `joint_level`.

    Arguments:
        study: the runs.
        numbers: one number a run, by node name.
        rule: from the ends of an interval to one of the three words.

    Returns:
        Word and mean; None where no arm has enough seeds.
    """
    means = arm_means(study, numbers)
    if not means:
        return None
    wide = arm_means(study.at(joint_level(study.level, len(means))), numbers)
    against = [mean for mean in wide if rule(mean.low, mean.high) == CONTRADICTED]
    if against:
        return CONTRADICTED, _farthest(against)
    words = [rule(mean.low, mean.high) for mean in means]
    word = SUPPORTED if set(words) == {SUPPORTED} else UNDECIDABLE
    return word, _farthest(
        [mean for mean, said in zip(means, words, strict=True) if said == word] or means
    )


def _farthest(means: Sequence[Interval]) -> Interval:
    return max(means, key=lambda mean: mean.farthest)


def decided_by_arms(
    blank: Verdict,
    study: Study,
    word: str,
    mean: Interval,
    *,
    reason: str,
    assumptions: tuple[str, ...],
    needed: str,
) -> Verdict:
    """The verdict that rests on the mean of a logarithm; its effect is the exponential.

    Arguments:
        blank: with the prediction's words.
        study: the runs that were used; those of arms with fewer than `SEEDS` seeds did not enter.
        word: what was decided.
        mean: the logarithm, and its interval, of the arm that decided.
        reason: why, with the numbers.
        assumptions: what the decision takes for granted.
        needed: what would decide it; told only where nothing could be.
    """
    entered, few = entering(study)
    count = len(entered.arms)
    joint = word == CONTRADICTED and count > 1
    which = "both" if count == 2 else f"all {count}"
    told = [f"the interval holds together with those of {which} arms"] if joint else []
    return blank.decided(
        word,
        mean.mapped(math.exp),
        reason=reason,
        needed=needed,
        sample=entered.sample,
        assumptions=(*assumptions, *told, *few),
    )


def entering(study: Study) -> tuple[Study, tuple[str, ...]]:
    """The runs that enter means across seeds, of arms with `SEEDS`; and a note on the others."""
    entered = study.of_arms()
    return entered, left_out(study, entered, f"their arms have fewer than {SEEDS} seeds")


def named(mean: Interval, show: Callable[[float], float] = float) -> str:
    """A mean with its interval and whose it is, on a scale of choice."""
    return f"{mean.mapped(show)} ({mean.name})"


def few_seeds(study: Study, what: str) -> Missing:
    """That no arm has enough seeds with a usable number."""
    most = max(map(study.seeds, study.arms), default=0)
    return Missing(
        f"The seeds are the sample, and no arm has {SEEDS} with {what} "
        f"({plural(most, 'seed')} at most).",
        f"{SEEDS} seeds or more at one batch size, with {what}",
    )


def left_out(study: Study, kept: Study, why: str) -> tuple[str, ...]:
    """A note on the runs that were left out, where there are any."""
    count = len(study.runs) - len(kept.runs)
    return (f"{plural(count, 'run')} left out: {why}",) if count else ()
