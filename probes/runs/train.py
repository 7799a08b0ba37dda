"""The reference training loop: residual networks, DistributedDataParallel, gradient accumulation.

Started on every process by torchrun, with a file that lists the runs:

    python -m torch.distributed.run --standalone --nproc-per-node 2 -m probes.runs.train runs.json

`probes.runs.launch` writes that file, starts the processes and reads what they tell: one JSON
object a line on standard output.
"""

import gc
import inspect
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

import probes
from diffusion.schedule import log_spaced

from .checkpoints import Interrupted, Keeper, Stop, checkpoint_of, keep, read, restore
from .config import PLACES, Config, from_mapping
from .datasets import Arrays, Facts, facts, load
from .images import Images, Share, microbatches, on_device
from .injection import inject
from .measuring import HeldOut, evaluation_of, landscape_of, probes_of
from .models import build
from .optimizers import optimizer_of
from .resnet import parameter_count
from .telling import Progress, Tell, silent, tell

# The option that keeps buffers where they are was renamed; the old name warns where both exist.
_OPTIONS = inspect.signature(DistributedDataParallel).parameters
_BUFFERS_STAY: dict[str, Any] = {
    "forward_sync_buffers" if "forward_sync_buffers" in _OPTIONS else "broadcast_buffers": False
}
# How much of a recording cannot be looked at yet, at most. A flush takes about 25 ms.
_FLUSH_SECONDS = 5.0


@dataclass(frozen=True)
class Place:
    """Where this process stands: its rank, how many there are, its device."""

    rank: int
    processes: int
    device: torch.device


@dataclass(frozen=True)
class Session:
    """What a run trains with on this process.

    Attributes:
        config: the settings.
        place: this process.
        known: of the image set.
        images: training images.
        held_out: measures the others.
        model: the network, wrapped.
        optimizer: of its parameters.
        noise: draws injected noise.
        share: this process's part of every batch.
    """

    config: Config
    place: Place
    known: Facts
    images: Images
    held_out: HeldOut
    model: DistributedDataParallel
    optimizer: Optimizer
    noise: torch.Generator
    share: Share

    @property
    def peak_rate(self) -> float:
        """The learning rate that warm-up and decay multiply."""
        return self.config.peak_rate(self.known.train_size)

    @property
    def generators(self) -> dict[str, torch.Generator]:
        """Generators whose states a checkpoint holds."""
        return {"noise": self.noise}


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
    done, state = restored(session)
    if done:
        progress.resumed(done)
    keeper = Keeper(stop, session.place.device, first=done + 1)
    with attached(session, study or {}, state) as recorder:
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
            if decision == "stop":
                raise Interrupted(config.run)
        progress.trained()
    if session.place.rank == 0:
        checkpoint_of(config.path).unlink(missing_ok=True)
    if not config.evaluations:
        session.held_out(model.module.eval())
    progress.end(session.held_out.last["accuracy"])


def prepared(config: Config, arrays: Arrays, place: Place) -> Session:
    """All that a run trains with, as its seed makes it.

    Arguments:
        config: what to train; see `checks.checked`.
        arrays: the image set.
        place: this process.
    """
    known = facts(config.data, config.data_folder)
    images, others = on_device(arrays, place.device, samples=config.samples)
    share = Share(place.rank, place.processes, config.microbatches(place.processes))
    model = distributed(config, known, place)
    rate = config.rate(1, config.peak_rate(known.train_size))
    return Session(
        config,
        place,
        known,
        images,
        held_out=HeldOut(others, share, config.precision),
        model=model,
        optimizer=optimizer_of(model, config, learning_rate=rate),
        noise=torch.Generator(place.device).manual_seed(config.seed),
        share=share,
    )


def restored(session: Session) -> tuple[int, Mapping[str, Any] | None]:
    """How many updates were made already, and the recorder's state after them."""
    found = read(session.config.path)
    if found is None:
        return 0, None
    state = restore(found, session.model.module, session.optimizer, session.generators)
    return found["iteration"], state


def attached(
    session: Session, study: Mapping[str, Any], state: Mapping[str, Any] | None
) -> probes.Recorder:
    """The run's recorder."""
    config, size = session.config, len(session.images)
    count = parameter_count(session.model)
    return probes.attach(
        session.model,
        session.optimizer,
        config.path,
        batch_size=config.batch_size,
        probes=probes_of(config),
        evaluation=evaluation_of(config, session.held_out),
        landscape=landscape_of(config, session.images, session.share),
        schedule=log_spaced(config.iterations),
        metadata={**metadata(config, size, count, session.place.processes), **study},
        flush_seconds=_FLUSH_SECONDS,
        resume=state,
        # All processes stop after the same update, see `checkpoints.Keeper`, and the recording
        # stays live for the run to go on.
        close_on_sigterm=False,
    )


