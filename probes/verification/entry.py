"""`verify`: the toy through the user's way of training, or the user's own training."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, overload

import torch
from torch import nn

from .agreement import Rehearsal
from .rehearsal import rehearse
from .toy import Verification, verify_toy


@overload
def verify(
    wrap: Callable[[nn.Module], nn.Module] = ...,
    *,
    sizes: Sequence[int] = ...,
    updates: int = ...,
    optimizer: Callable[..., torch.optim.Optimizer] = ...,
    accumulating: Callable[[nn.Module], AbstractContextManager] | None = ...,
    scaler: torch.amp.GradScaler | None = ...,
    autocast: torch.dtype | None = ...,
    device: torch.device | str = ...,
) -> Verification: ...
@overload
def verify(
    step: Callable[..., object],
    model: nn.Module,
    optimizer: Any,
    *,
    batch_size: int,
    updates: int = ...,
    quiet: bool = ...,
    **options: Any,
) -> Rehearsal: ...


def verify(*arguments: Any, **options: Any) -> Verification | Rehearsal:
    """Compare what is recorded with the truth: in your own training, or on a toy.

        us.verify(step, model, optimizer, batch_size=512)

    calls `step()`, which makes one update of your loop and ends with the optimizer's, three times
    with a recorder attached, computes distance, gradient and noise a second time in a slow way
    that shares nothing with the probes, prints both with the digits that agree, and what to change
    where they do not. Afterwards weights, buffers, gradients, random numbers and the states of
    optimizers, schedulers and gradient scalers are as before, of whatever moved; iterators of data
    loaders that are open have gone on, and the sentence says by how much. Call it before `attach`,
    on every process.

        us.verify(wrap)

    trains a toy of known noise scale (|G|² = 4, tr Σ = 64) in a model that was wrapped, reduced
    and scaled as yours; see `probes.verification.toy.verify_toy` for its arguments.

    Arguments:
        step: one update of your loop. If it takes an argument, that is the recorder, to declare
            units with.
        model: as `attach` takes it.
        optimizer: as `attach` takes it.
        batch_size: samples in an update over all processes, M.
        updates: to compare, 3 when not given.
        quiet: whether to print nothing; else rank 0 prints the table and a sentence.
        options: of `attach`, such as `scaler` and `probes`.

    Returns:
        A `Rehearsal`: table, status and sentence, the same on every process; or the toy's
        `Verification`. Both have `passed`.

    Raises:
        ValueError: for what `attach` refuses, such as an optimizer that is recorded already.
    """
    if len(arguments) > 1 or "model" in options:
        return rehearse(*arguments, **options)
    return verify_toy(*arguments, **options)
