"""The settings of a growth fit."""

from collections.abc import Callable
from dataclasses import dataclass

# Called with the number of series fitted since the last call and the number of all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Settings:
    """How series are fitted.

    Attributes:
        level: confidence level.
        onset: τ where it is known, iterations, or None to fit it.
        calibrate: whether critical values are simulated.
        draws: simulated series per critical value.
        seed: of the simulations.
        progress: called with the number of series fitted since the last call and of all, or None.
    """

    level: float = 0.95
    onset: float | None = None
    calibrate: bool = True
    draws: int = 1000
    seed: int = 0
    progress: Progress | None = None