def updates(session: Session, done: int) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """The microbatches of this process for each update that is still to be made."""
    config = session.config
    endless = microbatches(
        session.images,
        session.known if config.augment else None,
        session.share,
        batch_size=config.batch_size,
        generator=torch.Generator().manual_seed(config.seed),
        skip=done,
    )
    return islice(endless, config.iterations - done)


def update(session: Session, iteration: int, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
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
    if config.reset_momentum and starts_epoch(iteration, config, len(session.images)):
        optimizer.state.clear()
    criterion = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
    loss = backward(session.model, criterion, parts, config.precision)
    if config.clip:
        nn.utils.clip_grad_norm_(session.model.parameters(), config.clip)
    optimizer.step()
    optimizer.zero_grad()
    return loss


def keep_all(session: Session, iteration: int, recorder: probes.Recorder) -> None:
    """Write a checkpoint; all processes call it."""
    keep(
        session.config.path,
        iteration,
        session.model.module,
        session.optimizer,
        recorder=recorder.state_dict(),
        generators=session.generators,
    )


def distributed(config: Config, known: Facts, place: Place) -> DistributedDataParallel:
    """The network of a run, the same initial weights on every process.

    Buffers are not sent around: each process normalizes with the statistics of its own
    microbatches, and `measuring.HeldOut` averages the running ones.
    """
    torch.manual_seed(config.seed)
    network = build(config, known)
    network = network.to(place.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return DistributedDataParallel(network, **_BUFFERS_STAY)


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
    parts: list[tuple[Tensor, Tensor]],
    precision: str,
) -> Tensor:
    """Accumulate the gradient of the mean loss over all microbatches of all processes.

    Arguments:
        model: the network; gradients are reduced in the last backward pass only.
        criterion: a loss that is a mean over its batch.
        parts: inputs and targets of this process's microbatches, of equal sizes.
        precision: arithmetic of the forward pass, `fp32` or `bf16`.

    Returns:
        The mean loss of this process's microbatches, a scalar on the device.
    """
    total = torch.zeros((), device=parts[0][0].device)
    for index, (inputs, targets) in enumerate(parts):
        last = index == len(parts) - 1
        with nullcontext() if last else model.no_sync():
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
                loss = criterion(model(inputs), targets) / len(parts)
            loss.backward()
        total += loss.detach()
    return total


def metadata(config: Config, train_size: int, parameters: int, processes: int) -> dict[str, Any]:
    """What the recording says of the run: coordinates to group by, then all settings.

    Arguments:
        config: the settings.
        train_size: images that are trained on, D.
        parameters: trained weights, N.
        processes: how many processes train.
    """
    return {
        "run": config.run,
        "scaling": config.scaling,
        "seed": config.seed,
        "model": config.model,
        "data": config.data_name,
        "data_size": train_size,
        "optimizer": config.optimizer,
        "momentum": 0.0 if config.optimizer == "adagrad" else config.momentum,
        "weight_decay": config.weight_decay,
        "ghost_size": config.statistics_size(processes),
        "parameters": parameters,
        "settings": {k: v for k, v in asdict(config).items() if k not in PLACES},
    }


def main(path: str) -> None:
    """Train the runs listed in a JSON file, one after the other, on the processes of torchrun."""
    listed = json.loads(Path(path).read_text())
    configs = [from_mapping(entry["settings"]) for entry in listed]
    place = join(configs[0].device)
    stop = Stop()
    signal.signal(signal.SIGTERM, stop.ask)
    if place.rank == 0:
        tell({"event": "start"})
    try:
        for (config, arrays), entry in zip(with_images(configs), listed, strict=True):
            train(prepared(config, arrays, place), tell, stop=stop, study=entry["study"])
    except Interrupted:
        pass
    except Exception as error:
        tell({"event": "fault", "rank": place.rank, "message": f"{type(error).__name__}: {error}"})
        raise
    gc.collect()  # networks hold the processes' connections; these must not outlive the group
    dist.barrier()
    dist.destroy_process_group()


def with_images(configs: list[Config]) -> Iterator[tuple[Config, Arrays]]:
    """Each run with its images; consecutive runs on the same set share them."""
    for (name, folder), group in groupby(configs, key=lambda c: (c.data, c.data_folder)):
        arrays = load(name, folder)
        for config in group:
            yield config, arrays


def join(device: str) -> Place:
    """Meet the other processes: nccl where each has a GPU of its own, else gloo."""
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    here = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(here)
    dist.init_process_group("nccl" if cuda else "gloo", device_id=here if cuda else None)
    return Place(dist.get_rank(), dist.get_world_size(), here)


if __name__ == "__main__":
    main(sys.argv[1])
