"""Whether the updates of a run at the full batch are one and the same gradient.

With all training images in each update there is no noise of sampling. What is left may be none at
all: images are augmented, and meet others in the parts of a batch that share batch statistics,
where these are drawn anew. With ghost batches of 8 images the gradients of the digits then scatter
by 28 % of |G|², with ones of 80 by 7 %. So it is measured, by two updates at the same weights.
"""

from collections.abc import Iterable
from itertools import islice

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ultraslow.probes.quantities import undisturbed
from ultraslow.probes.runs.images import Batch

from .session import Session


def gradient_difference(session: Session) -> float | None:
    """Relative difference of the gradients of the first two updates at the initial weights.

        ‖g₁ − g₂‖/‖g₁‖

    Costs two updates, and is measured before the run begins; nothing in it changes. All processes
    call it, and all of them have the same number.

    Arguments:
        session: what will be trained, as its seed makes it.

    Returns:
        The difference; None where the batch is not the whole training set, and noise is certain.
    """
    if session.config.batch_size < session.source.size:
        return None
    endless = session.source.updates(session.share, skip=0)
    with undisturbed(session.model.module):
        first, second = (_gradient(session, parts) for parts in islice(endless, 2))
    return float((first - second).norm() / first.norm())


def _gradient(session: Session, parts: Iterable[Batch]) -> Tensor:
    """The gradient of an update's mean loss, all weights in a row."""
    config, network = session.config, session.model.module
    criterion = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
    network.zero_grad(set_to_none=True)
    for inputs, targets in parts:
        with torch.autocast(
            inputs.device.type, torch.bfloat16, enabled=config.precision == "bf16"
        ):
            loss = criterion(network(inputs), targets) / session.share.microbatches
        loss.backward()
    known = [p.grad.flatten().double() for p in network.parameters() if p.grad is not None]
    gradient = torch.cat(known)
    dist.all_reduce(gradient)
    return gradient / session.place.processes
