"""The ledger: what a run's updates and measurements add up to, on the host."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .resume import State
from .updates import Measurement, Record, Updates, records_of


class Ledger:
    """Turns raw sums into records, and keeps what is left open between records."""

    def __init__(self, state: State, initial_sq: NDArray[np.float64]) -> None:
        """Go on from a state.

        Arguments:
            state: of the run so far.
            initial_sq: ‖w0‖² `(tensor,)`.
        """
        self._state = state
        self._initial_sq = initial_sq

    def enter(self, updates: Updates, measurements: Sequence[Measurement]) -> list[Record]:
        """The records that updates and measurements complete.

        Arguments:
            updates: those that followed the last call's.
            measurements: of the weights, at increasing iterations among them.
        """
        records, window = records_of(
            self._state.window,
            updates,
            self._with_carried(measurements),
            start=self._state.iteration,
            initial_sq=self._initial_sq,
        )
        iteration = self._state.iteration + len(updates)
        self._state = replace(self._state, iteration=iteration, window=window)
        return records

    def state(self, now: Measurement, *, skipped: int, waiting: Sequence[Record]) -> State:
        """The state at a measurement that is no record; its part of the path is kept for the next.

        Arguments:
            now: measured at the iteration of the last update entered.
            skipped: steps skipped since then.
            waiting: records that are not on disk.
        """
        step_sq = now.values.get("step_sq")
        if step_sq is not None and self._state.step_sq is not None:
            step_sq = self._state.step_sq + step_sq
        self._state = replace(self._state, step_sq=step_sq)
        return replace(
            self._state,
            skipped=skipped,
            wall_time=now.wall_time,
            probe_seconds=now.probe_seconds,
            distance_sq=float(now.values["squares"][0].sum()),
            waiting=tuple(waiting),
        )

    def _with_carried(self, measurements: Sequence[Measurement]) -> list[Measurement]:
        """The first measurement takes over the path that a state has taken off the device."""
        carried = self._state.step_sq
        if not measurements or carried is None:
            return list(measurements)
        self._state = replace(self._state, step_sq=None)
        first, *others = measurements
        step_sq = first.values["step_sq"] + carried
        return [replace(first, values={**first.values, "step_sq": step_sq}), *others]
