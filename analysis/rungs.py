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
    except (KeyError, TypeError, ValueError):
        return None
    return Place(str(told.get("ladder", "")), number, str(told.get("rung_name", "")))


def _config(run: xr.Dataset) -> dict:
    try:
        found = json.loads(str(run.attrs.get("config", "{}")))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
