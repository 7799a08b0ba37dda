"""Hugging Face: a callback for the Trainer of transformers.

    from ultraslow.probes.hosts.transformers import TransformersRecorder

    trainer.add_callback(TransformersRecorder(trainer, "runs/gpt-b512-s0", scaling="sqrt"))

It attaches when the training begins, the checkpoint having been loaded. Callbacks are not told of
batches and losses, so it is given the trainer, and stands before its `training_step` while it
trains.

How much a backward pass weighs in an update: where the model counts, the loss of a batch is the
sum over its tokens, divided by the tokens of the whole update on all processes. The weight is then
the batch's share of the tokens, and it stands for as large a share of the update's samples; the
noise is that of the update, whatever the tokens of a sample have in common. Otherwise the mean
loss is divided by the number of batches, which is smaller at the end of an epoch; or it is not,
where the trainer takes it for a sum and it is none. Which it is, is tried at the first batch.
"""

import base64
import io
import math
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ultraslow.probes.recorder.attach import attach
from ultraslow.probes.recorder.recorder import Recorder

from .host import (
    Samples,
    length,
    refuse_unknown,
    replaced,
    resumed,
    samples_of,
    state_of,
    with_labels,
)

try:
    from transformers import Trainer, TrainerCallback
except ImportError as missing:
    raise ImportError(
        "transformers is not installed: pip install 'ultraslow[transformers]'"
    ) from missing

_KEY = "ultraslow"  # in the states of callbacks that a checkpoint holds
_NONE = 1e-12  # the weight of a batch without any token


