"""Everything that a page shows, as it was found."""

from collections.abc import Sequence
from dataclasses import dataclass

import xarray as xr

from ultraslow.analysis.noise import ArmScale, Breakdown
from ultraslow.analysis.predictions.batch_size import OptimizerExponents
from ultraslow.analysis.scores import CriticalBatch, Ladder
from ultraslow.analysis.study import Study


@dataclass(frozen=True)
class Findings:
    """Everything that the page shows.

    Attributes:
        study: the runs, with their fits.
        verdicts: as `test` gives them.
        tensor_fits: growth fits of the tensors that moved farthest.
        tensors: their names.
        colours: of the batch sizes.
        noise: noise scale of each arm.
        noise_detail: noise scales by groups of tensors and by loss.
        critical: critical batch size.
        ladders: of recipes.
        optimizers: exponents in learning rate and batch size.
    """

    study: Study
    verdicts: xr.Dataset
    tensor_fits: xr.Dataset
    tensors: list[str]
    colours: dict[int, str]
    noise: Sequence[ArmScale] = ()
    noise_detail: Breakdown | None = None
    critical: CriticalBatch = CriticalBatch()
    ladders: Sequence[Ladder] = ()
    optimizers: Sequence[OptimizerExponents] = ()
