"""A verdict on one prediction: a word, and what it rests on."""

import math
from dataclasses import dataclass, replace

from ultraslow.analysis.intervals import NOT_APPLICABLE, UNDECIDABLE, Interval
from ultraslow.analysis.runs import Span
from ultraslow.analysis.study import Missing, Sample
from ultraslow.analysis.text import percent
from ultraslow.diffusion.predictions import PREDICTIONS


@dataclass(frozen=True)
class Verdict:
    """One prediction, decided or not.

    Attributes:
        prediction: its number, P1 to P10.
        statement: what it claims.
        verdict: one of `VERDICTS`.
        effect: the effect that decides.
        effect_low: lower end of its interval.
        effect_high: upper end of its interval.
        effect_meaning: what the effect is, and for which part of the sample.
        effect_level: confidence level of its interval, where a rule shares or splits the error;
            NaN for that of the study.
        null: the values of the effect at which the prediction holds, (lowest, highest); NaN where
            the rule is about more than one number.
        span: first and last iteration that it speaks of; NaN where nothing was measured.
        have: how much there is of what is missing; NaN where nothing can be counted.
        need: how much of it would decide.
        unit: of `have` and `need`: "seeds", "decades", "iterations", "checkpoints".
        sample: what it rests on.
        assumptions: conditions that were checked, with what was found.
        reason: why this verdict, in one sentence.
        needed: what would decide it; empty when it is decided.
        brief: what was found in a sentence or two, where that is not how the reason begins.
        about: the arms that the word is about, in words, where they are not all; else empty.
        law: the law that P1 found in place of log t; empty for log t and for none.
    """

    prediction: str
    statement: str
    verdict: str
    reason: str
    effect_meaning: str
    effect: float = math.nan
    effect_low: float = math.nan
    effect_high: float = math.nan
    null: tuple[float, float] = (math.nan, math.nan)
    span: Span = (math.nan, math.nan)
    have: float = math.nan
    need: float = math.nan
    unit: str = ""
    sample: Sample = Sample()
    assumptions: tuple[str, ...] = ()
    needed: str = ""
    brief: str = ""
    about: str = ""
    law: str = ""
    effect_level: float = math.nan

    def lacking(self, missing: Missing, sample: Sample) -> "Verdict":
        """The verdict that nothing can be decided about a sample, and why."""
        return replace(
            self,
            verdict=UNDECIDABLE,
            reason=missing.reason,
            needed=missing.needed,
            have=missing.have,
            need=missing.need,
            unit=missing.unit,
            sample=sample,
        )

    def not_applicable(
        self, reason: str, sample: Sample, *, span: Span = (math.nan, math.nan)
    ) -> "Verdict":
        """The verdict that what is asked does not arise here, and why; nothing would change it."""
        return replace(self, verdict=NOT_APPLICABLE, reason=reason, sample=sample, span=span)

    def decided(
        self,
        word: str,
        effect: Interval,
        *,
        reason: str,
        needed: str,
        meaning: str = "",
        sample: Sample | None = None,
        assumptions: tuple[str, ...] | None = None,
        null: tuple[float, float] | None = None,
        span: Span | None = None,
        level: float = math.nan,
        have: float = math.nan,
        need: float = math.nan,
        unit: str = "",
    ) -> "Verdict":
        """The verdict that rests on an estimate.

        Arguments:
            word: what was decided, one of `VERDICTS`.
            effect: the estimate with its interval.
            reason: why, with the numbers.
            needed: what would decide it; told only where nothing could be.
            meaning: what the effect is, where that is more than was asked.
            sample: what it rests on; as it was by default.
            assumptions: what it takes for granted; as they were by default.
            null: the values of the effect at which the prediction holds; as they were by default.
            span: first and last iteration that it speaks of; as it was by default.
            level: confidence level of the effect's interval; that of the study by default.
            have: how much there is of what is missing; told only where nothing could be decided.
            need: how much of it would decide.
            unit: of both.
        """
        undecided = word == UNDECIDABLE
        return replace(
            self,
            verdict=word,
            reason=reason,
            effect_meaning=meaning or self.effect_meaning,
            effect=effect.value,
            effect_low=effect.low,
            effect_high=effect.high,
            sample=self.sample if sample is None else sample,
            assumptions=self.assumptions if assumptions is None else assumptions,
            needed=needed if undecided else "",
            have=have if undecided else math.nan,
            need=need if undecided else math.nan,
            unit=unit if undecided else "",
            null=self.null if null is None else null,
            span=self.span if span is None else span,
            effect_level=level,
        )

    def told_at(self, usual: float) -> "Verdict":
        """The verdict with the level of its interval in words, where that is not the usual one."""
        if not abs(self.effect_level - usual) > _ROUNDING:
            return self
        meaning = f"{self.effect_meaning}; {percent(self.effect_level, 1)} interval"
        return replace(self, effect_meaning=meaning)


_ROUNDING = 1e-9


def question(prediction: str, effect_meaning: str) -> Verdict:
    """The prediction before anything is known: undecidable, without an estimate.

    Arguments:
        prediction: its number, as in `diffusion.predictions.PREDICTIONS`.
        effect_meaning: what its effect is.

    Returns:
        A verdict to be filled in.
    """
    statement = PREDICTIONS[prediction].statement
    return Verdict(prediction, statement, UNDECIDABLE, "", effect_meaning)
