"""Where runs of a recipe's ladder stand."""

import json
from dataclasses import dataclass

import xarray as xr


@dataclass(frozen=True)
class Place:
    """Where a run stands: the ladder's name, the rung's number and name."""

    ladder: str
    number: int
    name: str


def place_of(run: xr.Dataset) -> Place | None:
    """Where a run stands, from its attributes or from the metadata kept in `config`; None if not.

    Arguments:
        run: a recording.

    Returns:
        Its ladder and rung.
    """
    told = {**_config(run), **run.attrs}
    try:
        number = int(told["rung"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return Place(str(told.get("ladder", "")), number, str(told.get("rung_name", "")))


def ingredients_of(run: xr.Dataset) -> Place | None:
    """Where a run stands above the baseline of a ladder with a name; None for plain runs.

    The baseline, rung 0, has no ingredients and is a plain run as any other. A `rung` without a
    ladder may be anything.
    """
    place = place_of(run)
    return place if place is not None and place.ladder and place.number > 0 else None


def _config(run: xr.Dataset) -> dict:
    try:
        found = json.loads(str(run.attrs.get("config", "{}")))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
