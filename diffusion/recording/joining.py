"""What is missing between the segments of a live recording."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .contract import DatasetLike

FOLLOWS = "follows"  # attribute of a segment: the last iteration of the one before it


def joined_attributes(parts: Sequence[DatasetLike]) -> dict[str, Any]:
    """Attributes of segments as one: of the last, which knows of resumptions, and what is gone."""
    attributes = {str(name): x for name, x in parts[-1].attrs.items() if name != FOLLOWS}
    if holes := missing_segments(parts):
        known = _listed(attributes.get("gaps", "[]"))
        new = [list(hole) for hole in holes if list(hole) not in known]
        attributes["gaps"] = json.dumps([*known, *new])
    return attributes


def update_seconds(records: DatasetLike) -> float:
    """How long an update took between the last two records; 0 where that is not known."""
    if not {"wall_time", "iteration"} <= set(records.variables) or records.sizes["iteration"] < 2:
        return 0.0
    times, clock = (records.variables[name].values[-2:] for name in ("iteration", "wall_time"))
    found = float(clock[1] - clock[0]) / float(times[1] - times[0])
    return found if math.isfinite(found) else 0.0


def missing_segments(parts: Sequence[DatasetLike]) -> list[tuple[int, int]]:
    """Stretches of segments that are gone, as each tells which record it follows.

    Arguments:
        parts: the segments that are there, in their order.

    Returns:
        Of each the last iteration before, −1 where there is none, and the first after it.
    """
    holes, last = [], -1
    for part in parts:
        iterations = part.variables["iteration"].values
        follows = part.attrs.get(FOLLOWS, -1)
        if isinstance(follows, int | np.integer) and follows > last:
            holes.append((last, int(iterations[0])))
        last = int(iterations[-1])
    return holes


def _listed(text: Any) -> list[Any]:
    """What a list in JSON holds; nothing where the text is none."""
    try:
        found = json.loads(str(text))
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []
