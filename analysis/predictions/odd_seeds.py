"""Verdicts beside what they would be without runs unlike all other seeds of their arm."""

import math
from collections.abc import Callable
from dataclasses import replace

from ultraslow.analysis.intervals import UNDECIDABLE, Interval
from ultraslow.analysis.runs import odd_names, traits
from ultraslow.analysis.runs.distinct import copies
from ultraslow.analysis.study import Study
from ultraslow.analysis.text import first_of

from .verdict import Verdict


def naming_odd_runs(verdict: Verdict, study: Study, test: Callable[[Study], Verdict]) -> Verdict:
    """The verdict, which counts odd runs like any other, with their names and what it is without.

    Arguments:
        verdict: on the study.
        study: its runs.
        test: what gave the verdict.

    Returns:
        The verdict itself where no odd run entered it, or nothing was estimated.
    """
    odd = study.odd
    if not odd or math.isnan(verdict.effect):
        return verdict
    apart = {one.node for one in odd}
    apart |= {copy for copy, twin in copies(study.each(traits)).items() if twin in apart}
    without = test(study.part(node for node in study.runs if node not in apart))
    if without.sample.runs == verdict.sample.runs:
        return verdict
    named, it = odd_names(study.runs, odd), "it" if len(odd) == 1 else "them"
    told = f"{first_of([one.said for one in odd])}; without {it}: {_in_words(without)}."
    needed = verdict.needed
    if verdict.verdict == UNDECIDABLE and without.verdict != UNDECIDABLE:
        sets = f"perhaps what sets {named} apart, as without {it} this is {without.verdict}"
        needed = f"{sets}; otherwise {needed}" if needed else sets
    brief = verdict.brief
    if brief and without.verdict != verdict.verdict:
        brief = f"{brief} {told}"
    return replace(verdict, reason=f"{verdict.reason} {told}", needed=needed, brief=brief)


def _in_words(verdict: Verdict) -> str:
    if math.isnan(verdict.effect):
        return verdict.verdict
    return (
        f"{verdict.verdict}, {Interval(verdict.effect, verdict.effect_low, verdict.effect_high)}"
    )
