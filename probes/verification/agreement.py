"""Whether what was recorded is what was computed, and what to say of it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ultraslow.probes.distributed import Processes

from .kept import Consumed
from .reference import Reference, Truth

# Relative differences at most: of weights; of gradients in 32 bits or more; in 16 bits.
_OF_WEIGHTS, _OF_GRADIENTS, _OF_HALVES = 1e-5, 1e-3, 3e-2
_NEAR = 0.02  # a factor that is larger than 1/n by more is no division by n
_EXACT = 1e-15  # what 64 bits cannot tell from 0


@dataclass(frozen=True)
class Agreement:
    """One quantity: what was recorded, what was computed a second time.

    Arguments:
        quantity: its symbol.
        recorded: after the last update.
        computed: the same, by the slow computation.
        error: largest relative difference over all updates and tensors; NaN where one is unknown.
        allowed: up to which both count as equal.
    """

    quantity: str
    recorded: float
    computed: float
    error: float
    allowed: float

    @property
    def digits(self) -> int:
        """Decimal digits that agree, 15 at most; 0 where none is known to."""
        if not math.isfinite(self.error):
            return 0
        return max(0, int(-math.log10(max(self.error, _EXACT))))

    @property
    def passed(self) -> bool:
        """Whether both count as equal."""
        return self.error <= self.allowed


@dataclass(frozen=True)
class Rehearsal:
    """What a few updates of the user's own training showed.

    Arguments:
        rows: distance, gradient, noise, units and samples.
        status: `right`; `warned`, where the recorder has something to say; `unknown`, where noise
            could not be recorded or computed; `wrong`.
        sentence: how many digits agree, or what is wrong and what to change.
        updates: that were compared.
        units: in the last one.
        warnings: of the recorder.
        batches: taken from data loaders, which do not come again from the iterators that are open.
    """

    rows: tuple[Agreement, ...]
    status: str
    sentence: str
    updates: int
    units: int
    warnings: tuple[str, ...]
    batches: int

    @property
    def passed(self) -> bool:
        """Whether the recording is right."""
        return self.status == "right"

    def __str__(self) -> str:
        lines = [f"{'':10}{'recorded':>16}{'computed':>16}{'digits':>8}"]
        for row in self.rows:
            mark = "" if row.passed else "  unknown" if math.isnan(row.error) else "  OFF"
            lines.append(
                f"{row.quantity:10}{row.recorded:16.9g}{row.computed:16.9g}{row.digits:8}{mark}"
            )
        return "\n".join([*lines, self.sentence])


@dataclass(frozen=True)
class Found:
    """What was recorded and what was computed, update by update.

    Arguments:
        processes: that trained.
        recorded: `(update, 4·tensor + 2)`: squared distance, Big, |G|², tr Σ; units, samples.
        distances: squared distance `(tensor,)` of each update.
        truths: gradient and noise of each update.
        made: updates that the last call of the step made.
        rows: of the model's inputs in an update of all processes; NaN where they tell nothing.
        parts: rows of each forward pass of the last update on this process.
        reference: what saw the backward passes.
        rounded: whether gradients are of 16 bits, or are changed while they are reduced.
        said: by the recorder.
    """

    processes: Processes
    recorded: Tensor
    distances: list[Tensor]
    truths: list[Truth]
    made: int
    rows: list[float]
    parts: tuple[int, ...]
    reference: Reference
    rounded: bool
    said: tuple[str, ...]


def judged(found: Found, consumed: Consumed) -> Rehearsal:
    """The table, and what to say of it."""
    rows = _rows(found) if found.truths else ()
    units = found.truths[-1].units if found.truths else 0
    status, sentence = _said(found, rows)
    return Rehearsal(
        rows=rows,
        status=status,
        sentence=" ".join([sentence, *_about_rows(found), *_remarks(consumed)]),
        updates=len(found.truths),
        units=units,
        warnings=found.said,
        batches=consumed.batches,
    )


def _rows(found: Found) -> tuple[Agreement, ...]:
    count = (found.recorded.shape[1] - 2) // 4
    gradients = _OF_HALVES if found.rounded else _OF_GRADIENTS
    distance, mean_sq, gradient_sq, noise, counts = found.recorded.split([count] * 4 + [2], dim=1)
    hidden = bool(found.reference.unseen)
    truths = [_unknown(t) if hidden else t for t in found.truths]
    units = [torch.tensor([math.nan if hidden else float(t.units)]) for t in truths]
    total = [float(one.mean_sq.sum()) for one in truths]
    noise_scales = [max(abs(float(t.noise_trace.sum())), t.scale / 100) for t in truths]
    distances = [float(one.sum()) for one in found.distances]
    return (
        _agreement("‖w − w₀‖²", distance, found.distances, distances, _OF_WEIGHTS),
        _agreement("‖g‖²", mean_sq, [t.mean_sq for t in truths], total, gradients),
        _agreement("|G|²", gradient_sq, [t.gradient_sq for t in truths], total, gradients),
        _agreement("tr Σ", noise, [t.noise_trace for t in truths], noise_scales, gradients),
        _agreement("units", counts[:, :1], units),
        _agreement("samples", counts[:, 1:], _samples(found, counts[:, 1])),
    )


def _unknown(truth: Truth) -> Truth:
    """What is left of an update whose backward passes could not be computed a second time."""
    nan = torch.full_like(truth.mean_sq, math.nan)
    return replace(truth, mean_sq=nan, gradient_sq=nan, noise_trace=nan)


def _samples(found: Found, recorded: Tensor) -> list[Tensor]:
    """Samples of each update; of undeclared ones the rows of its inputs are as good a count."""
    pairs = zip(found.truths, found.rows, recorded.tolist(), strict=True)
    return [
        torch.tensor([rows if rows == seen and not truth.declared else truth.samples])
        for truth, rows, seen in pairs
    ]


def _agreement(
    quantity: str,
    recorded: Tensor,
    computed: Sequence[Tensor],
    scales: Sequence[float] | None = None,
    allowed: float = 0.0,
) -> Agreement:
    """Compare `(update, tensor)` with each update's `(tensor,)`, or both summed where it has one.

    Arguments:
        quantity: its symbol.
        recorded: NaN where unknown.
        computed: by the slow computation.
        scales: what differences are relative to; the computed values when None.
        allowed: relative difference.
    """
    errors = []
    for index, truth in enumerate(computed):
        row = recorded[index] if len(truth) == recorded.shape[1] else recorded[index].sum()
        apart = float((row - truth).abs().max())
        scale = abs(float(truth.sum())) if scales is None else scales[index]
        errors.append(apart / scale if scale else apart and math.inf)
    worst = math.nan if any(map(math.isnan, errors)) else max(errors)
    last = (float(recorded[-1].sum()), float(computed[-1].sum()))
    return Agreement(quantity, *last, worst, allowed)


def _said(found: Found, rows: Sequence[Agreement]) -> tuple[str, str]:
    """Status and sentence."""
    if found.made > 1:
        return "wrong", (
            f"The step made {found.made} updates in one call, expected one: give the body of the "
            "loop that ends with one optimizer.step()."
        )
    if not rows:
        told = f" The recorder says: {found.said[0]}" if found.said else ""
        return "wrong", (
            "The step made no update of the optimizer that was given, so nothing was recorded: "
            f"give the one whose step() it calls.{told}"
        )
    by_name = {row.quantity: row for row in rows}
    off = [row.quantity for row in rows if not (row.passed or math.isnan(row.error))]
    if off:
        return "wrong", f"Wrong: {', '.join(off)}. {_remedy(found, by_name)}"
    if odd := _odd_rows(found):
        also = f" The recorder also warns: {found.said[0].rstrip('.')}." if found.said else ""
        return "warned", odd + also
    if found.said:
        unknown = [row.quantity for row in rows if math.isnan(row.error)]
        but = f", except for {', '.join(unknown)}, which are unknown" if unknown else ""
        said = found.said[0].rstrip(".")
        return "warned", f"Recorded and computed agree{but}; but the recorder warns: {said}."
    if odd := _odd_factors(found):
        return "warned", odd
    if found.reference.unseen:
        digits = by_name["‖w − w₀‖²"].digits
        return "unknown", (
            f"The distance is right to {digits} digits; the noise could not be computed a second "
            f"time ({found.reference.unseen}): verify it in another precision or uncompiled."
        )
    if math.isnan(by_name["tr Σ"].error):
        return "unknown", (
            f"The distance is right to {by_name['‖w − w₀‖²'].digits} digits, the noise is not "
            f"recorded: the last update had {found.truths[-1].units} units, expected 2 or more; "
            "accumulate gradients over two backward passes, or train on several processes."
        )
    return "right", _right(found, {row.quantity: row.digits for row in rows})


def _odd_rows(found: Found) -> str:
    """What to say where batch_size seems to be that of a process or of a pass."""
    last, rows = found.truths[-1], found.rows[-1]
    if last.units < 2 or last.declared or rows != last.units * found.reference.batch_size:
        return ""
    return (
        f"The model was given {rows:g} rows in the last update, {last.units} times the "
        f"{found.reference.batch_size:g} samples of batch_size: if a row is a sample, pass "
        f"batch_size={rows:.0f}, that of an update over all processes and passes."
    )


def _odd_factors(found: Found) -> str:
    """What to say where gradients may have been divided, and clipped, before each step."""
    if not all(t.passes > 1 and t.shrunk * t.passes < 1 + _NEAR for t in found.truths):
        return ""
    n = found.truths[-1].passes
    return (
        f"Recorded and computed agree; but gradients shrank to {found.truths[-1].shrunk:.3g} of "
        f"the sum of their {n} passes before each step. If clipping did that, all is right; if "
        f"they were divided by {n} and then clipped, |G|² and tr Σ are {n * n} times too large: "
        "divide the losses instead."
    )


def _about_rows(found: Found) -> Iterator[str]:
    """What the model's inputs tell of samples that were not declared."""
    if not found.truths or found.truths[-1].declared or math.isnan(found.rows[-1]):
        return
    if len(set(found.parts)) > 1:
        *first, last = map(str, found.parts)
        yield (
            f"The forward passes of the last update had {', '.join(first)} and {last} rows; where "
            "rows are samples, declare each unit with Recorder.unit."
        )
    rows, whole = found.rows[-1], found.reference.batch_size
    if rows and rows != whole and whole % rows and rows % whole:
        yield f"The model was given {rows:g} rows in the last update, batch_size is {whole:g}."


