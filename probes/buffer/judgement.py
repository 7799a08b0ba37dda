"""What the units of each update hold, as far as that is determined.

An update is judged by what was declared of it, else by the rows of the model's inputs where these
have been found to count samples, else by its number of units beside those of the updates before.
What gradients were divided by shows nowhere: losses of an update that is cut short may be divided
by its own number of units or by the usual one, which differ by its square in the estimates. Such
an update is left out of the noise and counted. Updates are judged in their order, one by one, so
that flushes and interruptions do not matter.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .multiples import SHRUNK, Found, Multiples
from .units import UNIT_COLUMNS, UnitShares
from .window import Updates

Array = NDArray[np.float64]
_NAN = float("nan")
# So many updates of one number of units are no accident: the batch has grown, or shrunk.
_STRETCH = 8
_ROUNDING = 1e-6
_GROWN = 1.0001  # rounding explains less
_LOW_PRECISION = 1.1  # what adding in low precision may do to a squared norm
_CHANGES = UNIT_COLUMNS.index("changes")
_OF_SAMPLES = {"more", "rows", "one"}  # what is told also where noise is not measured

_DECLARE = (
    "declare each unit before its backward pass with Recorder.unit(size=its samples, weight=what "
    "the gradient of its mean loss is multiplied by)"
)


@dataclass(frozen=True)
class UnitHistory:
    """What earlier updates have shown of units.

    Arguments:
        processes: that train together; with others all begins anew.
        counts: updates by their number of units.
        last: the number of units of the last update.
        stretch: how many updates have had that number in a row.
        measure: what counts samples, "rows" or "tokens"; empty while it is not known.
        unit_rows: rows of a unit in the last update.
        unit_tokens: tokens of a unit in the last update.
        doubted: whether an update had rows of which the batch size is a multiple, or the reverse.
        varied: whether rows have differed among units, while nothing counts samples.
        exceeded: whether rows were more than the batch size, while nothing counts samples.
        largest: most samples of an update.
        smallest: fewest.
        multiples: what gradients were multiplied by before the step.
        shrunk: updates in a row whose gradients shrank more than clipping makes them.
    """

    processes: int = 1
    counts: Mapping[str, int] = field(default_factory=dict)
    last: float = 0.0
    stretch: int = 0
    measure: str = ""
    unit_rows: float = 0.0
    unit_tokens: float = 0.0
    doubted: bool = False
    varied: bool = False
    exceeded: bool = False
    largest: float = 0.0
    smallest: float = math.inf
    multiples: Multiples = field(default_factory=Multiples)
    shrunk: int = 0

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "UnitHistory":
        """What was known, of dictionaries; those of earlier versions tell less of multiples."""
        told = dict(plain)
        divided, smaller = told.pop("divided", 0), told.pop("smaller", 0)
        undivided = told.pop("undivided", False)
        known = {"1/n": divided} if divided else {}
        multiples = Multiples(
            **told.pop("multiples", {"known": known, "undivided": undivided, "clipped": smaller})
        )
        return cls(**told, multiples=multiples)

    @property
    def usual(self) -> float:
        """The commonest number of units, of equally common ones the largest; 0 for none."""
        pairs = ((seen, float(units)) for units, seen in self.counts.items())
        return max(pairs, default=(0, 0.0))[1]

    def with_update(self, units: float) -> "UnitHistory":
        """What is known after one more update."""
        key = f"{units:g}"
        counts = {**self.counts, key: self.counts.get(key, 0) + 1}
        stretch = self.stretch + 1 if units == self.last else 1
        return replace(self, counts=counts, last=units, stretch=stretch)


class _Units(NamedTuple):
    """What is determined of an update's units: A, u, v, samples; else why it is left out."""

    samples: float
    share: float = _NAN
    u: float = _NAN
    v: float = _NAN
    reason: str = ""
    told: str = ""


