"""The quantities that there are."""

from collections.abc import Mapping

from .distance import Distance
from .evaluation import EvaluationProbe
from .landscape import LandscapeProbe
from .path import PathLength
from .quantity import Quantities, Quantity, Subject
from .sketch import WeightSketch

# By the name that asks for them: those of `probes`, then those that have settings of their own.
QUANTITIES: dict[str, type[Quantity]] = {
    "distance": Distance,
    "path": PathLength,
    "trajectory": WeightSketch,
    "evaluation": EvaluationProbe,
    "landscape": LandscapeProbe,
}
WITH_SETTINGS = frozenset({"evaluation", "landscape"})


def quantities_of(subject: Subject, asked: Mapping[str, object]) -> Quantities:
    """The quantities of a run, which begin with the weights of this moment.

    Arguments:
        subject: what is measured.
        asked: settings by name; None for a quantity that has none.

    Raises:
        ValueError: for settings that do not fit the model.
    """
    return Quantities(
        {name: kind(subject, asked[name]) for name, kind in QUANTITIES.items() if name in asked}
    )
