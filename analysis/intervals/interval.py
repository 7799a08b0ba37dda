"""An estimate with its interval, Student's quantile, and the ratio of two means."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from numbers import Real

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ultraslow.analysis.text import interval, rounded

Array = NDArray[np.float64]

LEVELS = 0.8, 0.99  # of confidence


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval.

    Attributes:
        value: the estimate; NaN where there is none.
        low: lower end; −inf, or the least possible value, where nothing bounds it.
        high: upper end; +inf where nothing bounds it.
        n: size of the sample behind it: runs, seeds, pairs or blocks.
        name: whose it is, in words.
        reason: why it is unbounded or to be read with care; empty otherwise.
    """

    value: float
    low: float
    high: float
    n: int = 0
    name: str = ""
    reason: str = ""

    @classmethod
    def around(
        cls, value: float, half: float, *, n: int = 0, name: str = "", reason: str = ""
    ) -> "Interval":
        """The interval value ± half.

        >>> print(Interval.around(1.0, 0.5))
        1.000 [0.500, 1.500]
        """
        return cls(value, value - half, value + half, n, name, reason)

    def __str__(self) -> str:
        return f"{rounded(self.value)} {self.ends(rounded)}"

    def ends(self, show: Callable[[float], str] = rounded) -> str:
        """The interval in brackets, without the estimate.

        >>> Interval(0.5, -math.inf, 1.0).ends()
        '(−∞, 1.000]'
        """
        return interval(self.low, self.high, show=show)

    @property
    def farthest(self) -> float:
        """Distance from 0 of the end that is farther from it.

        >>> Interval(0.1, -0.2, 0.4).farthest
        0.4
        """
        return max(abs(self.low), abs(self.high))

    def contains(self, number: float) -> bool:
        """Whether a number lies in the interval, its ends among them.

        >>> Interval(0.1, -0.2, 0.4).contains(0.0), Interval(0.1, -0.2, 0.4).contains(0.5)
        (True, False)
        """
        return self.low <= number <= self.high

    def mapped(self, function: Callable[[float], float]) -> "Interval":
        """The interval of a monotone function of what is estimated; a falling one swaps the ends.

        >>> print(Interval(0.0, -math.inf, 1.0).mapped(math.exp))
        1.000 [0.000, 2.718]
        >>> print(Interval(2.0, 1.0, 4.0).mapped(lambda x: 1 / x))
        0.500 [0.250, 1.000]
        """
        low, high = function(self.low), function(self.high)
        low, high = (low, high) if not low > high else (high, low)
        return replace(self, value=function(self.value), low=low, high=high)


def check_level(level: float) -> None:
    """Refuse a level at which intervals are not known to hold.

    Raises:
        ValueError: when it is no number from 0.8 to 0.99.

    >>> check_level(95)
    Traceback (most recent call last):
    ValueError: level: found 95, expected a number from 0.8 to 0.99
    """
    if not (isinstance(level, Real) and LEVELS[0] <= level <= LEVELS[1]):
        raise ValueError(
            f"level: found {level!r}, expected a number from {LEVELS[0]} to {LEVELS[1]}"
        )


@lru_cache(maxsize=1024)
def t_quantile(freedom: float, level: float) -> float:
    """Half the length of Student's interval, in standard errors: t_ν at (1 + level)/2.

    Arguments:
        freedom: ν, degrees of freedom.
        level: confidence level of the two-sided interval.

    Returns:
        The quantile.

    >>> round(t_quantile(4, 0.95), 3)
    2.776
    """
    return float(stdtrit(freedom, 0.5 + level / 2))


def fieller(
    numerator: float,
    denominator: float,
    covariance: Array,
    *,
    n: int,
    level: float,
    positive: bool = False,
    name: str = "",
) -> Interval:
    """Ratio of two means with Fieller's interval.

    {θ : (x̄ − θȳ)² ≤ t²_{n−1}·(V_x − 2θC + θ²V_y)}: the ratios that a t test of x̄ − θȳ = 0 does
    not reject. It is unbounded where ȳ is not told from 0, or lies below it.

    References:
        Fieller (1954), Journal of the Royal Statistical Society B 16, 175.

    Arguments:
        numerator: x̄.
        denominator: ȳ, the mean of what is positive.
        covariance: of the two means, the numerator first: [[V_x, C], [C, V_y]].
        n: size of the sample behind the covariance.
        level: confidence level.
        positive: whether the ratio is known not to lie below 0; where ȳ is not told from 0 and x̄
            is, the set of ratios then has a lower end.
        name: whose ratio it is, in words.

    Returns:
        The ratio; NaN for a denominator of 0, and below 0 where the ratio is positive.

    >>> print(fieller(6.0, 3.0, np.diag([0.04, 0.01]), n=10, level=0.95))
    2.000 [1.797, 2.226]
    """
    t = t_quantile(n - 1, level)
    (vx, _), (cov, vy) = covariance.tolist()
    quadratic = denominator**2 - t**2 * vy
    linear = numerator * denominator - t**2 * cov
    constant = numerator**2 - t**2 * vx
    root = math.sqrt(max(linear**2 - quadratic * constant, 0.0))
    least = 0.0 if positive else -math.inf
    known = denominator > 0 if positive else denominator != 0
    ratio = max(numerator, least) / denominator if known else math.nan
    if quadratic > 0 and denominator > 0:
        low, high = (linear - root) / quadratic, (linear + root) / quadratic
        return Interval(ratio, max(low, least), max(high, least), n, name)
    if positive and constant > 0 and quadratic < 0:
        # The set is all ratios above the positive root and below the negative one.
        least = max((linear - root) / quadratic, 0.0)
    reason = "the denominator cannot be told from 0"
    return Interval(ratio, least, math.inf, n, name, reason)
