"""A verdict on one prediction: one of three words, and what it rests on."""

from dataclasses import dataclass, replace

from ultraslow.analysis.intervals import UNDECIDABLE, Interval
from ultraslow.analysis.study import Missing, Sample
from ultraslow.diffusion.predictions import PREDICTIONS


@dataclass(frozen=True)
class Verdict:
    """One prediction, decided or not.

    Attributes:
        prediction: its number, P1 to P10.
        statement: what it claims.
        verdict: one of `VERDICTS`.
        effect: the estimated effect size.
        effect_low: lower end of its interval.
        effect_high: upper end of its interval.
        effect_meaning: what the effect is, and for which part of the sample.
        sample: what it rests on.
        assumptions: conditions that were checked, with what was found.
        reason: why this verdict, in one sentence.
        needed: what would decide it; empty when it is decided.
    """

    prediction: str
    statement: str
    verdict: str
    reason: str
    effect_meaning: str
    effect: float = float("nan")
    effect_low: float = float("nan")
    effect_high: float = float("nan")
    sample: Sample = Sample()
    assumptions: tuple[str, ...] = ()
    needed: str = ""

    def lacking(self, missing: Missing, sample: Sample) -> "Verdict":
        """The verdict that nothing can be decided about a sample, and why."""
        return replace(
            self,
            verdict=UNDECIDABLE,
            reason=missing.reason,
            needed=missing.needed,
            sample=sample,
        )

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
        """
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
            needed=needed if word == UNDECIDABLE else "",
        )


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
