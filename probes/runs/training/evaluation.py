"""What a reference run measures beside distance and noise: held-out images and the landscape."""

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from ultraslow.probes.quantities import Evaluation
from ultraslow.probes.quantities.landscape import Landscape
from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.images import Batch, Share

from .sources import Source

# The first checkpoint of the landscape, as a fraction of the run: distances have begun to grow
# slowly there, and the next ones are even in ln t.
_FIRST_CHECKPOINT = 0.03
# Images of the landscape are the same in all runs, whatever their seeds are.
_LANDSCAPE_SEED = 20170524


def probes_of(config: Config) -> list[str]:
    """Names of the probes of a run."""
    optional = {"path": config.path_length, "trajectory": config.trajectory}
    return ["distance", "noise", *(name for name, chosen in optional.items() if chosen)]


def evaluated_at(last: int, count: int) -> NDArray[np.int64]:
    """Iterations of about so many evaluations, even in ln t, the last iteration among them.

    Arguments:
        last: T, iterations of the run.
        count: evaluations; rounding may leave fewer.

    >>> evaluated_at(1000, 4)
    array([   1,   10,  100, 1000])
    """
    times = np.geomspace(1, last, count) if count > 1 else np.array([last])
    return np.unique(np.rint(times)).astype(np.int64)


def checkpoints_at(last: int, count: int) -> NDArray[np.int64]:
    """Iterations of the landscape's checkpoints, even in ln t from 3 % of the run to its end.

    Arguments:
        last: T, iterations of the run.
        count: checkpoints; rounding may leave fewer.

    >>> checkpoints_at(1500, 3)
    array([  45,  260, 1500])
    """
    fractions = np.geomspace(_FIRST_CHECKPOINT, 1, count) if count > 1 else np.array([1.0])
    return np.unique(np.rint(np.maximum(1, fractions * last))).astype(np.int64)


class HeldOut:
    """Mean loss and accuracy on the held-out images; all processes call it, each on its share.

    Running statistics of batch normalization are averaged over processes first, since each has
    seen its own microbatches. The caller puts them back; see `undisturbed` in
    `probes.quantities.evaluation`.
    """

    def __init__(self, source: Source, share: Share, precision: str) -> None:
        """Prepare.

        Arguments:
            source: of the images.
            share: of this process.
            precision: arithmetic of the forward pass, `fp32` or `bf16`.
        """
        self.last: dict[str, float] = {}
        self._source = source
        self._share = share
        self._bf16 = precision == "bf16"

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> dict[str, float]:
        """The mean cross entropy and the share of images that are classified correctly."""
        _average_statistics(model, self._share.processes)
        device = next(model.parameters()).device
        sums = torch.zeros(2, dtype=torch.float64, device=device)
        for inputs, targets in self._source.held_out(self._share):
            with torch.autocast(device.type, torch.bfloat16, enabled=self._bf16):
                scores = model(inputs).float()
            sums[0] += nn.functional.cross_entropy(scores, targets, reduction="sum")
            sums[1] += (scores.argmax(dim=1) == targets).sum()
        if self._share.processes > 1:
            dist.all_reduce(sums)
        loss, accuracy = (sums / self._source.held_out_size).tolist()
        self.last = {"loss": loss, "accuracy": accuracy}
        return self.last


def _average_statistics(model: nn.Module, processes: int) -> None:
    if processes == 1:
        return
    for buffer in model.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= processes


def evaluation_of(config: Config, held_out: HeldOut) -> Evaluation | None:
    """The evaluation of a run on its schedule; None where it has none."""
    if not config.evaluations:
        return None
    return Evaluation(held_out, evaluated_at(config.iterations, config.evaluations))


def landscape_of(config: Config, source: Source, share: Share) -> Landscape | None:
    """The landscape of a run, on fixed training images without augmentation; None for none.

    It is measured in fp32, as rounding would hide small differences, and in training mode: batch
    normalization uses statistics of as many images as in training, at most half of a process's.

    Arguments:
        config: says how much is measured.
        source: of the images.
        share: of this process.
    """
    if not config.landscape_checkpoints:
        return None
    return Landscape(
        loss=_mean_loss,
        batches=_landscape_batches(config, source, share),
        schedule=checkpoints_at(config.iterations, config.landscape_checkpoints).tolist(),
        directions=config.landscape_directions,
        mode="train",
    )


def _mean_loss(model: nn.Module, batch: Batch) -> Tensor:
    inputs, targets = batch
    return nn.functional.cross_entropy(model(inputs), targets)


def _landscape_batches(config: Config, source: Source, share: Share) -> list[Batch]:
    """Batches of one process, two or more, each of the size that statistics are taken from."""
    part = config.landscape_images // share.processes // 2
    if config.ghost_size:  # a batch may hold several ghost batches, but no part of one
        part = max(1, part // config.ghost_size) * config.ghost_size
    else:
        part = min(part, config.statistics_size(share.processes))
    count = max(2, config.landscape_images // share.processes // part)
    generator = torch.Generator().manual_seed(_LANDSCAPE_SEED)
    order = torch.randperm(source.size, generator=generator)
    # Where the set is too small for all parts, its images come again.
    wanted = torch.arange(share.processes * count * part) % source.size
    inputs, targets = source.sample(share.of(order[wanted]))
    return list(zip(inputs.split(part), targets.split(part), strict=True))
