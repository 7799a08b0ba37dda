"""What a run trains with on one process: its network, optimizer, images and recorder.

The network of a run, from its name.
"""

import inspect
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from ultraslow import probes
from ultraslow.diffusion.recording import log_spaced
from ultraslow.probes.runs.config import PLACES, Config, facts_of
from ultraslow.probes.runs.images import Arrays, Facts, Share
from ultraslow.probes.runs.models import (
    ResNet,
    WideResNet,
    architecture,
    parameter_count,
    wide_architecture,
    with_ghost_norm,
)

from .evaluation import HeldOut, evaluation_of, landscape_of, probes_of
from .optimizers import optimizer_of
from .sources import Source, source_of

# The option that keeps buffers where they are was renamed; the old name warns where both exist.
_OPTIONS = inspect.signature(DistributedDataParallel).parameters
_BUFFERS_STAY: dict[str, Any] = {
    "forward_sync_buffers" if "forward_sync_buffers" in _OPTIONS else "broadcast_buffers": False
}
# How long a process waits in a collective for the others, before it fails and says so. They make
# the same updates, and one alone closes recordings and reads image sets, in minutes at most.
_COLLECTIVE = timedelta(minutes=10)
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
        source: of the images.
        held_out: measures those that are not trained on.
        model: the network, wrapped.
        optimizer: of its parameters.
        noise: draws injected noise.
        share: this process's part of every batch.
        images_sha256: digest of the image set; empty where it is read meanwhile.
    """

    config: Config
    place: Place
    known: Facts
    source: Source
    held_out: HeldOut
    model: DistributedDataParallel
    optimizer: Optimizer
    noise: torch.Generator
    share: Share
    images_sha256: str = ""

    @property
    def peak_rate(self) -> float:
        """The learning rate that warm-up and decay multiply."""
        return self.config.peak_rate(self.known.train_size)

    @property
    def generators(self) -> dict[str, torch.Generator]:
        """Generators whose states a checkpoint holds."""
        return {"noise": self.noise}


def prepared(config: Config, arrays: Arrays | None, place: Place) -> Session:
    """All that a run trains with, as its seed makes it.

    Arguments:
        config: what to train; see `config.checked`.
        arrays: the image set; None where it is read meanwhile.
        place: this process.
    """
    known = facts_of(config)
    source = source_of(config, known, arrays, place.device)
    share = Share(place.rank, place.processes, config.microbatches(place.processes))
    model = distributed(config, known, place)
    rate = config.rate(1, config.peak_rate(known.train_size))
    return Session(
        config,
        place,
        known,
        source,
        held_out=HeldOut(source, share, config.precision),
        model=model,
        optimizer=optimizer_of(model, config, learning_rate=rate),
        noise=torch.Generator(place.device).manual_seed(config.seed),
        share=share,
        images_sha256="" if arrays is None else arrays.sha256,
    )


def distributed(config: Config, known: Facts, place: Place) -> DistributedDataParallel:
    """The network of a run, the same initial weights on every process.

    Buffers are not sent around: each process normalizes with the statistics of its own
    microbatches, and `evaluation.HeldOut` averages the running ones.
    """
    torch.manual_seed(config.seed)
    network = build(config, known)
    network = network.to(place.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return DistributedDataParallel(network, **_BUFFERS_STAY)


def attached(
    session: Session, study: Mapping[str, Any], state: Mapping[str, Any] | None
) -> probes.Recorder:
    """The run's recorder."""
    config, size = session.config, session.source.size
    count = parameter_count(session.model)
    return probes.attach(
        session.model,
        session.optimizer,
        config.path,
        batch_size=config.batch_size,
        probes=probes_of(config),
        evaluation=evaluation_of(config, session.held_out),
        landscape=landscape_of(config, session.source, session.share),
        schedule=log_spaced(config.iterations),
        metadata={**metadata(config, size, count, session.place.processes), **study},
        flush_seconds=_FLUSH_SECONDS,
        resume=state,
        # All processes stop after the same update, see `checkpoints.Keeper`, and the recording
        # stays live for the run to go on.
        close_on_sigterm=False,
        quiet=True,  # recipes say what their runs are for
    )


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
        "added_noise": config.gradient_noise,
        "parameters": parameters,
        "settings": {k: v for k, v in asdict(config).items() if k not in PLACES},
    }


def join(device: str) -> Place:
    """Meet the other processes: nccl where each has a GPU of its own, else gloo."""
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    here = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(here)
    dist.init_process_group(
        "nccl" if cuda else "gloo", device_id=here if cuda else None, timeout=_COLLECTIVE
    )
    return Place(dist.get_rank(), dist.get_world_size(), here)


def build(config: Config, known: Facts) -> nn.Module:
    """The network that a run trains, with weights from torch's default generator.

    Arguments:
        config: names the model: a residual network, a wide one, or `MODULE:FACTORY`, a function
            that is called with `channels` and `classes` and returns a module.
        known: the image set, for channels and classes.

    Returns:
        The network on the CPU, with ghost batch normalization where it is asked for.
    """
    network = _named(config, known)
    return with_ghost_norm(network, config.ghost_size) if config.ghost_size else network


def _named(config: Config, known: Facts) -> nn.Module:
    module, _, factory = config.model.partition(":")
    if factory:
        return getattr(import_module(module), factory)(
            channels=known.channels, classes=known.classes
        )
    wide = wide_architecture(config.model)
    if wide is not None:
        return WideResNet(*wide, channels=known.channels, classes=known.classes)
    shape = architecture(config.model, width=config.width, shortcut=config.shortcut)
    return ResNet(shape, channels=known.channels, classes=known.classes)