class Judge:
    """Judges updates in their order."""

    def __init__(
        self, history: UnitHistory, *, batch_size: int, processes: int, noise: bool = True
    ) -> None:
        """Go on after earlier updates.

        Arguments:
            history: of them.
            batch_size: samples in an update, M; the most of them where it varies.
            processes: that train together.
            noise: whether it is measured; else samples are all there is to judge.
        """
        fresh = UnitHistory(processes)
        self.history = history if history.processes == processes else fresh
        self._batch_size = float(batch_size)
        self._noise = noise
        self._given: set[str] = set()
        self._told: list[str] = []

    def judge(self, updates: Updates) -> Updates:
        """Updates with what is determined of their units."""
        if not len(updates):
            return updates
        factors, unknown = self._divisions(updates)
        units = [self._of(UnitShares(*row)) for row in updates.sums.tolist()]
        samples, share, u, v = np.array([one[:4] for one in units]).T
        squares = np.where(unknown, _NAN, factors)[:, None] ** 2
        judged = replace(
            updates,
            unit_sq=updates.unit_sq * squares,
            total_sq=updates.total_sq * squares,
            clip_factor=self._clip_factors(np.where(unknown, _NAN, updates.clip_factor) / factors),
            samples=samples,
            share=share,
            u=u,
            v=v,
            left_out=np.array([bool(one.reason) for one in units]) | unknown,
        )
        return self._without_strangers(judged)

    def at_end(self) -> str:
        """What there is to warn of when no more updates come; empty for nothing."""
        most = self.history.largest
        varies = self.history.smallest < most
        if varies or not 0 < most < self._batch_size or "rows" in self._given:
            return ""
        return f"batch_size is {self._batch_size:g}, but no update held more than {most:g} samples"

    def told(self) -> list[str]:
        """What there is to warn of since the last call, of each kind once."""
        told, self._told = self._told, []
        return told

    def _tell(self, kind: str, text: str) -> None:
        if text and kind not in self._given and (self._noise or kind in _OF_SAMPLES):
            self._given.add(kind)
            self._told.append(text)

    def _of(self, sums: UnitShares) -> _Units:
        """Judge an update, and remember it."""
        found = self._judged(sums)
        if found.reason:
            self._tell(found.reason, found.told)
        known = self.history
        self.history = replace(
            known,
            largest=max(known.largest, found.samples),
            smallest=min(known.smallest, found.samples),
        )
        return found

    def _judged(self, sums: UnitShares) -> _Units:
        n, whole = sums.units, self._batch_size
        if not n > 0:  # nothing was seen, or the probe failed
            return _Units(sums.samples or whole)
        self.history = self.history.with_update(n)
        if sums.sized:
            found = self._declared(sums)
        else:
            changed = self._learn_measure(sums)
            measured = self.history.measure and np.isfinite(getattr(sums, self.history.measure))
            found = self._seen(sums) if measured else self._counted(sums, changed)
            if sums.joint and not found.reason:
                found = _left_out(found.samples, "joint", _JOINT)
        if found.reason and n == 1:  # of one unit no noise could be told anyway
            return found._replace(reason="", u=1.0, v=_NAN, share=1.0)
        return found

    def _learn_measure(self, sums: UnitShares) -> bool:
        """Whether rows or tokens of the inputs count samples, as they add up to the batch size.

        Where the one is a multiple of the other, update by update of like units, the batch size
        may be meant as the largest, or be a mistake. What varies and was more than the batch size
        is equal to it by accident, as nodes of graphs may be.

        Returns:
            Whether units differ in their tokens, among each other or from those before.
        """
        known, whole = self.history, self._batch_size
        if known.measure or not np.isfinite(sums.rows):
            return False
        rows, unit_rows, unit_tokens = sums.rows, sums.rows / sums.units, sums.tokens / sums.units
        like = known.unit_rows in (0.0, unit_rows)
        even = _even(sums, "rows")
        measure = ""
        if rows == whole:
            measure = "" if known.varied and known.exceeded else "rows"
        elif not known.varied and abs(sums.tokens - whole) < 0.01 * whole:
            measure = "tokens"  # texts are often shifted by one token
        doubted = known.doubted or (
            like and even and not known.varied and not (whole % rows and rows % whole)
        )
        self.history = replace(
            known,
            measure=measure,
            unit_rows=unit_rows,
            unit_tokens=unit_tokens,
            doubted=doubted,
            varied=known.varied or not (measure or (even and like)),
            exceeded=known.exceeded or (rows > whole and not measure),
        )
        return not (_even(sums, "tokens") and known.unit_tokens in (0.0, unit_tokens))

    def _declared(self, sums: UnitShares) -> _Units:
        n = sums.units
        if sums.sized != n or not np.isfinite(sums.weight_sq):
            # Of another number than was seen its own process has told.
            return _left_out(sums.samples * n / sums.sized, "some", _SOME * (sums.sized != n))
        if sums.samples > self._batch_size * (1 + _ROUNDING):
            told = f"batch_size is {self._batch_size:g}, but the declared units hold "
            self._tell("more", f"{told}{sums.samples:g} samples; give the most that an update has")
        if sums.weighted == n:
            weights = (sums.share, sums.weight_sq, sums.weight_sq_over_size)
            return _Units(sums.samples, *weights)
        if not self._regular(sums.samples):
            return _left_out(sums.samples, "short", self._short(n))
        return _Units(sums.samples, 1.0, sums.weight_sq / n**2, sums.weight_sq_over_size / n**2)

    def _seen(self, sums: UnitShares) -> _Units:
        """Equal units of as many samples as there were rows, or tokens, in the inputs."""
        samples = getattr(sums, self.history.measure)
        if not self._regular(samples):
            return _left_out(samples, "short", self._short(sums.units))
        if not _even(sums, self.history.measure):
            told = (
                f"an update of {samples:g} samples had units of unequal sizes; what each was "
                "multiplied by is not known, so such updates are left out of the noise: "
                f"{_DECLARE}"
            )
            return _left_out(samples, "uneven", told)
        return _Units(samples, 1.0, 1.0 / sums.units, 1.0 / samples)

    def _counted(self, sums: UnitShares, changed: bool) -> _Units:
        """Equal units of as many samples as in the usual updates, which hold the batch size."""
        n, whole, usual = sums.units, self._batch_size, self.history.usual
        if self.history.doubted and np.isfinite(sums.rows):
            told = (
                f"batch_size is {whole:g}, but the inputs of an update had {sums.rows:g} rows: "
                "samples are counted by rows, and such updates are left out of the noise. Give "
                "as batch_size the samples in an update over all processes, the most where they "
                f"vary, and {_DECLARE}"
            )
            self._tell("rows", told)
            return _left_out(sums.rows, "rows", told)
        if (self.history.varied or changed) and np.isfinite(sums.rows):
            return self._varying(sums)
        if n != usual:
            return _left_out(whole * n / usual, "short", self._short(n))
        if whole % n:
            told = f"batch_size is {whole:g}, which {n:g} equal units cannot share; {_DECLARE}"
            self._tell("remainder", told)
        return _Units(whole, 1.0, 1.0 / n, 1.0 / whole)

    def _varying(self, sums: UnitShares) -> _Units:
        """An update in a run whose inputs vary, while nothing says that they count samples.

        Rows that vary and were never more than the largest batch may be samples. Others are none.
        """
        n, whole, known = sums.units, self._batch_size, self.history
        by_rows = known.varied and not known.exceeded
        samples = sums.rows if by_rows else whole * n / known.usual
        while_less = "rows, as long as these are no more than that"
        counted = f"samples are counted by {while_less if by_rows else 'batch_size'}"
        told = (
            f"the sizes of inputs vary, {sums.rows:g} rows in this update, and "
            f"batch_size is {whole:g}: {counted}; as nobody knows what each unit "
            f"was multiplied by, such updates are left out of the noise: {_DECLARE}"
        )
        if n == 1 and by_rows:
            self._tell(
                "one",
                f"the rows of inputs vary, and batch_size is {whole:g}: {counted}; {_DECLARE}",
            )
        return _left_out(samples, "uneven", told)

    def _regular(self, samples: float) -> bool:
        """Whether the last update, of so many samples, is no remainder."""
        known = self.history
        whole = abs(samples - self._batch_size) < _ROUNDING * self._batch_size
        return whole or known.last == known.usual or known.stretch >= _STRETCH

    def _short(self, units: float) -> str:
        return (
            f"an update had {units:g} units where {self.history.usual:g} are usual; what their "
            "losses were divided by is not known, so such updates are left out of the noise: "
            f"{_DECLARE}"
        )

    def _divisions(self, updates: Updates) -> tuple[Array, NDArray[np.bool_]]:
        """What gradients were multiplied by after their passes, where that is no clipping.

        Returns:
            The factors `(update,)`, and where they are not known.
        """
        factors, unknown = np.ones(len(updates)), np.zeros(len(updates), dtype=bool)
        changes = updates.sums[:, _CHANGES] / self.history.processes
        norms_sq = updates.total_sq.sum(axis=1)
        columns = (updates.units, updates.clip_factor, changes, norms_sq)
        for at, (n, factor, changed, norm_sq) in enumerate(np.stack(columns, axis=1).tolist()):
            share = self.history.processes / n if n > 1 else 1.0
            multiples, found = self.history.multiples.after(
                factor, share=share, changed=changed, norm_sq=norm_sq
            )
            self.history = replace(self.history, multiples=multiples)
            unknown[at] = np.isnan(found.multiple)
            if unknown[at]:
                self._tell_unknown(found, factor, twice=changed > 1.5)
                continue
            factors[at] = found.multiple
            if found.varies:
                self._tell("varies", _VARIES.format(factor) + _before(found.earlier))
            elif found.sure:
                self._tell_multiple(found.multiple, share, found.earlier)
            shrunk = factor / found.multiple < SHRUNK
            self.history = replace(self.history, shrunk=self.history.shrunk + 1 if shrunk else 0)
            if self.history.shrunk == _STRETCH:
                self._tell("shrunk", _SHRANK.format(factor))
        return factors, unknown

    def _tell_unknown(self, found: Found, factor: float, *, twice: bool) -> None:
        if found.varies:
            self._tell("unclear", _UNCLEAR.format(factor))
        elif twice:
            self._tell("twice", _TWICE.format(factor))
        else:
            self._tell("little", _LITTLE.format(factor))

    def _tell_multiple(self, multiple: float, share: float, earlier: int) -> None:
        if share < 1 and multiple == share:
            self._tell("divided", _WERE_DIVIDED + _before(earlier))
        else:
            over = f" = 1/{1 / multiple:.6g}" if multiple < 1 else ""
            told = _WERE_SCALED if multiple < 1 else _WERE_ENLARGED
            number = f"{multiple:.6g}{over}"
            self._tell("scaled", told.format(number, multiple**2) + _before(earlier))

    def _clip_factors(self, factors: Array) -> Array:
        """Those that can be clipping's, which makes no gradient larger."""
        with np.errstate(invalid="ignore"):
            grown = factors > _GROWN
        if grown.any():
            self._tell("grown", _GREW.format(float(factors[grown][0])))
        return np.where(grown, _NAN, factors)

    def _without_strangers(self, updates: Updates) -> Updates:
        """Leave out updates whose gradient is more than their units can have brought.

        |Σ h_i|² ≤ n·Σ |h_i|² for n vectors, whatever they are.
        """
        with np.errstate(invalid="ignore"):
            most = updates.units[:, None] * updates.unit_sq * _LOW_PRECISION
            more = (updates.total_sq > most).any(axis=1) & (updates.units > 1)
        if not more.any():
            return updates
        self._tell("strangers", _STRANGERS)
        u, v = (np.where(more, _NAN, values) for values in (updates.u, updates.v))
        return replace(updates, u=u, v=v, left_out=updates.left_out | more)


