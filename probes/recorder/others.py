"""The other processes of a recording: coming to things together, and ending apart.

Where all come to the end after the same update, the last flush adds up what they hold as every
other does. Where they do not, each leaves what it holds in the store by which they met, and the
one that writes adds up what all have. That needs nobody's presence and no collective, so it also
serves at the end of a program, after an exception, and where one has run out of data.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from ultraslow.probes.buffer import Flushes, Part
from ultraslow.probes.distributed import (
    LONG,
    PATIENCE,
    Meetings,
    MissingError,
    StoreGoneError,
    may_join,
)

from .outlook import say

# Seconds that the process that writes waits for what the others leave at their end, and after an
# exception.
_PARTS, _HASTE = 8.0, 1.0
_EQUAL = (
    "; give each process as many batches, as DistributedSampler does, in place of DDP's `join`"
)


class Others:
    """What a recorder has to do with the recorders of the same run on other processes."""

    def __init__(
        self,
        meetings: Meetings | None,
        model: torch.nn.Module,
        *,
        writes: bool,
        folder: Path,
        flushes: Callable[[], Flushes],
        warn: Callable[[str], None],
    ) -> None:
        """Have none, or those that were met when the recording began.

        Arguments:
            meetings: with them; None for a process that trains alone.
            model: that they train.
            writes: whether this process writes the recording.
            folder: of the recording.
            flushes: what waits on this process.
            warn: is told how the recording ends where they do not end together.
        """
        self.agreement = None if meetings is None else meetings.agreement()
        self._meetings = meetings
        self._model = model
        self._writes = writes
        self._folder = folder
        self._flushes = flushes
        self._warn = warn

    @property
    def missing(self) -> str:
        """Why they come to nothing together any more; empty while they do."""
        return "" if self._meetings is None else self._meetings.ended or self._meetings.gone

    def meet(self, what: str, iteration: int) -> None:
        """Return when all processes have come to this after the same update.

        Where the store by which they meet is gone the collective itself is all that they share: it
        goes on as the training's own do.

        Raises:
            MissingError: where they do not.
        """
        if self._meetings is not None:
            joins = may_join(self._model)
            try:
                self._meetings.meet(
                    f"{what} after iteration {iteration}",
                    patience=PATIENCE if joins else LONG,
                    notice=partial(say, self._folder),
                )
            except StoreGoneError:
                return
            except MissingError as error:
                raise MissingError(f"{error}{_EQUAL if joins else ''}") from None

    def come_to_close(self, iteration: int, *, waits: bool) -> bool:
        """Whether all processes have come to close after the same update.

        Arguments:
            iteration: the last update of this one.
            waits: whether to wait for them.
        """
        if self._meetings is None:
            return True
        if not waits:
            self._meetings.leave(f"came to its end after iteration {iteration}")
            return False
        try:
            self._meetings.meet(f"`close` after iteration {iteration}", patience=PATIENCE)
        except MissingError as error:
            if not self._writes:
                self._warn(
                    f"was not closed by all processes together: {error}; rank 0 closes it when it "
                    "comes, and leaves it live where others have not"
                )
            return False
        return True

    def post(self, *, closes: bool) -> None:
        """Leave what this process holds for the one that writes.

        Arguments:
            closes: whether its recording has come to its end.
        """
        if self._meetings is not None:
            self._meetings.post(self._flushes().part(closes=closes).to_bytes())

    def join(self, iteration: int) -> bool:
        """Enter what all processes have left, and tell where that is not all there is.

        Where all have ended, or may have run out of data before others, nothing more comes.

        Returns:
            Whether the recording has come to its end.

        Arguments:
            iteration: the last update of this process, which writes.
        """
        if self._meetings is None:
            return True
        parts = self._parts(_PARTS)
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            self._warn(
                f"was left live: process {parts.index(None)} of {len(parts)} has not closed it, "
                f"and what was measured since the last flush is lost ({self.missing}); call "
                "`close` on every process"
            )
            return False
        start = iteration - len(self._flushes().buffer.rows)
        made = [start + part.rows for part in found]
        last = self._flushes().join(found, iteration)
        closes = all(part.closes for part in found)
        if closes and last == max(made):
            return True
        joins = may_join(self._model)
        sealed = closes or joins
        pairs = zip(made[:8], found, strict=False)
        listed = ", ".join(str(n) if part.closes else f"at least {n}" for n, part in pairs)
        goes_on = "" if sealed else ", from which another run can go on"
        self._warn(
            f"was {'closed' if sealed else 'left live'}: processes have made unequal numbers of "
            f"updates ({listed}), or one of them has stopped ({self.missing}); it is recorded up "
            f"to iteration {last}{goes_on}{_EQUAL if joins else ''}"
        )
        return sealed

    def leave(self, iteration: int) -> str:
        """Come to nothing more, and leave what there is; where this writes, enter what all have.

        Arguments:
            iteration: the last update of this process.

        Returns:
            How many updates are lost, in words; empty where none is, or another process knows.
        """
        if self._meetings is None:
            return ""
        self._meetings.leave(f"stopped to record after iteration {iteration}")
        with suppress(RuntimeError):  # of a device, for one
            self.post(closes=False)
            if self._writes:
                parts = self._parts(_HASTE)
                found = [part for part in parts if part is not None]
                if len(found) == len(parts):
                    self._flushes().join(found, iteration)
        lost = len(self._flushes().buffer.rows) if self._writes else 0
        last = f"what was measured after iteration {iteration - lost} is lost"
        return f"was left live: {last}, {lost} updates" if lost else ""

    def _parts(self, patience: float) -> list[Part | None]:
        if self._meetings is None:
            return []
        found = self._meetings.posted(patience=patience)
        return [None if content is None else Part.from_bytes(content) for content in found]
