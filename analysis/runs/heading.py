"""What a listing keeps of a recording: labels and attributes, and what was read off its series.

Questions that are asked of whole recordings are asked of a heading in the same way. Those that
only the series can answer were answered before they were let go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ultraslow.diffusion.recording import HeaderVariable


@dataclass(frozen=True)
class Stretch:
    """A part of a run in which the learning rate is constant.

    Attributes:
        iteration: recorded iterations t ≥ 1 in it, shape (iteration,).
        rate: the learning rate; NaN where it is unknown.
        reason: why it is empty, in words; empty when it is not.
        fitted: the iteration at which the training set is fitted, where that ends it; else 0.
        lost: its last iteration had distances stayed finite, where that ends it; else 0.
    """

    iteration: NDArray[np.int64]
    rate: float
    reason: str = ""
    fitted: int = 0
    lost: int = 0

    @property
    def decades(self) -> float:
        """log10 of the last over the first iteration."""
        return (
            float(np.log10(self.iteration[-1] / self.iteration[0])) if self.iteration.size else 0.0
        )


@dataclass(frozen=True)
class LadderPlace:
    """Where a run stands: the ladder's name, the rung's number and name."""

    ladder: str
    number: int
    name: str


@dataclass(frozen=True)
class Heading:
    """A recording without its series.

    Attributes:
        sizes: length of each dimension.
        variables: by name; values of few of them.
        attrs: attributes of the recording.
        stretch: as `readings.constant_rate` has it.
        fitted: as `readings.fitted_at` has it.
        until: as `readings.measured_until` has it.
        noise: as `readings.injected_noise` has it.
        place: as `arms.place_of` has it.
        distance: ‖w − w0‖ over all tensors, shape (iteration,); empty where it was not recorded.
        loss_left: as `distinct.traits` has it.
    """

    sizes: Mapping[str, int]
    variables: Mapping[str, HeaderVariable]
    attrs: dict[str, Any]
    stretch: Stretch
    fitted: int
    until: float
    noise: float
    place: LadderPlace | None
    distance: NDArray[np.float32]
    loss_left: float
