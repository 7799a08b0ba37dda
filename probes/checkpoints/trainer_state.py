"""Losses and learning rates that Hugging Face's Trainer keeps beside its checkpoints."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ultraslow.diffusion.recording import RecordError, brief, cut_off

Array = NDArray[np.float64]

NAME = "trainer_state.json"
_LARGEST = 2**28  # bytes


@dataclass(frozen=True)
class Logged:
    """What a trainer wrote down, at updates of its own.

    Attributes:
        loss_at: updates at which a loss was logged, the mean since the one before `(log,)`.
        loss: of the same shape.
        rate_at: updates at which a learning rate was logged `(rate,)`.
        rate: of the same shape.
        samples: on one device in one pass, as the trainer tells; None where it does not.
        malformed: how many entries without a step, and losses and learning rates that are no
            finite numbers, were left out.
    """

    loss_at: Array = field(default_factory=lambda: np.empty(0))
    loss: Array = field(default_factory=lambda: np.empty(0))
    rate_at: Array = field(default_factory=lambda: np.empty(0))
    rate: Array = field(default_factory=lambda: np.empty(0))
    samples: int | None = None
    malformed: int = 0

    def losses(self, steps: ArrayLike) -> Array:
        """Mean loss over the updates since the step before, NaN where none was logged.

        A loss counts with as many of its updates as lie between the two steps.

        Arguments:
            steps: increasing `(step,)`.

        >>> logged = Logged(np.array([10.0, 20, 30]), np.array([3.0, 2, 1]))
        >>> logged.losses([0, 20, 30, 40])
        array([nan, 2.5, 1. , nan])
        """
        ends = np.asarray(steps, dtype=np.float64)
        begins = np.concatenate([ends[:1], ends[:-1]])[:, None]
        logs = np.concatenate([[0.0], self.loss_at])
        shared = np.minimum(ends[:, None], logs[1:]) - np.maximum(begins, logs[:-1])
        weights = np.clip(shared, 0.0, None)
        total = weights.sum(axis=1)
        return np.divide(
            weights @ self.loss, total, out=np.full(len(ends), np.nan), where=total > 0
        )

    def rates(self, steps: ArrayLike) -> Array:
        """Learning rates at steps, on straight lines between those that were logged."""
        return np.interp(np.asarray(steps, dtype=np.float64), self.rate_at, self.rate)

    def rate_sums(self, steps: ArrayLike) -> Array:
        """Learning rates summed over the updates since the first step, on the same lines."""
        ends = np.asarray(steps, dtype=np.float64)
        inner = self.rate_at[(self.rate_at > ends[0]) & (self.rate_at < ends[-1])]
        grid = np.union1d(ends, inner)
        rates = self.rates(grid)
        sums = np.concatenate([[0.0], np.cumsum(np.diff(grid) * (rates[1:] + rates[:-1]) / 2)])
        return np.asarray(np.interp(ends, grid, sums))


def read_trainer_state(checkpoint: Path) -> Logged | None:
    """What a trainer wrote down until a checkpoint; None where it wrote nothing.

    Arguments:
        checkpoint: a folder that it saved, or a file in one.

    Raises:
        RecordError: when what is there is cut off, with the place, or something else.
    """
    folders = (checkpoint, checkpoint.parent) if checkpoint.is_dir() else (checkpoint.parent,)
    file = next((folder / NAME for folder in folders if (folder / NAME).is_file()), None)
    if file is None:
        return None
    if file.stat().st_size > _LARGEST:
        raise RecordError(str(file), [f"has {file.stat().st_size} bytes, expected a log"])
    try:
        told = json.loads(file.read_bytes())
        logged = list(told["log_history"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        cut = cut_off(error) if isinstance(error, ValueError) else ""
        fault = cut or f"is no log of a trainer ({type(error).__name__}: {brief(error)})"
        raise RecordError(str(file), [fault]) from error
    entries = [entry for entry in logged if isinstance(entry, dict)]
    entries = [entry for entry in entries if _is_finite(entry.get("step"))]
    wanted = [
        entry[name] for entry in entries for name in ("loss", "learning_rate") if name in entry
    ]
    samples = told.get("train_batch_size")
    return Logged(
        *_series(entries, "loss"),
        *_series(entries, "learning_rate"),
        samples if isinstance(samples, int) else None,
        len(logged) - len(entries) + sum(not _is_finite(value) for value in wanted),
    )


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _series(entries: list[dict[str, Any]], name: str) -> tuple[Array, Array]:
    """Updates and values of what was logged; of an update that was logged twice the last."""
    found: dict[float, float] = {}
    for entry in entries:
        if _is_finite(entry.get(name)):
            found[float(entry["step"])] = float(entry[name])
    at = sorted(found)
    return np.array(at), np.array([found[step] for step in at])
