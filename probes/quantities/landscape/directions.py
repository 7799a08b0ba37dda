"""Directions in the space of the weights: isotropic, filter-normalized, noise-shaped, travelled.

Each kind is an `Ensemble`. Its directions are drawn part by part, one part a tensor, and
`unit_direction` gives them length 1 over all tensors together. Where weights are sharded each
process has its part of every tensor, of the same directions as if they were whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ultraslow.probes.distributed import Processes, local, part_like
from ultraslow.probes.norms import square

ALONE = Processes()
Draw = Callable[[int, torch.Generator], list[Tensor]]


@dataclass(frozen=True)
class Ensemble:
    """Directions of one kind.

    Arguments:
        name: of the kind.
        parameters: the tensors that move.
        draw: from the number of a direction and a generator to its parts, of any length.
        limit: how many directions there are, where they are not drawn at random.
    """

    name: str
    parameters: tuple[Tensor, ...]
    draw: Draw
    limit: int | None = None


def isotropic(parameters: Sequence[Tensor]) -> Ensemble:
    """Directions that are uniform on the sphere: independent normal entries.

    Arguments:
        parameters: the tensors that move.
    """

    def draw(_: int, generator: torch.Generator) -> list[Tensor]:
        return [_normal(p, generator) for p in parameters]

    return Ensemble("isotropic", tuple(parameters), draw)


def filter_normalized(parameters: Sequence[Tensor]) -> Ensemble:
    """Random directions whose filters have the relative lengths of the weights' own filters.

    A filter is all that feeds one output: one slice along the first dimension. Tensors of one
    dimension (biases, gains) stay where they are. A radius r is a relative length r/‖w‖, with the
    norm over the tensors that move.

    Arguments:
        parameters: the tensors that move, one of two dimensions or more among them.

    Raises:
        ValueError: when all have one dimension.

    References:
        Li, Xu, Taylor, Studer and Goldstein (2018), Visualizing the loss landscape of neural nets.
    """

    def draw(_: int, generator: torch.Generator) -> list[Tensor]:
        return [_like_filters(p, _normal(p, generator)) for p in parameters]

    if all(p.ndim < 2 for p in parameters):
        raise ValueError("parameters: found no tensor of two dimensions or more, expected one")
    return Ensemble("filter", tuple(parameters), draw)


def gradient_noise(
    parameters: Sequence[Tensor], gradients: Sequence[Sequence[Tensor]]
) -> Ensemble:
    """Directions with the covariance Σ of gradient noise: Σ^{1/2}ξ, ξ normal.

        v ∝ Σ_k ξ_k·(g_k − ḡ)

    They lie in the span of the m centred gradients, so in m − 1 dimensions only.

    Arguments:
        parameters: the tensors that move.
        gradients: g_k, gradients of m ≥ 2 microbatches of one size at the present weights
            `(microbatch, parameter)`; the same ones on every process.

    Raises:
        ValueError: when there are fewer than two microbatches, or shapes do not match.
    """
    if len(gradients) < 2:
        raise ValueError(f"gradients: found {len(gradients)} microbatches, expected 2 or more")
    for parts in gradients:
        _check_shapes("gradients", parts, parameters)

    def draw(_: int, generator: torch.Generator) -> list[Tensor]:
        xi = torch.randn(
            len(gradients), dtype=torch.float64, generator=generator, device=generator.device
        )
        # Σ ξ_k (g_k − ḡ) = Σ (ξ_k − ξ̄) g_k needs no copy of the gradients.
        return _combine((xi - xi.mean()).tolist(), gradients)

    return Ensemble("noise", tuple(parameters), draw)


def shared_noise(
    parameters: Sequence[Tensor], gradients: Sequence[Sequence[Tensor]], processes: Processes
) -> Ensemble:
    """`gradient_noise` of microbatches that several processes hold between them.

    All processes call it, and draw each direction together with a generator in one state.

    Arguments:
        parameters: the tensors that move.
        gradients: g_k of this process's microbatches, as many on each process.
        processes: that hold the others.
    """
    mine, total = len(gradients), len(gradients) * processes.size
    if processes.size == 1:
        return gradient_noise(parameters, gradients)
    means = [
        processes.add(torch.stack(parts).sum(dim=0, dtype=_wide(parts[0]))) / total
        for parts in zip(*gradients, strict=True)
    ]
    centred = [[g - m for g, m in zip(parts, means, strict=True)] for parts in gradients]

    def draw(_: int, generator: torch.Generator) -> list[Tensor]:
        xi = torch.randn(total, dtype=torch.float64, generator=generator, device=generator.device)
        share = xi[processes.rank * mine :][:mine].tolist()
        return [
            processes.add(sum(x * part for x, part in zip(share, parts, strict=True)))
            for parts in zip(*centred, strict=True)
        ]

    return Ensemble("noise", tuple(parameters), draw)


def trajectory(parameters: Sequence[Tensor], earlier: Sequence[Sequence[Tensor]]) -> Ensemble:
    """The directions w − w_s in which the weights have moved since earlier times.

    Positive radii lie ahead; r = −‖w − w_s‖ is the earlier point itself.

    Arguments:
        parameters: w, the tensors that move.
        earlier: w_s, weights at earlier times, w0 among them or not `(time, parameter)`.

    Raises:
        ValueError: when there are none, or shapes do not match.
    """
    if not earlier:
        raise ValueError("earlier: found no weights, expected those of one time or more")
    for parts in earlier:
        _check_shapes("earlier", parts, parameters)
    now = [local(p).detach().clone() for p in parameters]

    def draw(index: int, _: torch.Generator) -> list[Tensor]:
        return [
            w.to(_wide(w)) - w_s.to(w.device, _wide(w))
            for w, w_s in zip(now, earlier[index], strict=True)
        ]

    return Ensemble("trajectory", tuple(parameters), draw, limit=len(earlier))


def unit_direction(
    ensemble: Ensemble,
    index: int,
    generator: torch.Generator,
    *,
    processes: Processes = ALONE,
) -> list[Tensor]:
    """A direction of an ensemble, divided by its Euclidean length over all tensors.

    Arguments:
        ensemble: the kind of directions.
        index: number of the direction, from 0.
        generator: draws it.
        processes: among which the tensors may be sharded; all of them call this.

    Returns:
        v, one part a tensor, in float32 at least.

    Raises:
        ValueError: when the direction is zero or not finite.
    """
    direction = ensemble.draw(index, generator)
    part_sq = torch.stack([square(part) for part in direction]).sum()
    length = float(processes.add_parts(part_sq).sqrt())
    if not 0 < length < float("inf"):
        raise ValueError(f"ensemble: direction {index} of {ensemble.name!r} has length {length}")
    return [part / length for part in direction]


def _normal(parameter: Tensor, generator: torch.Generator) -> Tensor:
    values = torch.randn(
        parameter.shape, dtype=_wide(parameter), generator=generator, device=generator.device
    )
    return part_like(values, parameter).to(parameter.device)


def _like_filters(parameter: Tensor, direction: Tensor) -> Tensor:
    if parameter.ndim < 2:
        return torch.zeros_like(direction)
    weights = local(parameter).detach().to(direction.dtype)
    lengths = _filter_lengths(weights) / _filter_lengths(direction)
    return direction * lengths.view(-1, *[1] * (parameter.ndim - 1))


def _filter_lengths(values: Tensor) -> Tensor:
    return torch.linalg.vector_norm(values.flatten(1), dim=1)


def _combine(factors: Sequence[float], gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Σ factor·gradient, part by part, for factors that add up to 0."""
    total = [torch.zeros_like(part, dtype=_wide(part)) for part in gradients[0]]
    for factor, parts in zip(factors, gradients, strict=True):
        for sum_, part, first in zip(total, parts, gradients[0], strict=True):
            # Less the first gradient: what all have in common would leave its rounding errors.
            sum_.add_((part.detach().to(sum_) - first.detach().to(sum_)), alpha=factor)
    return total


def _wide(values: Tensor) -> torch.dtype:
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def _check_shapes(name: str, parts: Sequence[Tensor], parameters: Sequence[Tensor]) -> None:
    found, expected = [tuple(p.shape) for p in parts], [tuple(local(p).shape) for p in parameters]
    if found != expected:
        raise ValueError(f"{name}: found shapes {found}, expected {expected}")
