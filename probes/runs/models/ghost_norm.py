"""Ghost batch normalization: statistics of parts of a batch, as if each were a batch by itself.

References:
    Hoffer, Hubara and Soudry (2017), Train longer, generalize better. Their released
    code normalizes one part after the other and so updates the running statistics once a part;
    this does the same.
"""

import torch
from torch import Tensor, nn


class GhostNorm2d(nn.BatchNorm2d):
    """Batch normalization of each ghost batch by its own mean and variance.

        y = γ·(x − μ_k)/√(σ_k² + ε) + β    for the k-th part of g samples

    In evaluation it is batch normalization with the running statistics, which every ghost batch
    of training has updated in turn: K of them shrink the weight of the past to (1 − momentum)^K.
    """

    def __init__(self, num_features: int, ghost_size: int) -> None:
        """Normalize parts of `ghost_size` samples, g."""
        super().__init__(num_features)
        self.ghost_size = ghost_size

    def forward(self, x: Tensor) -> Tensor:
        """Images `(image, channel, h, w)` normalized part by part.

        Raises:
            ValueError: when the ghost size does not divide the number of images.
        """
        if not self.training:
            return super().forward(x)
        if len(x) % self.ghost_size:
            raise ValueError(
                f"ghost_size: found {self.ghost_size}, expected a divisor of the {len(x)} images"
            )
        return torch.cat([super(GhostNorm2d, self).forward(p) for p in x.split(self.ghost_size)])

    def extra_repr(self) -> str:
        """What `print` shows beside the name."""
        return f"{super().extra_repr()}, ghost_size={self.ghost_size}"


def with_ghost_norm(model: nn.Module, ghost_size: int) -> nn.Module:
    """The model with every two-dimensional batch normalization turned into ghost normalization.

    A module stays the one it is, with its weights, ε, momentum and hooks, wherever it is used: it
    is given the class `GhostNorm2d`, which adds to `BatchNorm2d` the ghost size alone.

    Arguments:
        model: changed in place.
        ghost_size: samples in a ghost batch, g.

    >>> with_ghost_norm(nn.Sequential(nn.BatchNorm2d(3)), 32)[0].ghost_size
    32
    """
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = GhostNorm2d
            module.ghost_size = ghost_size  # type: ignore[assignment]
    return model
