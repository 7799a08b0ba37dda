"""What is missing between the segments of a live recording, and after the last.

Each segment tells which record it follows. How far all of them reach tells an empty file beside
them, by its name: `reached-000000000120`. It is renamed when a segment is on disk, never before,
and nothing depends on it: where it is gone, or lags behind, a missing end goes unnoticed.
"""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from .contract import DatasetLike

FOLLOWS = "follows"  # attribute of a segment: the last iteration of the one before it
_REACHED = re.compile(r"reached-(\d{12,18})")
_ANY_REACHED = "reached-*"


def joined_attributes(parts: Sequence[DatasetLike]) -> dict[str, Any]:
    """Attributes of segments as one: of the last, which knows of resumptions, and what is gone."""
    attributes = {str(name): x for name, x in parts[-1].attrs.items() if name != FOLLOWS}
    if holes := missing_segments(parts):
        attributes["gaps"] = _with_holes(attributes, holes)
    return attributes


def reach_files(folder: Path) -> list[Path]:
    """The files that tell how far a live recording reaches: one, or none."""
    try:
        return sorted(one for one in folder.glob(_ANY_REACHED) if _REACHED.fullmatch(one.name))
    except OSError:
        return []


def reached(names: Sequence[str]) -> int:
    """The last iteration that some segment held, of the names of files; −1 where none tells.

    >>> reached(["segment-000000000000.nc", "reached-000000000120"])
    120
    """
    return max(
        (int(found[1]) for name in names if (found := _REACHED.fullmatch(name))), default=-1
    )


def tell_reached(folder: Path, iteration: int) -> None:
    """Tell how far the segments of a live folder reach, which are on disk.

    Arguments:
        folder: with segments.
        iteration: of their last record.
    """
    with suppress(OSError):
        target = folder / _ANY_REACHED.replace("*", f"{iteration:012d}")
        told = reach_files(folder)
        if not told:
            target.open("x").close()
        elif told[-1] != target:
            os.rename(told[-1], target)
        for other in told[:-1]:
            other.unlink()


def missing_end(attributes: Mapping[str, Any], last: int, reach: int) -> dict[str, Any]:
    """Attributes with the hole at the end, where records reached further than they do.

    Arguments:
        attributes: of the recording.
        last: its last iteration.
        reach: the last iteration that it held, −1 where nobody tells.
    """
    holes = [(last, None)] if reach > last else []
    return {"gaps": _with_holes(attributes, holes)} if holes else {}


def has_holes(attributes: Mapping[str, Any]) -> bool:
    """Whether records are missing before others, so that sums over all of them are.

    >>> has_holes({"gaps": "[[5, 9]]"}), has_holes({"gaps": "[[9, null]]"}), has_holes({})
    (True, False, False)
    """
    holes = _listed(attributes.get("gaps", "[]"))
    return any(not (isinstance(hole, list) and hole[1:] == [None]) for hole in holes)


def _with_holes(attributes: Mapping[str, Any], holes: Sequence[tuple[int, int | None]]) -> str:
    known = _listed(attributes.get("gaps", "[]"))
    new = [list(hole) for hole in holes if list(hole) not in known]
    return json.dumps([*known, *new])


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