def _right(found: Found, digits: Mapping[str, int]) -> str:
    distance = digits["‖w − w₀‖²"]
    noise = min(digits["|G|²"], digits["tr Σ"], digits["‖g‖²"])
    processes = f" on {found.processes.size} processes" if found.processes.size > 1 else ""
    last = found.truths[-1]
    given = (
        f", if each of the {last.passes} losses was divided by {last.passes} (of losses that are "
        f"added up tr Σ is {last.passes**2} times that of their mean)"
    )
    return (
        f"Right to {min(noise, distance)} digits: the distance to {distance}, the gradient and "
        f"its noise to {noise}, in {len(found.truths)} updates of {last.units} "
        f"units{processes}{given * (last.passes > 1 and not last.declared)}."
    )


def _remedy(found: Found, rows: Mapping[str, Agreement]) -> str:
    """What to change where the recording is off."""
    scalers = found.reference.scaled_by
    if scalers and rows["‖g‖²"].recorded > 10 * rows["‖g‖²"].computed:
        return (
            "The loss was scaled by a GradScaler that the recorder does not know: pass scaler= to "
            "us.attach."
        )
    if not rows["units"].passed:
        return (
            f"{rows['units'].computed:g} backward passes were units of the update, "
            f"{rows['units'].recorded:g} are recorded: say which passes make one with "
            "Recorder.unit."
        )
    if not rows["samples"].passed:
        return (
            f"{rows['samples'].recorded:g} samples were seen in the last update, expected "
            f"{rows['samples'].computed:g}: batch_size is that of an update over all processes "
            "and passes."
        )
    if found.said:
        return f"The recorder warns: {found.said[0]}."
    n = found.truths[-1].passes
    off = rows["‖g‖²"].recorded / rows["‖g‖²"].computed if rows["‖g‖²"].computed else math.nan
    if n > 1 and abs(off / n**2 - 1) < _OF_GRADIENTS:
        return (
            f"Gradients were divided by the {n} passes before they were clipped, which the "
            f"recorder cannot tell from clipping, so noise is {n * n} times too large: divide the "
            "losses instead."
        )
    distance = rows["‖w − w₀‖²"]
    if not distance.passed and all(
        r.passed or math.isnan(r.error) for r in rows.values() if r is not distance
    ):
        return (
            f"Weights change after optimizer.step(): ‖w − w₀‖² was {distance.recorded:.3g} "
            f"after it and {distance.computed:.3g} when your step returned. Make the change, as "
            "clipping or a projection, in optimizer.register_step_post_hook(…)."
        )
    return (
        "Gradients or weights change in a way that the probes do not see; please report it with "
        "this table."
    )


def _remarks(consumed: Consumed) -> Iterator[str]:
    """What else a careful user wants to know."""
    if consumed.batches:
        yield (
            f"{consumed.batches} batches were taken from data loaders; iterators that are open go "
            "on after them, so begin them anew."
        )
    if consumed.tensors:
        yield (
            f"{consumed.tensors} tensors outside of modules and optimizers were written to and "
            "stay so."
        )
