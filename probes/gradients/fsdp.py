"""The tap for `fully_shard` (FSDP2, HSDP): the unsharded gradient before it is scattered.

Hooks on sharded parameters see the reduced shard only. But each group of parameters hands one flat
buffer to its reduce-scatter: this process's unsharded gradient. A communication object of ours
stands in for the group's, reads the buffer and passes it on, so the numbers are those of the taps
for other modules, and a custom communication that was set before still does the work.

The buffer is laid out by process: one row for each, holding that process's share of every
parameter, padded to equal length with zeros. Gradients that are accumulated without reduction
arrive as one unit of all their microbatches.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from ultraslow.probes.norms import square

from .autograd import after_pass
from .hooks import GradientTap, add_to

try:
    from torch.distributed.fsdp._fully_shard._fsdp_api import ReduceScatter as _ReduceScatter
except ImportError:  # older torch: `_groups` refuses with a message
    _ReduceScatter = object  # type: ignore[assignment,misc]


class ShardedTap(GradientTap):
    """Squared gradient norms per tensor under `fully_shard`."""

    def __init__(
        self,
        model: torch.nn.Module,
        parameters: Sequence[Tensor],
        *,
        processes: int,
        failed: Callable[[Exception], None],
        scale: Callable[[], Tensor | None] = lambda: None,
        turn: Callable[[], object] = lambda: None,
        measure: bool = True,
    ) -> None:
        """Stand in for the reduce-scatter of every group of parameters.

        Arguments:
            model: the module that `fully_shard` was applied to.
            parameters: trainable parameters; their order is the order of all results.
            processes: W, how many processes average their gradients.
            failed: told of the first exception, after which the tap is silent.
            scale: loss scale in force during a backward pass; None where there is none.
            turn: another object after every step that mixed precision tried.
            measure: whether to measure what is seen; else the model alone is heard.

        Raises:
            ValueError: for a version of torch, or a module, whose reduction cannot be observed.
        """
        self._groups = list(_groups(model)) if measure else []
        self._reduced = False  # whether the backward pass at hand reduced anything
        super().__init__(
            parameters,
            model=model,
            processes=processes,
            failed=failed,
            scale=scale,
            turn=turn,
            measure=measure,
        )

    def _hook(self) -> None:
        # Backward passes that reduce nothing are not heard, but losses are observed after them.
        self._hear_model()
        for module, group in self._groups:
            inner = group._reduce_scatter_comm
            listening = _Listening(inner, partial(self._hear, group))
            module.set_custom_reduce_scatter(listening)
            self._handles.append(_Handle(module, inner))

    def _hear_inputs(self, arguments: Sequence[object]) -> None:
        self._stir()
        super()._hear_inputs(arguments)

    def _matches(self, forwards: int) -> bool:
        """Passes that reduce nothing are parts of the unit that does."""
        return self.units > 0 and forwards % self.units == 0

    def _hear(self, group: Any, flat: Tensor, rows: int) -> None:
        if self.paused or self._silent:
            return
        try:
            if self._begins():
                after_pass(self._behind)
            factor = group.gradient_divide_factor or float(self.processes)
            share = _predivisor(flat.dtype, factor) / factor
            for index, part in self._parts(group, flat.view(rows, -1)):
                if self._joined is not None:
                    add_to(self._joined, index, part * share)
                else:
                    self._squares[index] = square(part) * share**2
            self._reduced = True
        except Exception as error:
            self._fail(error)

    def _parts(self, group: Any, flat: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Each parameter's columns of the buffer `(process, value)`."""
        parameters = [p for p in group.fsdp_params if p.sharded_param.requires_grad]
        lengths = [parameter.padded_sharded_param_size.numel() for parameter in parameters]
        if sum(lengths) != flat.shape[1]:
            raise RuntimeError(
                f"a group of {len(lengths)} parameters reduced {flat.shape[1]} values a process, "
                f"expected {sum(lengths)}: some took no part in the loss"
            )
        for parameter, part in zip(parameters, flat.split(lengths, dim=1), strict=True):
            if parameter.sharded_param.numel():
                yield self._places[id(parameter.sharded_param)], part

    def _end_unit(self) -> None:
        if not self._reduced:
            return
        self._reduced = False
        self._took, self._pass_sq = set(self._squares), self._stack(self._squares)
        super()._end_unit()

    def _contribution(self) -> Tensor:
        return self._pass_sq


@dataclass(frozen=True)
class _Handle:
    """Gives a module's reduction back."""

    module: FSDPModule
    inner: Any

    def remove(self) -> None:
        self.module.set_custom_reduce_scatter(self.inner)


class _Listening(_ReduceScatter):
    """A reduce-scatter that is heard before it is done."""

    def __init__(self, inner: Any, heard: Callable[[Tensor, int], None]) -> None:
        self.inner = inner
        self._heard = heard

    def allocate(self, *arguments: Any, **options: Any) -> Tensor:
        """Memory, as the inner communication allocates it."""
        return self.inner.allocate(*arguments, **options)

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: dist.ProcessGroup,
        op: Any,
        async_op: bool = False,
    ) -> Any:
        """Tell of the unsharded gradient, then reduce and scatter it."""
        self._heard(input_tensor, group.size())
        return self.inner(output_tensor, input_tensor, group, op, async_op)


def _groups(model: torch.nn.Module) -> Iterator[tuple[FSDPModule, Any]]:
    """Every module that owns a group of sharded parameters, with that group."""
    if not hasattr(FSDPModule, "set_custom_reduce_scatter"):
        raise ValueError(
            f"model: torch {torch.__version__} cannot show the gradients of fully_shard; upgrade "
            "torch or attach with probes=['distance']"
        )
    known = set()
    for module in model.modules():
        if not isinstance(module, FSDPModule):
            continue
        for group in module._get_fsdp_state()._fsdp_param_groups:
            if id(group) not in known:
                known.add(id(group))
                yield module, group


def _predivisor(dtype: torch.dtype, factor: float) -> float:
    """What float16 gradients were divided by before they are reduced: a power of two near √factor.

    The other types are not at risk of overflow and arrive undivided.
    """
    divisor = 1.0
    if dtype == torch.float16:
        while factor % divisor == 0 and factor / divisor > divisor:
            divisor *= 2
    return divisor
