"""The loss of fixed batches, its gradients, and directions that the gradients' noise shapes.

With weights that are sharded a forward pass gathers them, so all processes work through their
batches in step: after each batch they learn whether it failed on one of them, and fail together.
A loss that fails before or within its forward pass leaves the others waiting in that pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ultraslow.probes.distributed import Processes, in_step, local
from ultraslow.probes.quantities.evaluation import model_state, undisturbed

from .directions import Ensemble, shared_noise

Loss = Callable[[nn.Module, Any], Tensor]


@dataclass(frozen=True)
class Batches:
    """Fixed batches of this process and their loss.

    Arguments:
        loss: from the model and a batch to the mean loss of the batch.
        values: the batches.
        module: the model, unwrapped.
        training: whether it is in training mode for gradients.
        parameters: trainable parameters of the model.
        processes: that hold the other batches, and other parts of sharded weights.
    """

    loss: Loss
    values: Sequence[Any]
    module: nn.Module
    training: bool
    parameters: Sequence[Tensor]
    processes: Processes

    @property
    def sharded(self) -> bool:
        """Whether the gradient of a backward pass is a mean over processes, and here in parts."""
        return any(isinstance(p, DTensor) for p in self.parameters)

    def losses(self) -> Tensor:
        """The loss of each batch `(batch,)`, float64.

        Raises:
            RuntimeError: with sharded weights, when the loss failed on another process.
        """
        return torch.stack([self._loss_of(batch) for batch in self.values])

    def gradients(self) -> list[list[Tensor]]:
        """The gradient of each batch, of whole weights."""
        found = []
        with undisturbed(self.module) as state, torch.enable_grad():
            for batch in self.values:
                state.rewind()
                self.module.train(self.training)
                loss = self.loss(self.module, batch)
                # Not `backward`: that would set off DistributedDataParallel's reduction.
                parts = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
                found.append([part.detach() for part in parts])
        return found

    def noise(self) -> Ensemble:
        """Directions Σ ξ_k·(g_k − ḡ) over the batches of all processes, at the present weights.

        Of whole weights each process keeps the gradients of its batches. Of sharded ones none
        are kept: Σ (ξ_k − ξ̄)·g_k is the gradient of Σ (ξ_k − ξ̄)·L_k, up to a factor, so a
        direction costs a backward pass of each batch.

        Raises:
            RuntimeError: when the loss failed on another process.
        """
        if self.sharded:
            return self._sharded_noise()
        gradients = in_step(
            self.processes, self.gradients, device=self._device, what="loss", always=True
        )
        return shared_noise(self.parameters, gradients, self.processes)

    def _sharded_noise(self) -> Ensemble:
        """Drawn within a scan, which puts gradients, buffers and random states back."""
        mine = len(self.values)
        state = model_state(self.module)

        def draw(_: int, generator: torch.Generator) -> list[Tensor]:
            refuse_hooks(self.parameters)
            xi = torch.randn(
                mine * self.processes.size,
                dtype=torch.float64,
                generator=generator,
                device=generator.device,
            )
            share = (xi - xi.mean())[self.processes.rank * mine :][:mine]
            for factor, batch in zip(share.tolist(), self.values, strict=True):
                state.rewind()
                self.module.train(self.training)
                with torch.enable_grad():
                    (self._loss_of(batch) * factor).backward()
            return [_taken(p) for p in self.parameters]

        return Ensemble("noise", tuple(self.parameters), draw)

    def _loss_of(self, batch: Any) -> Tensor:
        return in_step(
            self.processes,
            lambda: torch.as_tensor(self.loss(self.module, batch)).double(),
            device=self._device,
            what="loss",
        )

    @property
    def _device(self) -> torch.device:
        return self.parameters[0].device


def refuse_hooks(parameters: Sequence[Tensor]) -> None:
    """A backward pass of ours may not set off what a user does with gradients.

    Raises:
        ValueError: for sharded parameters with hooks on accumulated gradients.
    """
    if any(getattr(p, "_post_accumulate_grad_hooks", None) for p in parameters):
        raise ValueError(
            "ensembles: found 'noise' and sharded parameters with hooks on their accumulated "
            "gradients, as of an optimizer that steps in the backward pass, which a pass of the "
            "landscape would set off; expected the other kinds of directions"
        )


def _taken(parameter: Tensor) -> Tensor:
    """This process's part of a gradient, in float32 at least, which is taken away."""
    gradient, parameter.grad = parameter.grad, None
    mine = local(parameter).detach()
    wide = torch.promote_types(mine.dtype, torch.float32)
    return torch.zeros_like(mine, dtype=wide) if gradient is None else local(gradient).to(wide)
