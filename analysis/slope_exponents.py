"""The exponents of log-slopes b ∝ η^x·M^−y, and how they are told."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .replication import AcrossRuns
from .text import first_of, interval, plural, rounded


@dataclass(frozen=True)
class SlopeLaw:
    """The exponents of b ∝ η^x·M^−y, as far as the arms identify them.

    Attributes:
        rate: x; None where it is not identified.
        size: y; None where it is not identified.
        combined: x·r − y by r, the exponent of M in the log-slopes when η ∝ M^r.
        arms: arms that entered.
        departure: largest relative departure of an arm's mean log-slope from the law; NaN where
            the arms are too few to show one.
        reason: what is not identified and why; empty when x and y are.
        needed: arms or seeds that would identify them; empty likewise.
        left_out: arms that did not enter, each with the reason.
    """

    rate: AcrossRuns | None = None
    size: AcrossRuns | None = None
    combined: Mapping[float, AcrossRuns] | None = None
    arms: int = 0
    departure: float = math.nan
    reason: str = ""
    needed: str = ""
    left_out: tuple[str, ...] = ()

    def text(self, power: float) -> str:
        """In words, with the exponent of M under η ∝ M^power, which a rule says is 0."""
        if not self.left_out:
            return self._found(power)
        return f"{self._found(power)}; left out: {first_of(self.left_out)}"

    def _found(self, power: float) -> str:
        found = {name: one for name, one in (("x", self.rate), ("y", self.size)) if one}
        rules = self.combined or {}
        shown = [r for r in rules if r == power] or list(rules)
        found |= {_combination(r): rules[r] for r in shown}
        lead = "log-slopes b ∝ η^x·M^−y"
        if not found:
            return f"{lead}: x and y not identified, as {self.reason} (would tell: {self.needed})"
        told = ", ".join(f"{name} = {_estimate(one)}" for name, one in found.items())
        wanted = ", where coinciding curves need 0" if power in shown else ""
        rest = f"{lead}: {told}{wanted} ({self._sample()})"
        if not self.reason:
            return rest
        return (
            f"{rest}, x and y not identified apart, as {self.reason} (would tell: {self.needed})"
        )

    def _sample(self) -> str:
        known = [one for one in (self.rate, *(self.combined or {}).values()) if one]
        text = f"mean of {plural(known[0].runs, 'seed')} over {plural(self.arms, 'arm')}"
        if math.isnan(self.departure):
            return text
        return f"{text}, which depart from it by {self.departure:.1%} at most"


def _combination(power: float) -> str:
    """The exponent of M under η ∝ M^power, in symbols.

    >>> _combination(0.5), _combination(1.0), _combination(0.0), _combination(0.25)
    ('x/2 − y', 'x − y', '−y', '0.25·x − y')
    """
    known = {0.5: "x/2 − y", 1.0: "x − y", 0.0: "−y"}
    return known.get(power, f"{rounded(power).rstrip('0')}·x − y")


def _estimate(found: AcrossRuns) -> str:
    return f"{rounded(found.mean)} {interval(found.low, found.high, show=rounded)}"
