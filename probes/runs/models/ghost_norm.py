"""Ghost batch normalization: statistics of parts of a batch, as if each were a batch by itself.

References:
    Hoffer, Hubara and Soudry (2017), Train longer, generalize better. Their released
    code normalizes one part after the other and so updates the running statistics once a part;
    here all parts are normalized at once, as channels of their own, with the same outcome.
"""

from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional


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
        parts = len(x) // self.ghost_size
        return super().forward(x) if parts == 1 else self._normalized(x, parts)

    def _normalized(self, x: Tensor, parts: int) -> Tensor:
        """All parts at once: a channel of a part is a channel of its own."""
        stored_last = x.is_contiguous(memory_format=torch.channels_last)
        images, channels, height, width = x.shape
        if stored_last and not x.is_contiguous():
            rows = images // parts * height * width
            folded = x.permute(0, 2, 3, 1).reshape(parts, rows, channels)
            folded = folded.transpose(0, 1).reshape(rows, parts * channels)
        else:
            folded = x.reshape(parts, images // parts, channels, height, width)
            folded = folded.transpose(0, 1).reshape(-1, parts * channels, height, width)
        # With a momentum of 1 the running statistics become those of the parts.
        kept = x if self.running_mean is None else self.running_mean
        means, variances = kept.new_zeros(2, parts * channels)
        weight, bias = (None if p is None else p.repeat(parts) for p in (self.weight, self.bias))
        values = functional.batch_norm(
            folded, means, variances, weight, bias, training=True, momentum=1.0, eps=self.eps
        )
        self._track(means.view(parts, channels), variances.view(parts, channels))
        if values.dim() == 2:
            values = values.view(-1, parts, channels).transpose(0, 1)
            return values.reshape(images, height, width, channels).permute(0, 3, 1, 2)
        values = values.view(-1, parts, channels, height, width).transpose(0, 1)
        return values.reshape(x.shape)

    @torch.no_grad()
    def _track(self, means: Tensor, variances: Tensor) -> None:
        """Update the running statistics as one part after the other would."""
        if self.running_mean is None or self.running_var is None:
            return
        parts = len(means)
        if self.momentum is None:  # the mean of all batches so far
            seen = int(self.num_batches_tracked)  # type: ignore[arg-type]
            shares = [1 / (seen + part + 1) for part in range(parts)]
        else:
            shares = [self.momentum] * parts
        # What is left of the past, and of each part, after the parts that follow it.
        left = list(accumulate(reversed(shares), lambda w, share: w * (1 - share), initial=1.0))
        weights = [left[parts - 1 - part] * share for part, share in enumerate(shares)]
        factors = torch.tensor(weights, dtype=means.dtype, device=means.device)
        self.running_mean.mul_(left[-1]).add_(factors @ means)
        self.running_var.mul_(left[-1]).add_(factors @ variances)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(parts)

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
