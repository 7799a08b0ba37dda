"""What is measured at some records only: the user's evaluation and the landscape.

These fields are part of every record; where they were not due they are NaN.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ultraslow.probes.buffer import Record
from ultraslow.probes.distributed import Processes, parameter_names, unwrapped
from ultraslow.probes.quantities.landscape import Landscape, LandscapeProbe, Waypoints

from .evaluation import Evaluation


class Occasions:
    """The occasional measurements of one run."""

    def __init__(
        self,
        model: nn.Module,
        *,
        evaluation: Evaluation | None,
        landscape: Landscape | None,
        initial: Sequence[Tensor],
        processes: Processes,
    ) -> None:
        """Prepare what was asked for.

        Arguments:
            model: as it is trained.
            evaluation: of the user; None for none.
            landscape: what to measure of it; None for nothing.
            initial: w0; may be filled until the first measurement.
            processes: that train together.

        Raises:
            ValueError: for a landscape that cannot be measured.
        """
        self._processes = processes
        self._module = unwrapped(model)
        self._evaluation = evaluation
        self._landscape = (
            LandscapeProbe(landscape, self._module, initial=initial, processes=processes)
            if landscape
            else None
        )
        self._told = _told_of(landscape) if landscape else {}
        self._evaluated = -1

    @property
    def probes(self) -> frozenset[str]:
        """Names of the probes that run."""
        present = {"evaluation": self._evaluation, "landscape": self._landscape}
        return frozenset(name for name, probe in present.items() if probe is not None)

    def static(self) -> dict[str, Any]:
        """Axes of the fields."""
        axes = self._landscape.static() if self._landscape else {}
        if self._evaluation:
            axes["metric"] = list(self._evaluation.metrics)
        return axes

    def attributes(self) -> dict[str, str]:
        """What the recording says of how it was measured."""
        return self._told

    def begin(self, folder: Path, iteration: int, *, resumed: bool) -> dict[str, str]:
        """Begin to measure; all processes call it.

        Arguments:
            folder: the live folder of the recording.
            iteration: 0 or, of a run that goes on, that of its last update.
            resumed: whether it goes on.

        Returns:
            Attributes of the recording.
        """
        if self._landscape is None:
            return {}
        waypoints = Waypoints(folder, parameter_names(self._module), self._processes)
        waypoints.clear(beyond=iteration if resumed else -1)
        lost = self._landscape.begin(waypoints, iteration)
        if lost:
            _warn(
                f"recording {folder}: its next checkpoint has no line from the one before: {lost}"
            )
        return {"line_loss_absent": f"after iteration {iteration}: {lost}"} if lost else {}

    def hold(self) -> None:
        """A state of the recorder is saved: a run may go on from here."""
        if self._landscape:
            self._landscape.hold()

    def due(self, iteration: int) -> bool:
        """Whether anything is to be measured at this iteration."""
        probes = (self._evaluation, self._landscape)
        return any(probe is not None and probe.due(iteration) for probe in probes)

    def beyond(self, iteration: int) -> list[str]:
        """Which of them the user asked for after this iteration."""
        probes = {"evaluation": self._evaluation, "landscape": self._landscape}
        return [name for name, probe in probes.items() if probe and probe.beyond(iteration)]

    def measure(self, iteration: int) -> Record:
        """Fields of the record at this iteration; all processes call it."""
        fields: Record = {}
        if self._evaluation:
            due = self._evaluation.due(iteration)
            fields["held_out"] = self._evaluation.row(self._numbers(iteration) if due else {})
        if self._landscape:
            fields |= self._surroundings(self._landscape, iteration)
        return fields

    def at_end(self, iteration: int) -> Record:
        """The evaluation at the last iteration, unless it was made; no fields where it was."""
        if not self._evaluation or self._evaluated == iteration:
            return {}
        return {"held_out": self._evaluation.row(self._numbers(iteration))}

    def _numbers(self, iteration: int) -> Mapping[str, float]:
        self._evaluated = iteration
        if not self._evaluation:
            return {}
        values = self._evaluation.measure(self._module)
        if self._processes.size > 1:
            # The others would wait in a later call, where it communicates.
            device = next(self._module.parameters()).device
            failed = torch.tensor(float(bool(self._evaluation.failed)), device=device)
            if self._processes.add(failed) > 0:
                self._evaluation.failed = self._evaluation.failed or "on another process"
        return values

    def _surroundings(self, probe: LandscapeProbe, iteration: int) -> Record:
        if not probe.due(iteration):
            return probe.nothing()
        try:
            return probe.measure(iteration)
        except Exception as error:
            probe.stop()
            _warn(f"the landscape probe failed and was switched off: {error!r}")
            return probe.nothing()


def _told_of(landscape: Landscape) -> dict[str, str]:
    radii = "of the initial weights" if landscape.radii is None else "given"
    return {"landscape_mode": landscape.mode, "landscape_radii": radii}


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=4)
