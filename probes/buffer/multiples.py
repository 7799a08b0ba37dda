"""What gradients were multiplied by between their passes and the step, where that is no clipping.

A loop may divide the gradients by the number of passes, or undo a static scale of the loss. The
optimizer then finds m·c times what the passes have left, the multiple m and c ≤ 1 of clipping. The
product alone is seen. What tells m is that it stays: clipping by the norm multiplies by another
number whenever the norm is another, so a factor that comes again with another norm is no clipping;
as c ≤ 1 it is the largest of all. Some numbers are known at sight, as clipping hits them in one of
ten million updates: one over the number of passes, powers of two and, while nothing speaks against
it, numbers of two digits.

The multiple may be another one at each update, as where losses are summed over tokens and their
gradients divided by how many there were. Clipping by the norm leaves the same norm, whatever the
factor; where factors and norms both change, and none was ever 1, it is a multiple. So is what is
larger than any clipping can be: above 1, or above the multiple that is known. Where the gradient
was changed a second time, some of it may be clipping's, and neither is known. Nor is what a factor
below 1/200 is, until some have told.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

# A gradient that is multiplied by a number differs from the product by rounding only: of squared
# norms in single precision that leaves 10⁻⁸.
_SAME = 1e-7
# Relative difference of squared norms from which on they are not one norm that was read twice.
_OTHER_NORM = 1e-5
_ROUNDED = 1.0001  # of larger tensors, or in low precision
# Below this factor clipping is rare.
SHRUNK = 1 / 200
_SHARE = "1/n"
# Updates after which a multiple is sure although others were multiplied by more, and pairs of
# updates that tell clipping from multiples.
_SURE = 3
_DIGITS = 100
# Factors, and squared norms, that differ by less are taken for equal ones where clipping is looked
# for: low precision rounds as much.
_LIKE = 0.02
# So many multiples are remembered; a scale that changes has had others before.
_KEPT = 8


class Found(NamedTuple):
    """What is known of an update.

    Arguments:
        multiple: m; NaN where it is not known and the update is to be left out.
        sure: whether m is a multiple that was found, and not 1 for want of any.
        earlier: updates before the first such one that were taken for clipped ones.
        varies: whether it is another one than before, and known of this update alone.
    """

    multiple: float
    sure: bool = False
    earlier: int = 0
    varies: bool = False


@dataclass(frozen=True)
class Multiples:
    """What earlier updates have shown.

    Arguments:
        known: updates by the number that their gradients were multiplied by, the last one last;
            "1/n" is one over the number of passes on a process.
        undivided: whether gradients were multiplied by more than one over that number.
        clipped: updates that were taken for clipped ones while it was not known.
        largest: the largest factor that was none of the known.
        largest_sq: the squared norm of the gradient that had it.
        last: the last factor.
        last_sq: the squared norm of its gradient.
        unchanged: whether a gradient was left as it was, so that others were clipped.
        again: updates whose multiple was one of those before.
        varied: pairs of updates in a row whose factors differ, and their norms after it as well.
        steady: those whose norms after it are the same, as clipping leaves them.
        most_sq: the largest squared norm after it.
    """

    known: Mapping[str, int] = field(default_factory=dict)
    undivided: bool = False
    clipped: int = 0
    largest: float = 0.0
    largest_sq: float = math.nan
    last: float = 0.0
    last_sq: float = math.nan
    unchanged: bool = False
    again: int = 0
    varied: int = 0
    steady: int = 0
    most_sq: float = 0.0

    @property
    def varies(self) -> bool:
        """Whether gradients are multiplied by another number at each update.

        Beside an update that was not clipped, where the multiple is constant, are two pairs that
        differ.
        """
        alike = self.steady + 3 * self.again
        return not self.unchanged and self.varied >= _SURE and self.varied > alike

    def after(
        self, factor: float, *, share: float, changed: float, norm_sq: float
    ) -> tuple["Multiples", Found]:
        """What is known after one more update, and of it.

        Arguments:
            factor: by which its gradient is multiplied when the optimizer steps; NaN where tensors
                differ in it.
            share: one over the number of passes on a process.
            changed: how often the gradient was changed; NaN where that is not known.
            norm_sq: its squared norm before.
        """
        if not 0 < factor < math.inf:
            return self, Found(self._in_force(share) or 1.0)
        name = "" if self.varies else self._named(factor, share, norm_sq)
        if name:
            return self._met(name, factor, share, norm_sq)
        seen = self._beside(factor, norm_sq)
        if seen.varies:
            return self._with_another(seen, factor, changed)
        multiple = self._in_force(share)
        known = multiple not in (0.0, 1.0)
        if known and factor < multiple * _ROUNDED and not _is_one(factor):
            guessed = not self.again  # one number that has not come again
            return replace(seen, clipped=self.clipped + guessed), Found(multiple, sure=True)
        undivided = self.undivided or (share < 1 and factor > share)
        seen = replace(seen, undivided=undivided)
        if factor > self.largest:
            seen = replace(seen, largest=factor, largest_sq=norm_sq)
        if known and not _is_one(factor):
            seen = replace(seen, varied=seen.varied + _SURE)
        if factor > 1 + _LIKE or (known and not _is_one(factor)):
            found = _another(factor, unclear=changed > 1.5)
            return seen, found._replace(earlier=self.clipped)
        twice = changed > 1.5 and factor < (share if share < 1 else SHRUNK)
        little = factor < SHRUNK and not (seen.steady >= _SURE or seen.unchanged)
        if (twice and not undivided) or little:
            return seen, Found(math.nan)
        return replace(seen, clipped=self.clipped + (factor < 1 - _SAME)), Found(1.0)

    def _beside(self, factor: float, norm_sq: float) -> "Multiples":
        """After an update, by which factors and norms are told apart."""
        used_sq, before_sq = factor**2 * norm_sq, self.last**2 * self.last_sq
        seen = replace(self, last=factor, last_sq=norm_sq, most_sq=max(self.most_sq, used_sq))
        if _is_one(factor):
            return replace(seen, unchanged=True)
        finite = math.isfinite(used_sq + before_sq)
        if not self.last or _is_like(factor, self.last) or not finite:
            return seen
        same = _is_like(used_sq, before_sq)
        return replace(seen, steady=self.steady + same, varied=self.varied + (not same))

    def _with_another(
        self, seen: "Multiples", factor: float, changed: float
    ) -> tuple["Multiples", Found]:
        """After an update whose gradient was multiplied by a number of its own.

        Where some are clipped, those of the largest norm may be.
        """
        used_sq = seen.last**2 * seen.last_sq
        largest = used_sq > self.most_sq or _is_like(used_sq, self.most_sq)
        found = _another(factor, unclear=largest and (changed > 1.5 or self.steady > 0))
        return seen, found._replace(earlier=self.clipped)

    def _met(
        self, name: str, factor: float, share: float, norm_sq: float
    ) -> tuple["Multiples", Found]:
        """After an update whose gradient was multiplied, and not clipped."""
        rest = {key: seen for key, seen in self.known.items() if key != name}
        kept = dict(list(rest.items())[1 - _KEPT :])
        undivided = self.undivided or (share < 1 and factor > share * (1 + _SAME))
        met = {**kept, name: self.known.get(name, 0) + 1}
        again = name in self.known or self._came_before(factor, norm_sq)
        seen = replace(
            self._beside(factor, norm_sq),
            known=met,
            undivided=undivided,
            again=self.again + again,
        )
        multiple = _value(name, share)
        sure = seen._is_sure(name, share)
        return seen, Found(multiple, sure, self.clipped if sure and not self.known else 0)

    def _named(self, factor: float, share: float, norm_sq: float) -> str:
        """The multiple that a factor is, by its name; empty where it may be clipping's."""
        if share < 1 and _same(factor, share):
            return _SHARE
        if _is_one(factor):
            return ""
        for name in self.known:
            if name != _SHARE and _same(factor, float(name)):
                return name
        first = not self.known and self.largest <= factor
        at_sight = _is_power(factor) or _is_power(factor / share)
        again = self._came_before(factor, norm_sq)
        return repr(factor) if at_sight or again or (first and _is_short(factor)) else ""

    def _came_before(self, factor: float, norm_sq: float) -> bool:
        """Whether a gradient of another norm was multiplied by the same."""
        earlier = ((self.largest, self.largest_sq), (self.last, self.last_sq))
        return any(
            _same(factor, one) and abs(norm_sq - sq) > _OTHER_NORM * sq for one, sq in earlier
        )

    def _in_force(self, share: float) -> float:
        """What gradients that were not clipped were multiplied by last; 0 where that is unsure."""
        name = list(self.known)[-1] if self.known else ""
        return _value(name, share) if name and self._is_sure(name, share) else 0.0

    def _is_sure(self, name: str, share: float) -> bool:
        """Whether it was no accident; one hit may be where others were multiplied by more."""
        value = _value(name, share) * (1 + _SAME)
        more = self.undivided if name == _SHARE else self.largest > value
        return self.known[name] >= (_SURE if more else 1)


def _another(factor: float, *, unclear: bool) -> Found:
    """What is known of an update that has a multiple of its own; nothing where that is unclear."""
    return Found(math.nan if unclear else factor, sure=not unclear, varies=True)


def _is_like(one: float, other: float) -> bool:
    return abs(one - other) <= _LIKE * other


def _value(name: str, share: float) -> float:
    return share if name == _SHARE else float(name)


def _same(factor: float, other: float) -> bool:
    return abs(factor - other) < _SAME * other


def _is_one(factor: float) -> bool:
    """Whether gradients were multiplied by nothing but rounding, as sums over processes leave."""
    return 1 / _ROUNDED < factor < _ROUNDED


def _is_power(factor: float) -> bool:
    """Whether a factor is a power of two, by which floating-point numbers are divided exactly."""
    return factor > 0 and _same(factor, 2.0 ** round(math.log2(factor)))


def _is_short(factor: float) -> bool:
    """Whether a factor, or one over it, is a number above 1 of at most two digits."""
    number = max(factor, 1 / factor)
    digits = number / 10.0 ** (math.floor(math.log10(number * (1 + _SAME))) - 1)
    return round(digits) < _DIGITS and _same(digits, round(digits))
