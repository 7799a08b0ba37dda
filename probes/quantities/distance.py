"""Distance: how far the weights are from where they began, at each record.

Costs a copy of the weights, w0, and at a record about two readings of both.
"""

from ultraslow.probes.buffer import Values
from ultraslow.probes.norms import squared_distances

from .quantity import Quantity


class Distance(Quantity):
    """‖w − w0‖² and ‖w‖² of each tensor; always recorded.

    The inner product ⟨w, w0⟩ follows from the two when a record is made.
    """

    fields = ("distance_sq", "weight_sq")
    called = "distance probe"
    of_weights = True

    def snapshot(self, iteration: int) -> Values:
        """Both, each `(tensor,)`."""
        squares = squared_distances(self.subject.weights(), self.subject.initial)
        return dict(zip(self.fields, squares, strict=True))