class TransformersRecorder(TrainerCallback):
    """Records what a Trainer trains, as long as its `train` runs."""

    def __init__(
        self,
        trainer: Any,
        path: str | Path,
        *,
        batch_size: int | None = None,
        samples: Samples = samples_of,
        **options: Any,
    ) -> None:
        """Say what to record, where, and how.

        Arguments:
            trainer: that this callback is added to.
            path: of the recording.
            batch_size: samples in an update over all processes, M; the trainer's when None.
            samples: how many samples a batch holds; the length of its first tensor by default.
            options: more that `us.attach` takes.
        """
        super().__init__()
        refuse_unknown(options)
        self.recorder: Recorder | None = None
        self._trainer, self._path, self._options = trainer, path, options
        self._batch_size, self._samples = batch_size, samples
        self._sums: bool | None = None  # whether losses are sums over tokens
        self._seen = 0  # samples of the update in the making, on this process
        self._state: dict[str, Any] = {}
        self._standing, self._always = ExitStack(), ExitStack()
        self._always.enter_context(replaced(trainer, "train", self._train))

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Attach; a training that begins anew with smaller batches is recorded anew."""
        trainer, anew = self._trainer, self.recorder is not None
        self._leave()
        if anew and state.global_step == 0:
            self._options["overwrite"] = True
        options = {"resume": self._resume(state), **self._options}
        self.recorder = attach(
            trainer.model_wrapped,
            trainer.optimizer,
            self._path,
            batch_size=self._batch_size or trainer.get_total_train_batch_size(args),
            scaler=getattr(trainer.accelerator, "scaler", None),
            **with_labels(options, seed=args.seed, data_size=length(trainer.train_dataset)),
        )
        stands = {
            "get_batch_samples": self._get_batch_samples,
            "training_step": self._training_step,
            "_save_checkpoint": self._save_checkpoint,
            "_load_best_model": self._load_best_model,
        }
        for name, method in stands.items():
            self._standing.enter_context(replaced(trainer, name, method))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the recording."""
        self._close()

    def _train(self, inner: Any, *given: Any, **named: Any) -> Any:
        """Leave the recording live where the training fails, for a later run to go on."""
        try:
            return inner(*given, **named)
        except BaseException as error:
            self._leave(error)
            raise

    def _get_batch_samples(self, inner: Any, *given: Any, **named: Any) -> Any:
        """Count the samples of an update."""
        batches, items = inner(*given, **named)
        self._seen = sum(map(self._samples, batches))
        return batches, items

    def _training_step(
        self, inner: Any, model: Any, inputs: Any, items: Any = None, **named: Any
    ) -> Tensor:
        """Declare a batch, and observe its loss."""
        recorder, items = self.recorder, named.pop("num_items_in_batch", items)
        assert recorder is not None
        if self._sums is None:
            self._sums = self._depends(model, inputs, items)
        share, batches = self._share(inputs, items), self._accumulated()
        divided = batches if self._divides(items) else 1
        size = share * self._seen * self._replicas() if self._sums else self._samples(inputs)
        recorder.unit(size=size, weight=share / divided)
        loss: Tensor = inner(model, inputs, items, **named)
        of_mean = batches if self._sums else 1 / self._factor(items)
        recorder.observe(loss=loss * (divided * of_mean))
        return loss

    def _share(self, inputs: Any, items: Any) -> float:
        """What the mean loss of a batch counts in the update, before it is divided by batches."""
        args, replicas = self._trainer.args, self._replicas()
        if not self._sums:
            return self._factor(items) / replicas
        total = items.flatten()[0] if isinstance(items, Tensor) else items
        apart = 1 if args.average_tokens_across_devices else replicas * max(args.n_gpu, 1)
        share = float(_tokens(self._trainer, inputs).double() / total) / apart
        return share if share > 0 and math.isfinite(share) else _NONE

    def _divides(self, items: Any) -> bool:
        """Whether the trainer divides losses by the batches of the update."""
        trainer = self._trainer
        told = getattr(trainer, "loss_is_scaled_for_ga", None)
        counts = trainer.model_accepts_loss_kwargs and items is not None
        return not (counts or trainer.compute_loss_func is not None if told is None else told)

    def _factor(self, items: Any) -> int:
        """By what the trainer multiplies a loss that it takes for one over all processes."""
        trainer = self._trainer
        counts = trainer.model_accepts_loss_kwargs or trainer.compute_loss_func is not None
        multiplies = trainer.args.average_tokens_across_devices and counts and items is not None
        return self._replicas() if multiplies and not _is_own(trainer.compute_loss) else 1

    def _depends(self, model: Any, inputs: Any, items: Any) -> bool:
        """Whether the loss is a sum over tokens, divided by the tokens that the trainer counts.

        It is tried, as no argument tells: a model may take the number and leave it alone.
        """
        if items is None:
            return False
        try:
            whole, half = self._tried(model, inputs, items)
        except Exception:  # a loss that cannot be computed twice, or without gradients
            return not self._divides(items)
        depends = whole > 1.5 * half
        batches = self._accumulated()
        if not depends and not self._divides(items) and batches > 1:
            warnings.warn(
                f"recording {self._path}: the loss does not depend on num_items_in_batch, and the "
                f"Trainer does not divide it by the {batches} batches of an update, so gradients "
                f"are {batches} times those of the mean loss; to have it divide, set "
                "trainer.loss_is_scaled_for_ga = False",
                RuntimeWarning,
                stacklevel=2,
            )
        return depends

    def _tried(self, model: Any, inputs: Any, items: Any) -> list[float]:
        """The loss of a batch without dropout, and with twice as many tokens in the update."""
        trainer, device = self._trainer, self._trainer.args.device
        model.eval()
        with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            ready = trainer._prepare_inputs(inputs)
            losses = [
                trainer.compute_loss(model, {**ready}, num_items_in_batch=items * times)
                for times in (1, 2)
            ]
        return [float(loss.mean()) for loss in losses]

    def _accumulated(self) -> int:
        return int(self._trainer.current_gradient_accumulation_steps)

    def _replicas(self) -> int:
        """Processes that train on other data each."""
        trainer, args = self._trainer, self._trainer.args
        each = trainer._train_batch_size * args.gradient_accumulation_steps
        return int(trainer.get_total_train_batch_size(args) // each)

    def _save_checkpoint(self, inner: Any, *given: Any, **named: Any) -> Any:
        """Put the recorder's state into the checkpoint, which one process writes."""
        self._keep()
        self._trainer.state.stateful_callbacks[_KEY] = {"state": packed(self._state)}
        return inner(*given, **named)

    def _load_best_model(self, inner: Any, *given: Any, **named: Any) -> Any:
        """Close before the weights are those of an earlier checkpoint."""
        self._close()
        return inner(*given, **named)

    def _resume(self, state: Any) -> Any:
        """What the recording goes on from; None for a new one."""
        if state.global_step == 0:
            return None
        kept = (state.stateful_callbacks or {}).get(_KEY)
        if kept is None:
            warnings.warn(
                f"recording {self._path}: the checkpoint holds no state of it, so it begins at "
                f"step {state.global_step}: distances are from the weights of that step",
                RuntimeWarning,
                stacklevel=2,
            )
            return None
        return resumed(unpacked(kept["state"]))

    def _keep(self) -> None:
        if self.recorder is not None:
            self._state = state_of(self.recorder)

    def _close(self) -> None:
        if self.recorder is not None:
            self._keep()
            self.recorder.close()
            self._stand_aside()

    def _leave(self, error: BaseException | None = None) -> None:
        if self.recorder is not None:
            self._state = {"iteration": self.recorder.iteration}
            self.recorder.__exit__(type(error or InterruptedError()), error, None)
            self._stand_aside()

    def _stand_aside(self) -> None:
        self._standing.close()
        self.recorder = None


def packed(state: dict[str, Any]) -> str:
    """A state as text, as checkpoints of transformers are JSON.

    >>> unpacked(packed({"iteration": 3}))
    {'iteration': 3}
    """
    file = io.BytesIO()
    torch.save(state, file)
    return base64.b64encode(file.getvalue()).decode()


def unpacked(text: str) -> dict[str, Any]:
    """A state that `packed` made text of."""
    state: dict[str, Any] = torch.load(io.BytesIO(base64.b64decode(text)), weights_only=True)
    return state


def _is_own(compute_loss: Any) -> bool:
    """Whether the method that computes losses is another than that of transformers."""
    return getattr(compute_loss, "__func__", None) is not Trainer.compute_loss


def _tokens(trainer: Any, inputs: Any) -> Tensor:
    """The tokens of a batch whose loss counts, as the trainer counts them."""
    if "shift_labels" in inputs:
        labels = inputs["shift_labels"]
    else:
        shifts = getattr(trainer, "_loss_shifts_labels", False)
        labels = inputs["labels"][..., 1:] if shifts else inputs["labels"]
    counted: Tensor = labels.ne(-100).sum()
    return counted
