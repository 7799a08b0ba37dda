"""A verdict on one prediction, and the rule that turns an interval into one of three words."""

from dataclasses import dataclass

from diffusion.predictions import PREDICTIONS

SUPPORTED, CONTRADICTED, UNDECIDABLE = "supported", "contradicted", "undecidable"
VERDICTS = (SUPPORTED, CONTRADICTED, UNDECIDABLE)


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


def decide(low: float, high: float, margin: float) -> str:
    """The verdict on "the effect is 0" from an interval and an equivalence margin.

    Supported when the interval lies inside (−margin, margin); contradicted when it lies wholly
    beyond the margin on one side; undecidable otherwise. An interval that excludes 0 but reaches
    into the margin decides nothing: the departure is real, but it may be too small to matter. A
    95 % interval makes either wrong verdict at most 2.5 % likely for an effect at the margin, and
    rarer for any other.

    References:
        Schuirmann (1987), Journal of Pharmacokinetics and Biopharmaceutics 15, 657: two one-sided
        tests, the first half of the rule.

    Arguments:
        low: lower end of the interval; −inf and NaN decide nothing.
        high: upper end.
        margin: largest departure that counts as none, positive.

    Returns:
        One of `VERDICTS`.

    >>> decide(-0.02, 0.03, 0.05), decide(0.1, 0.3, 0.05), decide(0.01, 0.3, 0.05)
    ('supported', 'contradicted', 'undecidable')
    """
    if -margin < low and high < margin:
        return SUPPORTED
    if low > margin or high < -margin:
        return CONTRADICTED
    return UNDECIDABLE
