"""From intervals to a word: what one interval says, and what several say together."""

from collections.abc import Sequence

SUPPORTED, CONTRADICTED, UNDECIDABLE = "supported", "contradicted", "undecidable"
# What is asked does not arise, as what it takes for granted is known to be false here.
NOT_APPLICABLE = "not applicable"
VERDICTS = (SUPPORTED, CONTRADICTED, UNDECIDABLE, NOT_APPLICABLE)


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


def joint_level(level: float, intervals: int) -> float:
    """The level at which so many intervals hold together with the stated probability to spare.

    A verdict from the worst of several intervals needs them to hold jointly; half the error is
    kept back, as t intervals of a few skew numbers are too short in the tail.

    >>> joint_level(0.95, 2)
    0.9875
    """
    return 1 - (1 - level) / (2 * max(intervals, 1))


def overall(words: Sequence[str]) -> str:
    """Contradicted by one, supported by all, else undecidable."""
    if CONTRADICTED in words:
        return CONTRADICTED
    return SUPPORTED if words and set(words) == {SUPPORTED} else UNDECIDABLE
