"""What is measured of the weights: distance always; the path and the trajectory when asked for.

- *distance*: ‖w − w0‖² and ‖w‖² per tensor at each record. Costs a copy of the weights, w0.
- *path*: Σ ‖w_{t+1} − w_t‖² per tensor over the updates between records. Costs another copy and a
  distance measurement at every update.
- *trajectory*: a count sketch of w − w0 at each record, from which the distance between any two
  records follows. Costs 0.13 bytes a weight.
"""

import warnings
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from ultraslow.probes.distributed import first_index, local
from ultraslow.probes.norms import squared_distances, squared_steps

from .sketch import Sketcher, offsets

# Hash of the trajectory sketch. Sketches compare between runs only when it is the same.
SKETCH_SEED = 0


class Measurements:
    """Measures the weights of a run against its initial ones.

    What fails, as when a tensor was given another shape, is switched off with one warning and is
    NaN from then on, of the same shape: other processes expect it.
    """

    def __init__(
        self, parameters: Sequence[torch.nn.Parameter], *, probes: Collection[str]
    ) -> None:
        """Keep w0 and what the optional probes need.

        Arguments:
            parameters: trainable parameters; their order is the order of all results.
            probes: names of optional probes, of `path` and `trajectory`.
        """
        self._parameters = list(parameters)
        self.initial = [weights.detach().clone() for weights in self._weights()]
        self._previous = [w0.clone() for w0 in self.initial] if "path" in probes else []
        self._step_sq = torch.zeros(
            len(self.initial), dtype=torch.float64, device=self.initial[0].device
        )
        self._sketcher = self._make_sketcher() if "trajectory" in probes else None
        self._failed: set[str] = set()

    def update(self) -> None:
        """Add the step that was just taken to the path."""
        if self._previous:
            step_sq = self._guarded("path", self._step, self._step_sq.shape)
            self._step_sq = self._step_sq + step_sq

    def mark(self) -> dict[str, Tensor]:
        """Measure now, on the device, this process's part.

        Returns:
            `squares` `(2, tensor)`: ‖w−w0‖² and ‖w‖²; `step_sq` `(tensor,)`: the path since the
            last call; `sketch` `(component,)`; all float64.
        """
        shape = (2, len(self.initial))
        values = {
            "squares": self._guarded(
                "distance", lambda: squared_distances(self._weights(), self.initial), shape
            )
        }
        if self._previous:
            values["step_sq"] = self._step_sq
            self._step_sq = torch.zeros_like(self._step_sq)
        if (sketcher := self._sketcher) is not None:
            values["sketch"] = self._guarded(
                "trajectory",
                lambda: sketcher.measure(self._weights(), self.initial),
                (sketcher.components,),
            )
        return values

    def _step(self) -> Tensor:
        """Squared lengths of the step since the last call `(tensor,)`."""
        weights = self._weights()
        if all(w.dtype == p.dtype for w, p in zip(weights, self._previous, strict=True)):
            return squared_steps(weights, self._previous)
        steps = squared_distances(weights, self._previous)[0]
        self._previous = [w.clone() for w in weights]  # another precision from here on
        return steps

    def _guarded(self, probe: str, measure: Callable[[], Tensor], shape: Sequence[int]) -> Tensor:
        if probe not in self._failed:
            try:
                return measure()
            except Exception as error:
                self._failed.add(probe)
                warnings.warn(
                    f"the {probe} probe failed and was switched off: {error!r}",
                    RuntimeWarning,
                    stacklevel=3,
                )
        return self._step_sq.new_full(tuple(shape), torch.nan)

    def _weights(self) -> list[Tensor]:
        return [local(parameter).detach() for parameter in self._parameters]

    def _make_sketcher(self) -> Sketcher:
        starts = offsets([parameter.numel() for parameter in self._parameters])
        return Sketcher(
            [w0.numel() for w0 in self.initial],
            [start + first_index(p) for start, p in zip(starts, self._parameters, strict=True)],
            seed=SKETCH_SEED,
            device=self.initial[0].device,
        )
