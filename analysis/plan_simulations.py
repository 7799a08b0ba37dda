"""What a plan is asked, and the simulated sets of runs that answer it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diffusion.schedule import log_spaced

from .design_power import Shares, exponents, simulated, verdict_shares
from .exponent_rule import MARGIN
from .growth_family import EXPONENT_HIGH, EXPONENT_LOW
from .pilot import Pilot

Array = NDArray[np.float64]

DRAWS = (100, 10_000)  # fewest and most: beyond, shares are vague, or wait for hours


@dataclass(frozen=True)
class Question:
    """What is to be told apart, and how surely.

    Attributes:
        exponent: p of the power law to tell from the logarithm.
        power: probability with which it shall be told.
        level: confidence level of the test.
        draws: series simulated for each law and length.
    """

    exponent: float
    power: float = 0.8
    level: float = 0.95
    draws: int = 400


def check(question: Question) -> None:
    """Refuse what cannot be answered.

    Raises:
        ValueError: when the exponent counts as log growth or lies beyond those that are fitted, or
            a number is out of range.
    """
    if not (math.isfinite(question.exponent) and abs(question.exponent) > MARGIN):
        raise ValueError(
            f"exponent: found {question.exponent}, expected a number beyond ±{MARGIN:g}, within "
            "which verdicts take growth for that of log t"
        )
    if not EXPONENT_LOW < question.exponent < EXPONENT_HIGH:
        raise ValueError(
            f"exponent: found {question.exponent:g}, expected a number between {EXPONENT_LOW:g} "
            f"and {EXPONENT_HIGH:g}, among which fits look for theirs"
        )
    for name, value in (("power", question.power), ("level", question.level)):
        if not 0.5 <= value < 1:
            raise ValueError(f"{name}: found {value}, expected a number from 0.5 to 1")
    if not DRAWS[0] <= question.draws <= DRAWS[1]:
        raise ValueError(f"draws: found {question.draws}, expected {DRAWS[0]} to {DRAWS[1]}")


def record_times(last: int, *, per_decade: int = 25) -> Array:
    """Iterations t ≥ 1 that the default schedule records."""
    return log_spaced(last, per_decade=per_decade)[1:].astype(np.float64)


class Simulations:
    """How often sets of runs of a length come out how; each length is simulated once."""

    def __init__(
        self,
        question: Question,
        of: Pilot,
        rng: np.random.Generator,
        advance: Callable[[], None] | None,
    ) -> None:
        self._question, self._of, self._rng, self._advance = question, of, rng, advance
        self._fitted: dict[int, list[Array]] = {}

    def power(self, seeds: int, last: int) -> float:
        """Share of sets of so many seeds of this length that contradict under the power law."""
        return self.shares(seeds, last)[0].contradicted

    def shares(self, seeds: int, last: int) -> list[Shares]:
        """Of the power law, the log law, and the log law of onset 0."""
        level, spread = self._question.level, self._of.seed_spread
        # The same draws for every length, so that power rises smoothly with it.
        return [
            verdict_shares(fitted, seeds, spread=spread, level=level, rng=np.random.default_rng(0))
            for fitted in self._of_several(last)
        ]

    def lengths(self) -> list[int]:
        """Last iterations that were simulated, in order."""
        return sorted(self._fitted)

    def _of_several(self, last: int) -> list[Array]:
        """Fitted exponents under each law."""
        if last not in self._fitted:
            of, at_once = self._of, replace(self._of, onset=0.0)
            found = [self._fits(of, last, self._question.exponent), self._fits(of, last, 0.0)]
            found.append(self._fits(at_once, last, 0.0) if of.onset else found[1])
            self._fitted[last] = found
            if self._advance is not None:
                self._advance()
        return self._fitted[last]

    def _fits(self, of: Pilot, last: int, exponent: float) -> Array:
        draws, times = self._question.draws, record_times(last)
        return exponents(simulated(of, times, exponent, draws=draws, rng=self._rng))
