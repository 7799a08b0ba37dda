"""Path: how far the weights have come, step by step.

Costs another copy of the weights, and a distance measurement at every update.
"""

from typing import Any

from torch import Tensor

from ultraslow.probes.norms import squared_distances, squared_steps

from .quantity import Subject, WindowSum


class PathLength(WindowSum):
    """Σ ‖w_{t+1} − w_t‖² of each tensor over the updates between two records."""

    fields = ("step_sq",)
    called = "path probe"

    def __init__(self, subject: Subject, settings: Any = None) -> None:
        """Begin with the weights of this moment."""
        super().__init__(subject, settings)
        self._previous = [weights.clone() for weights in subject.weights()]

    def of_update(self) -> Tensor:
        """Squared length of the step since the last call."""
        weights = self.subject.weights()
        if all(w.dtype == p.dtype for w, p in zip(weights, self._previous, strict=True)):
            return squared_steps(weights, self._previous)
        steps = squared_distances(weights, self._previous)[0]
        self._previous = [w.clone() for w in weights]  # another precision from here on
        return steps

    def stop(self) -> None:
        """Let go of the copy."""
        self._previous = []
