"""Flushes: when what waits is brought to the host, and how."""

from collections.abc import Callable
from contextlib import suppress

from .pace import Pace
from .pending import Flight, Pending, Reduced
from .plan import Plan
from .processes import Processes
from .units import DeclaredUnits


class Flushes:
    """Holds what waits for the next flush, and what is under way.

    All processes flush at the same updates. Where a flush goes on beside the training it is ended
    when the next update is committed, or by whatever needs its records before.
    """

    def __init__(
        self,
        pending: Pending,
        *,
        processes: Processes,
        units: DeclaredUnits,
        plan: Plan,
        enter: Callable[[Reduced], None],
        failed: Callable[[RuntimeError], None],
    ) -> None:
        """Begin with nothing under way.

        Arguments:
            pending: what waits.
            processes: that train together.
            units: what the user declares of them.
            plan: of the recorder.
            enter: is given what has arrived on the host.
            failed: is told when a flush could not be, which is the last one.
        """
        self.pending = pending
        self._processes = processes
        self._units = units
        self._batch_size = plan.batch_size
        self._enter = enter
        self._failed = failed
        self._pace = Pace(plan.flush_seconds)
        self._flight: Flight | None = None

    def when_due(self) -> None:
        """End the flush that is under way, and begin one where it is due."""
        if self._succeeds(self._land) and self._pace.due(len(self.pending.rows)):
            self._succeeds(self._launch)

    def now(self) -> None:
        """Bring everything to the host."""
        for step in (self._land, self._launch, self._land):
            if not self._succeeds(step):
                return

    def collect(self) -> Reduced:
        """What waits, which is not entered; what was under way is.

        Raises:
            RuntimeError: when another process died, or the device is out of memory.
        """
        self._land()
        return self._arrived(self._depart())

    def save_arrived(self) -> None:
        """End the flush that is under way where that needs nobody else."""
        if self._flight is not None and self._flight.transfer.has_arrived():
            with suppress(RuntimeError):
                self._land()

    def _succeeds(self, step: Callable[[], None]) -> bool:
        """Whether it does; where not, the recording ends and training goes on."""
        try:
            step()
        except RuntimeError as error:  # another process died, or the device is out of memory
            self._flight = None
            self._failed(error)
            return False
        return True

    def _launch(self) -> None:
        flight = self._depart()
        if flight.transfer.is_beside:
            self._flight = flight
        else:
            self._enter(self._arrived(flight))

    def _depart(self) -> Flight:
        flight = self.pending.depart(
            self._processes,
            seconds=self._pace.lap(),
            weighted=self._units.weighted,
            sized=self._units.sized,
            batch_size=self._batch_size,
        )
        self.pending = self.pending.emptied()
        return flight

    def _land(self) -> None:
        flight, self._flight = self._flight, None
        if flight is not None:
            self._enter(self._arrived(flight))

    def _arrived(self, flight: Flight) -> Reduced:
        reduced = flight.land()
        self._pace.adapt(reduced.update_seconds)
        return reduced