def _even(sums: UnitShares, measure: str) -> bool:
    """Whether all forward passes had inputs of one size: Σ r·Σ 1/r = N² then and only then."""
    product = getattr(sums, measure) * getattr(sums, f"over_{measure}")
    return bool(abs(product - sums.forwards**2) < _ROUNDING * sums.forwards**2)


def _before(earlier: int) -> str:
    """What to say of updates that were taken for clipped ones before that was known."""
    if not earlier:
        return ""
    return (
        f". Earlier updates whose gradients were changed, {earlier} of them, were taken for "
        "clipped ones: |G|², tr Σ and mean_sq of their records are wrong by up to the square of "
        "that number, and clip_factor by up to it; divide the losses, not the gradients"
    )


def _left_out(samples: float, reason: str, told: str) -> _Units:
    return _Units(samples, reason=reason, told=told)


_JOINT = (
    "two backward passes followed one forward pass, or reached other parameters each, as those of "
    "two losses do; as nobody knows whether they are two independent units, such updates are left "
    "out of the noise. Make passes that belong together `with recorder.one_unit():`, those that "
    "are no training `with recorder.unmeasured():`, and declare parts of a batch that are "
    "independent with Recorder.unit(size=their samples)"
)
_SOME = (
    "units of an update were declared on some processes and not on others, so such updates are "
    f"left out of the noise: {_DECLARE}"
)
_WERE_DIVIDED = (
    "gradients were divided by the number of backward passes before the step; noise is that of "
    "the divided ones, as if each loss had been divided"
)
_WERE_SCALED = (
    "gradients were multiplied by one number between their passes and the step, as where a scale "
    "of the loss is undone, first by {}; noise and mean_sq are those of the multiplied ones"
)
_GREW = (
    "the optimizer found gradients {:.6g} times as large as the backward passes that were "
    "measured had left them; mean_sq and noise are of these, without what was added"
)
_WERE_ENLARGED = (
    "gradients were multiplied by one number between their passes and the step, first by {}: "
    "mean_sq, |G|² and tr Σ are those of the multiplied ones, {:.6g} times those of the losses; "
    "the noise scale tr Σ/|G|² does not depend on it"
)
_VARIES = (
    "gradients were multiplied by another number at each update between their passes and the "
    "step, as where they are divided by a number of tokens, once by {:.6g}; noise and mean_sq are "
    "those of the multiplied ones"
)
_UNCLEAR = (
    "the gradient of an update was multiplied by a number of its own, {:.6g}, and may have been "
    "clipped as well; such updates are left out of the noise and of mean_sq"
)
_LITTLE = (
    "gradients were multiplied by {:.2g} between their passes and the step; until more updates "
    "tell whether that is clipping they are left out of the noise and of mean_sq"
)
_SHRANK = (
    "gradients were multiplied by factors such as {:.2g} between their passes and the step, which "
    "is little for clipping. Where losses are scaled or not divided by the number of passes, |G|² "
    "and tr Σ are too large by the square of that: divide the losses, or scale them by a "
    "torch.amp.GradScaler"
)
_TWICE = (
    "gradients were changed twice between their passes and the step, as by a division and by "
    "clipping, to {:.2g} of what they were; as nobody knows by how much each, such updates are "
    "left out of the noise and of mean_sq until one that is not clipped tells: divide the losses, "
    "not the gradients"
)
_STRANGERS = (
    "the gradient of an update was larger than its backward passes can have made it, so something "
    "else was added to it, or it was not cleared before; such updates are left out of the noise. "
    "Make passes that are no units of the training `with recorder.unmeasured():`"
)


def misfits(updates: Updates) -> Iterator[str]:
    """What is odd about the gradients that the optimizer found.

    Arguments:
        updates: over all processes.

    Yields:
        One sentence a misfit.
    """
    if updates.uneven_clipping.any():
        yield (
            "gradients were clipped, or changed after the backward pass, by more than one factor, "
            "as by value or by group; clip_factor is not recorded for such updates"
        )
