"""How a run is to be recorded."""

from dataclasses import dataclass

import torch

from .times import Schedule


@dataclass(frozen=True)
class Plan:
    """Settings of a recorder.

    Arguments:
        batch_size: samples in an update, M.
        schedule: iterations to record at.
        scaler: of mixed precision; None without.
        flush_seconds: about how much time may be lost when the process is killed.
        close_on_sigterm: whether SIGTERM closes the recording.
    """

    batch_size: int
    schedule: Schedule
    scaler: torch.amp.GradScaler | None
    flush_seconds: float
    close_on_sigterm: bool
