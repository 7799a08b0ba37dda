"""The watch: sees that backward passes are made, where noise is not measured."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from .passes import Seen, hear_forward
from .taps import GradientTap


class BackwardWatch(GradientTap):
    """Sees that a backward pass was made, and nothing of it: where noise is not measured."""

    def __init__(self, model: torch.nn.Module, parameters: Sequence[Tensor]) -> None:
        """Hook the parameters; or the model, where it is sharded and its parameters hear nothing.

        Arguments:
            model: as it is trained.
            parameters: trainable parameters.
        """
        self._model = model
        super().__init__(parameters, processes=1, failed=lambda _: None)
        self._silent = True
        self._zero = self._zero.new_full((), torch.nan)
        self._reset()

    def take(self) -> Seen:
        """One unit, of which nothing is known."""
        return replace(super().take(), units=1)

    def _hook(self) -> None:
        if any(isinstance(p, DTensor) for p in self._parameters):
            self._handles.append(hear_forward(self._model, self._stir))
        else:
            super()._hook()
