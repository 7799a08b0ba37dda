"""Accelerate: recording a loop whose model and optimizer it has prepared.

    from ultraslow.probes.hosts.accelerate import AccelerateRecorder

    with AccelerateRecorder(accelerator, model, optimizer, "runs/vit-b512-s0", seed=0):
        for inputs, targets in loader:
            with accelerator.accumulate(model):
                ...

It stands before `backward` of the accelerator, which is given every loss. It attaches at the first
one, so that weights may be loaded before or after the recorder is made.

Accelerate divides the loss of every batch by `gradient_accumulation_steps`, also where an epoch
ends before so many have come; the recorder declares what each batch weighs.
"""

import math
import warnings
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ultraslow.probes.buffer import Resume
from ultraslow.probes.recorder.attach import attach, own_optimizers
from ultraslow.probes.recorder.recorder import Recorder

from .host import length, refuse_unknown, replaced, resumed, state_of, with_labels

try:
    from accelerate.data_loader import DataLoaderDispatcher
except ImportError as missing:
    raise ImportError(
        "accelerate is not installed: pip install 'ultraslow[accelerate]'"
    ) from missing

_FILE = "ultraslow.pt"  # in the folder of a checkpoint


class AccelerateRecorder(AbstractContextManager["AccelerateRecorder"]):
    """Records what is trained by losses that are given to `backward` of an Accelerator.

    `save_state` of the accelerator saves what the recording needs to go on, and `load_state` has
    it go on from there.
    """

    def __init__(
        self,
        accelerator: Any,
        model: torch.nn.Module,
        optimizer: Any,
        path: str | Path,
        *,
        batch_size: int | None = None,
        resume: Resume | str | Path | None = None,
        **options: Any,
    ) -> None:
        """Say what to record, where, and how.

        Arguments:
            accelerator: that has prepared model and optimizer.
            model: as it was prepared.
            optimizer: of its parameters, as it was prepared.
            path: of the recording.
            batch_size: samples in an update over all processes, M. When None: batch size of the
                prepared loader × accumulated batches, over all processes.
            resume: as `us.attach` takes it; or the folder of a checkpoint that was loaded before
                this was made. What is loaded afterwards is resumed without it.
            options: more that `us.attach` takes.
        """
        refuse_unknown({**options, "resume": None})
        self.recorder: Recorder | None = None
        self._accelerator, self._model, self._optimizer = accelerator, model, optimizer
        self._path, self._options, self._batch_size = path, options, batch_size
        self._state: dict[str, Any] = {}
        self._resume: Any = _read(resume) if isinstance(resume, str | Path) else resume
        self._standing = ExitStack()
        self._standing.enter_context(replaced(accelerator, "backward", self._backward))
        for one in own_optimizers(optimizer):
            self._standing.callback(one.register_step_pre_hook(self._before_step).remove)
        accelerator.register_save_state_pre_hook(self._save)
        accelerator.register_load_state_pre_hook(self._load)

    def close(self) -> None:
        """Close the recording; checkpoints that are saved later hold its last state."""
        if self.recorder is not None:
            self._state = state_of(self.recorder)
            self.recorder.close()
            self.recorder = None
        self._standing.close()

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        """Close; after an exception leave the recording live, for a later run to go on."""
        if kind is None:
            self.close()
        elif self.recorder is not None:
            self._state = {"iteration": self.recorder.iteration}
            self.recorder.__exit__(kind, *error)
            self.recorder = None
        self._standing.close()

    def _backward(self, inner: Any, loss: Tensor, **named: Any) -> None:
        """Declare a batch, and observe its loss; not where it may be that of another model."""
        if self.recorder is None:
            self.recorder = self._attached()
        alone = len(self._accelerator._models) == 1
        if alone:
            weight = 1 / self._accelerator.gradient_accumulation_steps / self._replicas
            self.recorder.unit(size=self._size(), weight=weight)
        inner(loss, **named)
        if alone:
            self.recorder.observe(loss=loss.detach())

    def _before_step(self, *_: Any) -> None:
        if self.recorder is None:
            warnings.warn(
                f"recording {self._path}: nothing is recorded, as the optimizer steps before any "
                "loss was given to accelerator.backward",
                RuntimeWarning,
                stacklevel=2,
            )

    def _attached(self) -> Recorder:
        accelerator, loader = self._accelerator, self._loader
        each = getattr(loader, "total_batch_size", None)
        if self._batch_size is None and each is None:
            raise ValueError(
                "batch_size: the loader was not prepared by the accelerator, so it is not known; "
                "give samples in an update over all processes"
            )
        return attach(
            self._model,
            self._optimizer,
            self._path,
            batch_size=self._batch_size or each * accelerator.gradient_accumulation_steps,
            scaler=accelerator.scaler,
            resume=self._resume,
            **with_labels(self._options, data_size=length(getattr(loader, "dataset", None))),
        )

    @property
    def _loader(self) -> Any:
        """The prepared loader that is being iterated over; None where there is none."""
        return self._accelerator.gradient_state.active_dataloader

    @property
    def _replicas(self) -> int:
        """Processes that train on other data each."""
        return int(self._accelerator.num_processes)

    def _size(self) -> float:
        """Samples in the batch at hand on this process, the last of an epoch among them.

        Accelerate fills the last batch up where several processes train, unless it is told not to.
        """
        loader, replicas = self._loader, self._replicas
        total = getattr(loader, "total_batch_size", None)
        if total is None:
            assert self._batch_size is not None
            return self._batch_size / self._accelerator.gradient_accumulation_steps / replicas
        each, left = total / replicas, int(loader.remainder)
        if not loader.end_of_dataloader or left <= 0:
            return float(each)
        if isinstance(loader, DataLoaderDispatcher):
            return float(math.ceil(left / replicas))
        if replicas == 1:
            return float(left)
        filled = bool(self._accelerator.even_batches)
        here = left - self._accelerator.process_index * each
        return float(each if filled else min(max(here, 1), each))

    def _save(self, models: Any, weights: Any, folder: str) -> None:
        """Put the recorder's state into a checkpoint of the accelerator."""
        if self.recorder is not None:
            self._state = state_of(self.recorder)
        if self._accelerator.is_main_process and self._state:
            torch.save(self._state, Path(folder, _FILE))

    def _load(self, models: Any, folder: str) -> None:
        """Go on from the checkpoint that is being loaded, with the next loss."""
        if not Path(folder, _FILE).exists():
            warnings.warn(
                f"recording {self._path}: the checkpoint {folder} holds no state of it, so "
                "distances are from the weights at the first loss",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        if self.recorder is not None:
            self.recorder.__exit__(InterruptedError, None, None)
            self.recorder = None
        self._resume = _read(folder)


def _read(folder: str | Path) -> Any:
    """What the recording goes on from, of a checkpoint in a folder.

    Raises:
        FileNotFoundError: when there is no state of a recording in it.
    """
    file = Path(folder, _FILE)
    if not file.exists():
        raise FileNotFoundError(
            f"resume: found no {_FILE} in the checkpoint {folder}, which was saved without a "
            "recorder; give resume=, an iteration, or choose another path for a new recording"
        )
    return resumed(torch.load(file, weights_only=True))
