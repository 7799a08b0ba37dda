"""Weights that the training loop changes after the optimizer's step.

Clipping as in WGAN, a projection, the pull-back of Lookahead: where the loop makes them itself,
the weights of which a record was made are none the network ever uses. So what a record holds of
the weights alone is read again when the next step begins, and put in its place. By then a swap for
an evaluation is undone, and a perturbation of the backward passes as well.

It is read again where a tensor's version tells that it was written to. Writing to `.data` does not
show there; so the first records are read again in any case, and from the first change on all are.
Whether the distance is another is compared on the device, and told when the answer has arrived.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from ultraslow.probes.buffer import Buffer
from ultraslow.probes.quantities import Quantities, Subject

_LOOKS = 16  # records that are read again whatever versions tell
_TOLD = 1e-3  # relative change of the distance that is told


@dataclass(frozen=True)
class _Pending:
    """Squared distance before and after, and squared norm, on their way to the host."""

    iteration: int
    numbers: Tensor
    arrival: torch.cuda.Event | None

    def arrived(self, *, wait: bool) -> bool:
        if self.arrival is not None and wait:
            self.arrival.synchronize()
        return self.arrival is None or self.arrival.query()


class ChangedWeights:
    """Reads the weights of a record again at the beginning of the next step."""

    def __init__(
        self, subject: Subject, quantities: Quantities, warn: Callable[[str], None]
    ) -> None:
        """Look at the first records.

        Arguments:
            subject: whose weights.
            quantities: that are read again.
            warn: is told, once, that the loop changes weights.
        """
        self.found = False  # whether the loop changes weights after steps
        self._subject = subject
        self._quantities = quantities
        self._warn = warn
        self._looks = _LOOKS
        self._recorded: tuple[int, int] | None = None  # iteration and version, until read again
        self._pending: list[_Pending] = []

    def recorded(self, iteration: int) -> None:
        """A record was made of the weights of this moment."""
        self._recorded = (iteration, self._version())

    def step_begins(self, buffer: Buffer, begun: int) -> None:
        """The next step begins: read again what the last record holds, if it still waits.

        Not where weights have moved since the first backward pass, or nothing is left of the
        gradients, as where weights are moved by hand or within the pass: that is the next update.

        Arguments:
            buffer: where the record waits.
            begun: the version of the weights at the first backward pass of the update.
        """
        if self._pending:
            self._tell(wait=False)
        if self._recorded is None:
            return
        gradients = any(p.grad is not None for p in self._subject.parameters.values())
        if gradients and begun == self._version():
            self._read(buffer)
        self._recorded = None

    def _read(self, buffer: Buffer) -> None:
        recorded, self._recorded = self._recorded, None
        if recorded is None or not buffer.awaits(recorded[0]):
            return
        iteration, version = recorded
        self._looks -= 1
        if self._looks < 0 and not self.found and version == self._version():
            return
        before = buffer.snapshots[-1].values["distance_sq"]
        values = self._quantities.again(iteration)
        after, weight_sq = values.get("distance_sq"), values.get("weight_sq")
        if iteration > 0:  # where w0 is the weights at attaching, its own distance is 0
            buffer.amend(iteration, values)
        if isinstance(after, Tensor) and isinstance(before, Tensor) and not self.found:
            numbers = torch.stack([before.sum(), after.sum(), torch.as_tensor(weight_sq).sum()])
            self._pending.append(_sent(iteration, numbers))
            self._tell(wait=False)

    def closes(self, buffer: Buffer) -> None:
        """No step follows: the last record is read again where the loop is known to change it."""
        self._tell(wait=True)
        if self.found:
            self._read(buffer)

    def _version(self) -> int:
        return sum(weights._version for weights in self._subject.weights())

    def _tell(self, *, wait: bool) -> None:
        """Say what has arrived, without waiting for the device unless told to."""
        while self._pending and self._pending[0].arrived(wait=wait):
            one = self._pending.pop(0)
            before, after, norm = (sqrt(max(x, 0.0)) for x in one.numbers.tolist())
            rounding = max(torch.finfo(w.dtype).eps for w in self._subject.weights()) * norm
            if not abs(after - before) > _TOLD * max(after, before) + rounding:
                continue
            if one.iteration == 0:
                self._warn(_AT_FIRST.format(after**2))
            elif not self.found:
                self.found = True
                at = one.iteration
                self._warn(_CHANGED.format(before**2, at, after**2, at + 1))


_CHANGED = (
    "the weights change after optimizer.step(), as by clipping, projection or averaging in the "
    "loop: ‖w − w₀‖² was {:.3g} after step {} and {:.3g} as step {} began. Distances are recorded "
    "after the change; path, evaluation and landscape are of the weights before it. For all of "
    "them, and the last record, make the change in optimizer.register_step_post_hook(…)"
)
_AT_FIRST = (
    "the weights were changed between us.attach and the first step, to ‖w − w₀‖² = {:.3g}, so w₀ "
    "is not where the training began: call us.attach after the line that changes them"
)


def _sent(iteration: int, numbers: Tensor) -> _Pending:
    """Numbers on their way to the host, into memory that stays where it is."""
    if not numbers.is_cuda:
        return _Pending(iteration, numbers.cpu(), None)
    host = numbers.to("cpu", non_blocking=True)
    stream = torch.cuda.current_stream(numbers.device)
    return _Pending(iteration, host, stream.record_event())
