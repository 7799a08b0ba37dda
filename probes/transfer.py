"""A vector on its way to the host: summed over processes, beside the training where that can be.

An accelerator works through its stream while the host runs ahead. A sum and a copy that wait in
the training's stream keep the host until all of the work before them is done, and then the
accelerator has nothing to do. In a stream of their own they are under way while the next update is
queued, and are there when it has been.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .processes import Processes


class Transfer:
    """Begun when it is made, by every process at the same update."""

    def __init__(self, vector: Tensor, processes: Processes) -> None:
        """Begin.

        Arguments:
            vector: this process's part, float64, on its device; nobody else writes to it.
            processes: to sum over.
        """
        # Kept until the end: memory that was given back would be the training's stream's again.
        self._vector = vector
        self._arrival: torch.cuda.Event | None = None
        if vector.is_cuda:
            self._host, self._arrival = _beside(vector, processes)
        else:
            self._host = processes.add(vector).cpu()

    @property
    def is_beside(self) -> bool:
        """Whether it is under way while training goes on."""
        return self._arrival is not None

    def has_arrived(self) -> bool:
        """Whether nobody needs to wait."""
        return self._arrival is None or self._arrival.query()

    def wait(self) -> NDArray[np.float64]:
        """The sum, on the host."""
        if self._arrival is not None:
            self._arrival.synchronize()
        host: NDArray[np.float64] = self._host.numpy()
        return host


def _beside(vector: Tensor, processes: Processes) -> tuple[Tensor, torch.cuda.Event]:
    """The host's copy of the sum, and the event after which it can be read.

    The stream begins when the training's has come to this point, as the vector is made there.
    """
    stream = torch.cuda.Stream(vector.device)
    stream.wait_stream(torch.cuda.current_stream(vector.device))
    with torch.cuda.stream(stream):
        # Not to be waited for, and so into memory that stays where it is.
        host = processes.add(vector).to("cpu", non_blocking=True)
        return host, stream.record_event()
