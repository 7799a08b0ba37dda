"""Lightning: a callback for its Trainer, that of `lightning` or of `pytorch_lightning`.

    from ultraslow.probes.hosts.lightning import LightningRecorder

    trainer = Trainer(callbacks=[LightningRecorder("runs/r50-b256-s0", scaling="sqrt")])

It attaches before the first batch is trained on, when the checkpoint has been loaded. Lightning
divides the loss of every batch by `accumulate_grad_batches`, also where an epoch ends before so
many have come; the callback declares what each batch weighs.
"""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ultraslow.probes.recorder.attach import attach
from ultraslow.probes.recorder.recorder import Recorder

from .host import (
    Samples,
    length,
    refuse_unknown,
    resumed,
    samples_of,
    state_of,
    with_labels,
)

try:
    from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError as missing:
        raise ImportError(
            "Lightning is not installed: pip install 'ultraslow[lightning]'"
        ) from missing


class LightningRecorder(Callback):
    """Records what a Trainer trains.

    With manual optimization units are taken to be equal, and the loss is what `training_step`
    returns, if it returns one. Nothing is recorded with `fast_dev_run`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        batch_size: int | None = None,
        samples: Samples = samples_of,
        **options: Any,
    ) -> None:
        """Say where to record, and how.

        Arguments:
            path: of the recording.
            batch_size: samples in an update over all processes, M. When None: batch size of the
                loader × accumulated batches × processes.
            samples: how many samples a batch holds; the length of its first tensor by default.
            options: more that `us.attach` takes.
        """
        super().__init__()
        refuse_unknown(options)
        self.recorder: Recorder | None = None
        self._path, self._options = path, options
        self._batch_size, self._samples = batch_size, samples
        self._state: Mapping[str, Any] = {}
        self._size = 0

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Come first, before callbacks that change the weights at the end, as averaging does."""
        trainer.callbacks = [self, *(one for one in trainer.callbacks if one is not self)]

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Attach, before the first batch."""
        if trainer.fast_dev_run:
            return
        self._size = self._samples(batch)
        if self.recorder is None:
            self.recorder = self._attached(trainer)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Declare the batch, whose loss was divided by how many are accumulated at most."""
        if self.recorder is not None and pl_module.automatic_optimization:
            share = 1 / (trainer.accumulate_grad_batches * _replicas(trainer))
            self.recorder.unit(size=self._size, weight=share)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Observe the loss of the batch."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if self.recorder is not None and isinstance(loss, Tensor) and loss.numel() == 1:
            divided = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
            self.recorder.observe(loss=loss * divided)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the recording; checkpoints that are saved later hold its last state."""
        if self.recorder is not None:
            self._state = self.state_dict()
            self.recorder.close()
            self.recorder = None

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave the recording live, for a later run to go on."""
        if self.recorder is not None:
            self._state = {"iteration": self.recorder.iteration}
            self.recorder.__exit__(type(exception), exception, None)
            self.recorder = None

    def state_dict(self) -> dict[str, Any]:
        """What a later run needs to go on, for Lightning's checkpoint."""
        return dict(self._state) if self.recorder is None else state_of(self.recorder)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember the state that is in Lightning's checkpoint, until the training begins."""
        self._state = state_dict

    def _attached(self, trainer: Any) -> Recorder:
        loader, optimizers = trainer.train_dataloader, trainer.optimizers
        each = self._size_of_batches(trainer, loader)
        options = {"resume": self._resume(trainer), **self._options}
        return attach(
            trainer.strategy.model,
            optimizers[0] if len(optimizers) == 1 else optimizers,
            self._path,
            batch_size=self._batch_size
            or each * trainer.accumulate_grad_batches * _replicas(trainer),
            scaler=getattr(trainer.precision_plugin, "scaler", None),
            **with_labels(
                options,
                seed=_seed(),
                data_size=length(getattr(loader, "dataset", None)),
            ),
        )

    def _size_of_batches(self, trainer: Any, loader: Any) -> int:
        """Samples in a full batch of a process; of the first batch where the loader has none."""
        for maker in (loader, getattr(loader, "batch_sampler", None)):
            size = getattr(maker, "batch_size", None)
            if isinstance(size, int):
                break
        else:
            return self._size
        whole = self._size == size or (self._size < size and trainer.is_last_batch)
        if not whole and self._samples is samples_of:
            raise ValueError(
                f"samples: the first tensor of a batch has {self._size} rows, but the loader "
                f"makes batches of {size}; give samples=, a function from a batch to how many "
                "samples it holds"
            )
        return size

    def _resume(self, trainer: Any) -> Any:
        """What the recording goes on from; None for a new one."""
        if trainer.global_step == 0:
            return None
        if not self._state:
            warnings.warn(
                f"recording {self._path}: the checkpoint holds no state of it, so it begins at "
                f"step {trainer.global_step}: distances are from the weights of that step",
                RuntimeWarning,
                stacklevel=2,
            )
        return resumed(self._state)


def _replicas(trainer: Any) -> int:
    """Processes that train on other data each."""
    sampling = getattr(trainer.strategy, "distributed_sampler_kwargs", {})
    return int(sampling.get("num_replicas", 1))


def _seed() -> int | None:
    """That of `seed_everything`, where it was called."""
    seed = os.environ.get("PL_GLOBAL_SEED", "")
    return int(seed) if seed.isdigit() else None
