"""P1's rule, on recordings and in plans alike: which fits may speak, and what they tell."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import xarray as xr

from ultraslow.analysis.intervals import CONTRADICTED, Interval, decide, joint_level
from ultraslow.analysis.text import number, plural

DECADES = 2.5
# More reasons than this make the sentence unreadable.
_REASONS = 3
# Runs that are named one by one; of more their number is told.
_NAMED = 4
# Statuses of a fit whose exponent is no estimate, as p̂ is off to one side. In simulated runs of
# a true logarithm whose noise is a fifth of the growth, p̂ is −0.9 ± 0.9 where the signal is weak
# and −0.7 ± 0.8 where the interval has no end; with an onset at its latest it is −0.4 where p is
# 0.25. A spread between seeds does not show this. A change of the rate changes the law. Residuals
# that wander stay: p̂ is as near to p as elsewhere, and its interval allows for the wandering.
DISQUALIFYING = ("weak_signal", "rate_changed", "p_unbounded", "onset_edge")
_VAGUE = ("weak_signal", "p_unbounded")
# A law of exponent 0.05 differs from the logarithm by 12 % of D one decade beyond three decades of
# data; below that, records of a few decades and per-cent noise cannot tell them apart.
MARGIN = 0.05

# The smallest exponent told from 0 with 80 % power is 1.96 + 0.84 standard errors.
DETECTABLE = 2.8

Found = TypeVar("Found", bound=Interval)


def usable(fits: xr.Dataset) -> tuple[list[str], dict[str, str]]:
    """Nodes whose fit can speak on P1, and why the others cannot.

    Before its onset τ a law is a straight line whatever its exponent. A run that has not gone on
    for `DECADES` beyond it shows the end of its first phase and not yet its law.
    """
    kept: list[str] = []
    left_out: dict[str, str] = {}
    for node in fits["node"].values.tolist():
        fit = fits.sel(node=node)
        why = _shortcoming(fit)
        if why:
            left_out[_unused_name(str(fit["run"].values)[:80], left_out)] = why
        else:
            kept.append(node)
    return kept, left_out


def _unused_name(run: str, left_out: dict[str, str]) -> str:
    """The run's name, told apart from runs of the same name."""
    return run if run not in left_out else f"{run} ({len(left_out) + 1})"


def _shortcoming(fit: xr.Dataset) -> str:
    decades, grown = float(fit["decades"]), float(fit["grown_decades"])
    if not float(fit["last"]) > 0:
        return str(fit["reason"].values) or "no phase of constant learning rate"
    if decades < DECADES:
        return f"{decades:.2f} decades of constant learning rate, {DECADES} needed"
    if not math.isfinite(float(fit["exponent"])) or str(fit["status"].values) in DISQUALIFYING:
        return str(fit["reason"].values)
    if grown < DECADES:
        onset = number(round(float(fit["onset"])))
        seen = math.floor(100 * grown) / 100  # 2.496 are not 2.50
        return f"growth sets in at iteration {onset}: {seen:.2f} decades of it, {DECADES} needed"
    return ""


def mostly_left_out(left_out: dict[str, str], total: int) -> str:
    """Why too few runs can be used, each reason once with the number of its runs."""
    kept = total - len(left_out)
    share = f"Only {kept} of {total} runs can be used" if kept else _none_of(total)
    reasons = Counter(left_out.values()).most_common()
    if len(reasons) == 1:
        return f"{share}: {reasons[0][0]}."
    listed = [f"{why} ({plural(count, 'run')})" for why, count in reasons[:_REASONS]]
    more = sum(count for _, count in reasons[_REASONS:])
    listed += [f"others in the JSON file ({plural(more, 'run')})"] if more else []
    return f"{share}: {'; '.join(listed)}."


def told_apart(left_out: dict[str, str]) -> list[str]:
    """Runs that were left out beside others that were not: each by name, or many by their number.

    >>> told_apart({"a": "too short"})
    ['left out a: too short']
    """
    if len(left_out) <= _NAMED:
        return [f"left out {run}: {why}" for run, why in left_out.items()]
    reasons = Counter(left_out.values()).most_common()
    listed = [f"left out {plural(count, 'run')}: {why}" for why, count in reasons[:_NAMED]]
    more = sum(count for _, count in reasons[_NAMED:])
    return [*listed, f"left out {plural(more, 'run')} for other reasons"] if more else listed


def _none_of(total: int) -> str:
    return "The run cannot be used" if total == 1 else f"None of the {total} runs can be used"


def shortage(fits: xr.Dataset) -> str:
    """What to do, in plain words: mostly, until which iteration to train on."""
    if not (fits["last"] > 0).any():
        return "recordings that hold the learning rate: nothing else says where it was constant"
    onset = fits["onset"].fillna(0.0)
    # The run that sets in last has to go on longest.
    last = float(((fits["first"].clip(min=1) + onset) * 10**DECADES - onset).max())
    reached = int(fits["last"].max())
    weak = int(fits["status"].isin(_VAGUE).sum())
    if 2 * weak > fits.sizes["node"]:
        return "distances that grow clear of their noise: longer runs, or windows of more records"
    if last <= int(fits["last"].min()):
        return f"more records in the phase of constant learning rate, up to iteration {reached}"
    target = number(float(f"{last:.2g}"))
    return (
        f"training on at the same constant learning rate until iteration {target} or later; it "
        f"was constant up to iteration {number(reached)}, and the law shows only in {DECADES:g} "
        f"decades after the onset of growth{_onset(fits)}"
    )


def _onset(fits: xr.Dataset) -> str:
    """Where growth set in at the latest, and whether that is only a bound."""
    latest = float(fits["onset"].max())
    if not math.isfinite(latest):
        return ""
    bound = " or later, the latest allowed" if (fits["status"] == "onset_edge").any() else ""
    return f", fitted at iteration {number(round(latest))}{bound}"


def judged(
    at: Callable[[float], Sequence[Found]], *, level: float, margin: float = MARGIN
) -> tuple[Sequence[Found], list[str]]:
    """The intervals that decide, and the word of each.

    Where one lies wholly beyond the margin all are taken anew, at the level at which they hold
    jointly: a verdict for all arms from the worst of them needs that. The exponents of noisy runs
    are skew, and t intervals of a few of them too short in the tail: with the error halved,
    simulated sets are contradicted wrongly in less than 2 %.

    Arguments:
        at: from a confidence level to the intervals of all exponents.
        level: confidence level.
        margin: largest |p| that counts as log growth.

    Returns:
        The intervals, and as many words; `decision.overall` makes one word of these.
    """
    intervals = at(level)
    words = [decide(item.low, item.high, margin) for item in intervals]
    if CONTRADICTED not in words:
        return intervals, words
    wide = at(joint_level(level, len(intervals)))
    return wide, [decide(item.low, item.high, margin) for item in wide]


def too_few(kept: int, left_out: int) -> bool:
    """Whether so many runs had to be left out that the rest say nothing of the set."""
    return kept < max(left_out, 1)
