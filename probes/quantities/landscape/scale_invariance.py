"""Which tensors are scale-invariant: their length does not matter, only their direction.

The weights of a layer whose output is normalized are (Ioffe and Szegedy 2015). Their
distance from initialization grows by the growth of their norm alone, ‖w‖ ∝ t^{1/4} without weight
decay, which can pass for slow diffusion; so recordings say which tensors these are.

A tensor is doubled and the outputs are compared, which takes no knowledge of the model's layers:
they either agree or not. One backward pass would nearly do, as a scale-invariant loss has
⟨w, ∇_w L⟩ = 0 (Euler's theorem on homogeneous functions); but the gradient of any large tensor is
almost orthogonal to it, with a cosine of about 1/√N.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ultraslow.probes.distributed import Processes, in_step, local, parameter_names, part_like
from ultraslow.probes.norms import square
from ultraslow.probes.quantities.evaluation import ModelState, undisturbed

Forward = Callable[[], Tensor]
ALONE = Processes()

# Displacement from the present weights, beside their root mean square.
_DISPLACEMENT = 0.3


@dataclass(frozen=True)
class ScaleEffect:
    """How the outputs change with one tensor, ‖Δ outputs‖/‖outputs‖.

    Arguments:
        scaled: when the tensor is doubled.
        displaced: when it is moved as far in a random direction.
        rounding: below this a change is rounding.
    """

    scaled: float
    displaced: float
    rounding: float

    def invariant(self, tolerance: float) -> bool:
        """Whether the tensor matters, and its length does not, up to a share of its effect."""
        return self.displaced > self.rounding and self.scaled < tolerance * self.displaced


def scale_invariant_tensors(
    model: nn.Module,
    forward: Forward,
    *,
    generator: torch.Generator,
    tolerance: float = 0.01,
    processes: Processes = ALONE,
) -> dict[str, bool]:
    """Which trainable tensors leave the outputs in training mode as they are when doubled.

    Normalization adds ε to a variance, so invariance is never exact: doubling changes a
    normalized output by about 3ε/(8·variance). With the tolerance of 1 % and ε = 10⁻⁵, tensors
    whose outputs have a variance below about 4·10⁻⁴ do not count as invariant, and do not act
    so. A tensor without any effect on the outputs, such as a bias before batch normalization,
    does not count as invariant either.

    Arguments:
        model: the model that `forward` uses.
        forward: gives the outputs for fixed inputs, of 16 samples or more; two samples alone
            are normalized to ±1 whatever they are.
        generator: draws displacements.
        tolerance: largest effect of doubling, beside that of a move of the same length.
        processes: among which the weights may be sharded; all of them call this.

    Returns:
        By the name of each trainable tensor in the unwrapped model, whether it is invariant.
    """
    effects = scale_effects(model, forward, generator=generator, processes=processes)
    return {name: effect.invariant(tolerance) for name, effect in effects.items()}


@torch.no_grad()
def scale_effects(
    model: nn.Module,
    forward: Forward,
    *,
    generator: torch.Generator,
    processes: Processes = ALONE,
) -> dict[str, ScaleEffect]:
    """What doubling and displacing each trainable tensor does to the outputs.

    All weights are first moved at random, by 0.3 of their root mean square. At the initial
    weights, gains of 0 would hide everything before them, and shifts of 0 would make gains look
    invariant; neither outlives the first update. Everything is put back bit for bit.

    Arguments:
        model: the model that `forward` uses.
        forward: gives the outputs for fixed inputs. It runs twice a tensor.
        generator: draws displacements; with several processes, in the same state on each.
        processes: among which the weights may be sharded; all of them call this.

    Returns:
        Effects by the name of the tensor in the unwrapped model.

    Raises:
        ValueError: when outputs are not finite.
        RuntimeError: with sharded weights, when outputs of another process are not.
        TypeError: when outputs are no tensor.
    """
    parameters = parameter_names(model)
    saved = {name: local(p).detach().clone() for name, p in parameters.items()}
    with undisturbed(model) as state:
        model.train()
        try:
            for p in parameters.values():
                size = _DISPLACEMENT * _root_mean_square(p, processes)
                local(p.data).add_(_noise(p, generator), alpha=size)

            def again() -> Tensor:
                return _outputs(forward, state, model, processes)

            outputs = again()
            return {
                name: _effect(p, generator, outputs, again, processes)
                for name, p in parameters.items()
            }
        finally:
            for name, p in parameters.items():
                local(p.data).copy_(saved[name])
            torch.clear_autocast_cache()


def _effect(
    parameter: Tensor,
    generator: torch.Generator,
    outputs: Tensor,
    again: Forward,
    processes: Processes,
) -> ScaleEffect:
    values = local(parameter.data)
    present = values.clone()
    values.mul_(2)
    scaled = _change(again(), outputs)
    noise = _noise(parameter, generator)
    present_sq, noise_sq = processes.add_parts(torch.stack([square(present), square(noise)]))
    values.copy_(present + noise * (present_sq / noise_sq).sqrt().to(noise))
    displaced = _change(again(), outputs)
    values.copy_(present)
    return ScaleEffect(scaled, displaced, 100 * torch.finfo(parameter.dtype).eps)


def _outputs(
    forward: Forward, state: ModelState, model: nn.Module, processes: Processes
) -> Tensor:
    """Outputs in training mode, from the buffers and random numbers that there were."""
    state.rewind()
    torch.clear_autocast_cache()
    outputs = forward()
    device = next(model.parameters()).device
    return in_step(processes, lambda: _checked(outputs, model), device=device, what="forward")


def _checked(outputs: object, model: nn.Module) -> Tensor:
    if not isinstance(outputs, Tensor):
        raise TypeError(f"forward: returned {type(outputs).__name__}, expected a tensor")
    if not torch.isfinite(outputs).all():
        raise ValueError("forward: returned outputs that are not finite, expected finite ones")
    if not model.training:
        raise ValueError("forward: left the model in evaluation mode, expected training mode")
    return outputs.detach().double().clone()


def _change(outputs: Tensor, before: Tensor) -> float:
    return float(torch.linalg.vector_norm(outputs - before) / torch.linalg.vector_norm(before))


def _noise(parameter: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(parameter.shape, generator=generator, device=generator.device)
    return part_like(noise, parameter).to(local(parameter))


def _root_mean_square(parameter: Tensor, processes: Processes) -> float:
    """Root mean square of the weights; 1 where all of them are 0."""
    whole_sq = processes.add_parts(square(local(parameter)))
    return float((whole_sq / max(parameter.numel(), 1)).sqrt()) or 1.0
