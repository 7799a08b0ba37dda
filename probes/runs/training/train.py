r"""The reference training loop: residual networks, DistributedDataParallel, gradient accumulation.

Started on every process by torchrun, with a file that lists the runs:

    python -m torch.distributed.run --standalone --nproc-per-node 2 \
        -m ultraslow.probes.runs.training.train runs.json

`probes.runs.jobs.launch` writes that file, starts the processes and reads what they tell: one JSON
object a line on standard output.

Isotropic noise in the gradient: a temperature that depends on no data.

The theory of a random walk on a random potential speaks of noise that is the same in every
direction. Adding s·ξ with normal ξ to the gradient of each update raises the temperature of SGD by
η·s²/(2(1 − m)) and leaves loss, batch size and gradient noise alone.
"""

import json
import math
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ultraslow import probes
from ultraslow.probes.distributed import end_with_torchrun, leave
from ultraslow.probes.runs.config import Config, from_mapping
from ultraslow.probes.runs.images import Arrays, Batch, load_images

from .checkpoints import Interrupted, Keeper, Stop, checkpoint_of, keep, read_checkpoint, restore
from .events import Progress, Tell, silent, tell
from .full_batch import gradient_difference
from .session import Session, attached, join, prepared


def inject(optimizer: Optimizer, deviation: float, generator: torch.Generator) -> RemovableHandle:
    """Add normal numbers to every gradient just before each step, alike on all processes.

    Hooks run in the order in which they were registered: after probes that look at the gradient
    before a step, which then see it as it was.

    Arguments:
        optimizer: whose steps are disturbed.
        deviation: s, standard deviation of each component, in the unit of the gradient.
        generator: draws the noise; on the device of the parameters, in the same state on every
            process.

    Returns:
        Removes the noise again.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def disturb(*_: object) -> None:
        add_noise([p.grad for p in parameters if p.grad is not None], deviation, generator)

    return optimizer.register_step_pre_hook(disturb)


@torch.no_grad()
def add_noise(gradients: Sequence[Tensor], deviation: float, generator: torch.Generator) -> None:
    """Add s·ξ in place, ξ standard normal.

    Arguments:
        gradients: of any shapes, on the generator's device.
        deviation: s.
        generator: draws ξ.
    """
    for gradient in gradients:
        noise = torch.empty_like(gradient, memory_format=torch.contiguous_format)
        gradient.add_(noise.normal_(generator=generator), alpha=deviation)


def train(
    session: Session, tell: Tell, *, stop: Stop, study: Mapping[str, Any] | None = None
) -> None:
    """Train one run to its last iteration, with probes attached.

    It begins with its seed, or goes on exactly from the checkpoint that an interrupted run left.

    Arguments:
        session: what to train; see `prepared`.
        tell: takes progress and the outcome; called on rank 0 only.
        stop: says when to stop before the end.
        study: what the recording shall say of the run beside its settings.

    Raises:
        Interrupted: when it was asked to stop; the checkpoint is on disk.
    """
    config, model = session.config, session.model
    progress = Progress(config.run, tell if session.place.rank == 0 else silent)
    told = {**(study or {}), **_of_images(session), **_of_full_batch(session)}
    progress.images(session.images_sha256, expected=str(told.get("recipe_images_sha256", "")))
    done, state = restored(session)
    if done:
        progress.resumed(done)
    keeper = Keeper(stop, session.place.device, first=done + 1)
    with attached(session, told, state) as recorder:
        if config.gradient_noise:
            inject(session.optimizer, config.gradient_noise, session.noise)
        for iteration, parts in enumerate(updates(session, done), done + 1):
            loss = update(session, iteration, parts)
            recorder.observe(loss=loss)
            progress.at(iteration, loss)
            decision = keeper.decide(iteration) if iteration < config.iterations else "go"
            if decision != "go":
                keep_all(session, iteration, recorder)
                progress.kept(iteration)
            if iteration == config.iterations - 1 and config.decay == "constant":
                keep_all(session, iteration, recorder, last=True)
            if decision == "stop":
                raise Interrupted(config.run)
        progress.trained()
    if session.place.rank == 0:
        checkpoint_of(config.path).unlink(missing_ok=True)
    if not config.evaluations:
        session.held_out(model.module.eval())
    session.source.close()
    progress.end(session.held_out.last["accuracy"])


def _of_images(session: Session) -> dict[str, str]:
    """What a recording says of the pixels: a digest, where they live in memory."""
    return {"images_sha256": session.images_sha256} if session.images_sha256 else {}


def _of_full_batch(session: Session) -> dict[str, float]:
    """What a recording of a full batch says of its gradients; before weights are restored."""
    difference = gradient_difference(session)
    if difference is None or not math.isfinite(difference):
        return {}
    return {"gradient_difference": difference}


def restored(session: Session) -> tuple[int, Mapping[str, Any] | None]:
    """How many updates were made already, and the recorder's state after them.

    Raises:
        ValueError: when the images are others than those that the run began with.
    """
    found = read_checkpoint(session.config.path)
    if found is None:
        return 0, None
    began, now = found.get("images_sha256", ""), session.images_sha256
    if began and now and began != now:
        raise ValueError(
            f"images: found pixels of digest {now[:12]}, expected {began[:12]}, with which run"
            f" {session.config.run} began: other files, or decoded by another library; go on where"
            " it was begun, or train it anew in another folder"
        )
    if found["iteration"] >= session.config.iterations:
        raise ValueError(
            f"iterations: found {session.config.iterations}, expected more than"
            f" {found['iteration']}, up to which run {session.config.run} is trained"
        )
    state = restore(found, session.model.module, session.optimizer, session.generators)
    return found["iteration"], state


def updates(session: Session, done: int) -> Iterator[Iterable[Batch]]:
    """The microbatches of this process for each update that is still to be made."""
    endless = session.source.updates(session.share, skip=done)
    return islice(endless, session.config.iterations - done)


def update(session: Session, iteration: int, parts: Iterable[Batch]) -> Tensor:
    """Make one update of the weights.

    Arguments:
        session: what is trained.
        iteration: number of the update, from 1.
        parts: microbatches of this process.

    Returns:
        The mean loss of this process's microbatches, a scalar on the device.
    """
    config, optimizer = session.config, session.optimizer
    set_rate(optimizer, config.rate(iteration, session.peak_rate))
    if config.reset_momentum and starts_epoch(iteration, config, session.source.size):
        optimizer.state.clear()
    criterion = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
    count = session.share.microbatches
    loss = backward(session.model, criterion, parts, count=count, precision=config.precision)
    if config.clip:
        nn.utils.clip_grad_norm_(session.model.parameters(), config.clip)
    optimizer.step()
    optimizer.zero_grad()
    return loss


def keep_all(
    session: Session, iteration: int, recorder: probes.Recorder, *, last: bool = False
) -> None:
    """Write a checkpoint, or the one that a finished run leaves; all processes call it."""
    keep(
        session.config.path,
        iteration,
        session.model.module,
        session.optimizer,
        recorder=recorder.state_dict(),
        generators=session.generators,
        images_sha256=session.images_sha256,
        last=last,
    )


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give all parameter groups the learning rate of the next update."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def starts_epoch(iteration: int, config: Config, train_size: int) -> bool:
    """Whether an update is the first of a pass over the training set, but not of the run."""
    return iteration > 1 and (iteration - 1) % (train_size // config.batch_size) == 0


def backward(
    model: DistributedDataParallel,
    criterion: nn.Module,
    parts: Iterable[Batch],
    *,
    count: int,
    precision: str,
) -> Tensor:
    """Accumulate the gradient of the mean loss over all microbatches of all processes.

    Arguments:
        model: the network; gradients are reduced in the last backward pass only.
        criterion: a loss that is a mean over its batch.
        parts: inputs and targets of this process's microbatches, of equal sizes.
        count: how many these are.
        precision: arithmetic of the forward pass, `fp32` or `bf16`.

    Returns:
        The mean loss of this process's microbatches, a scalar on the device.
    """
    losses = []
    for index, (inputs, targets) in enumerate(parts):
        with nullcontext() if index == count - 1 else model.no_sync():
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
                loss = criterion(model(inputs), targets) / count
            loss.backward()
        losses.append(loss.detach())
    return torch.stack(losses).sum()


def main(path: str) -> None:
    """Train the runs listed in a JSON file, one after the other, on the processes of torchrun."""
    listed = json.loads(Path(path).read_text())
    configs = [from_mapping(entry["settings"]) for entry in listed]
    stop = Stop()
    signal.signal(signal.SIGTERM, stop.ask)
    end_with_torchrun()
    place = join(configs[0].device)
    if place.rank == 0:
        tell({"event": "start"})
    try:
        for (config, arrays), entry in zip(with_images(configs), listed, strict=True):
            train(prepared(config, arrays, place), tell, stop=stop, study=entry["study"])
    except Interrupted:
        pass
    except Exception as error:
        tell({"event": "fault", "rank": place.rank, "message": _in_short(error)})
        raise
    leave()


def _in_short(error: Exception) -> str:
    r"""An error in a line; of one from a worker that loads images the worker's last line.

    >>> _in_short(ValueError("Caught it.\nOriginal Traceback (…):\n  …\nOSError: a.jpg: gone"))
    'OSError: a.jpg: gone'
    """
    text = str(error).strip()
    if "Original Traceback" in text:
        return text.splitlines()[-1]
    return f"{type(error).__name__}: {text}"


def with_images(configs: list[Config]) -> Iterator[tuple[Config, Arrays | None]]:
    """Each run with its images, None where they are read meanwhile.

    Consecutive runs on the same set share them.
    """
    for (name, folder, size, resize), group in groupby(configs, key=attrgetter("image_set")):
        arrays = None if size else load_images(name, folder, resize=resize)
        for config in group:
            yield config, arrays


if __name__ == "__main__":
    main(sys.argv[1])
