"""Weights of the landscape's checkpoints on disk, from which a run that goes on draws its lines.

They lie in the live folder, as w0 does, one folder a checkpoint. Kept are the last two, as the
records of the last may not have been on disk when a run was stopped, and the one that the last
saved state of the recorder goes on from.
"""

import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from . import initial
from .processes import Processes, local, together

_KEPT = 2


class Waypoints:
    """Saves weights by iteration and reads them back."""

    def __init__(
        self, folder: Path, parameters: Mapping[str, Tensor], processes: Processes
    ) -> None:
        """Remember where.

        Arguments:
            folder: the live folder.
            parameters: of the model, by name.
            processes: that train together.
        """
        self._folder = folder
        self._parameters = parameters
        self._processes = processes
        self._latest = self._held = -1
        self._failed = False

    def keep(self, iteration: int) -> None:
        """Save the present weights, and let go of those that are no longer needed.

        A disk that refuses is warned of once.
        """
        part = initial.part_of(list(self._parameters.values()), self._processes)
        self._latest = iteration
        try:
            if part.saves:
                initial.save(self._at(iteration), part, self._parameters)
            if self._processes.writes:
                self._let_go(iteration)
        except OSError as error:
            with suppress(OSError):
                self._at(iteration).rmdir()  # nothing was saved in it
            if not self._failed:
                warnings.warn(
                    f"recording {self._folder}: the weights of the landscape's checkpoint could "
                    f"not be saved, a run that goes on will lack the line from it ({error})",
                    RuntimeWarning,
                    stacklevel=2,
                )
            self._failed = True

    def hold(self) -> None:
        """A state of the recorder is saved that goes on from the last checkpoint."""
        self._held = self._latest

    def read(self, iteration: int) -> list[Tensor]:
        """This process's part of the weights at a checkpoint; all processes call it.

        Raises:
            OSError, ValueError: when they cannot be read, here or on another process.
        """
        into = [torch.empty_like(local(p)).detach() for p in self._parameters.values()]
        together(
            self._processes,
            lambda: initial.load(self._at(iteration), self._parameters, into),
            device=into[0].device,
            elsewhere=lambda: OSError("another process cannot read them"),
        )
        self._latest = self._held = iteration
        return into

    def clear(self, *, beyond: int) -> None:
        """Remove the weights after an iteration: another run's, or of what is trained again.

        Parts that another sharding saved would otherwise lie among those of the new one.
        """
        if self._processes.writes:
            for iteration, folder in self._known().items():
                if iteration > beyond:
                    _remove(folder)

    def _at(self, iteration: int) -> Path:
        return self._folder / f"checkpoint-{iteration:012d}"

    def _known(self) -> dict[int, Path]:
        return {
            int(found.group(1)): path
            for path in self._folder.glob("checkpoint-*")
            if (found := re.fullmatch(r"checkpoint-(\d{12})", path.name))
        }

    def _let_go(self, last: int) -> None:
        known = self._known()
        passed = sorted(iteration for iteration in known if iteration <= last)
        stay = {*passed[-_KEPT:], self._held}
        for iteration in known.keys() - stay:
            _remove(known[iteration])


def _remove(folder: Path) -> None:
    """Remove saved weights, and their folder where it holds nothing else."""
    with suppress(OSError):
        for file in (*initial.files(folder), *folder.glob(".*.tmp")):
            file.unlink(missing_ok=True)
        folder.rmdir()
