"""A verdict on one prediction: one of three words, and what it rests on."""

from dataclasses import dataclass

from ultraslow.analysis.intervals import UNDECIDABLE
from ultraslow.diffusion.predictions import PREDICTIONS


@dataclass(frozen=True)
class Sample:
    """What a verdict rests on.

    Attributes:
        runs: runs that entered.
        seeds: fewest seeds in an arm.
        batch_sizes: batch sizes M that entered, in order.
    """

    runs: int = 0
    seeds: int = 0
    batch_sizes: tuple[int, ...] = ()


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
