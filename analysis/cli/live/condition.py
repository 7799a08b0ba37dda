"""What is known of a run at a moment: the newest numbers, how it grows, and whether it lives."""

import math
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import xarray as xr

from ultraslow.analysis.growth import fit_totals
from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.noise import NoiseScale, run_noise_scale
from ultraslow.analysis.report.absent import happened
from ultraslow.analysis.text import printable

from .follow import Sight
from .schedule import NextRecord, next_record, speed

_FLUSH_SECONDS = 60.0  # between two writings, where no lease tells
_NAME = 60  # characters of a run's name that are shown
_TOLD = 200  # characters of what happened to it
_SAID = 4  # of these are told
_UNKNOWN = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Estimates:
    """What takes a moment to find of a run: how its distance grows, and its noise scale.

    Attributes:
        at: iteration of the newest record when they were found; −1 before.
        exponent: p of the growth family with its interval; NaN, and the reason, without a fit.
        ratio: how much distance the last decade added, compared with the one before.
        noise: gradient noise scale over all updates.
        status: of the fit.
        first: the first of the iterations that the fit is over.
        last: the last of them.
    """

    at: int = -1
    exponent: Interval = _UNKNOWN
    ratio: Interval = _UNKNOWN
    noise: NoiseScale = NoiseScale(_UNKNOWN, "", 0)
    status: str = ""
    first: int = 0
    last: int = 0


def estimates(records: xr.Dataset, *, level: float = 0.95) -> Estimates:
    """What `ultraslow fit` and `ultraslow noise` find of a run.

    Arguments:
        records: a recording.
        level: confidence level of the intervals.
    """
    fit = fit_totals({"run": records}, level=level).isel(node=0)
    reason = str(fit["reason"].item())

    def interval(name: str) -> Interval:
        value, low, high = (float(fit[name + end].item()) for end in ("", "_low", "_high"))
        return Interval(value, low, high, reason=reason)

    return Estimates(
        int(records["iteration"].values[-1]),
        interval("exponent"),
        interval("decade_ratio"),
        run_noise_scale(records, level=level),
        *(fit[name].item() for name in ("status", "first", "last")),
    )


@dataclass(frozen=True)
class Condition:
    """What is known of a run at a moment.

    Attributes:
        name: of the run, made safe to print.
        sight: what is on the disk.
        found: how its distance grows, and its noise scale, of these records or of earlier ones.
        speed: updates a second; NaN where unknown.
        due: the record that is expected next.
        alarms: what a person should know now, a sentence each without a full stop.
    """

    name: str
    sight: Sight
    found: Estimates = Estimates()
    speed: float = math.nan
    due: NextRecord = NextRecord()
    alarms: tuple[str, ...] = ()

    @property
    def iteration(self) -> int:
        """Of the newest record; −1 without any."""
        found = self.sight.records
        return -1 if found is None else int(found.variables["iteration"].values[-1])

    @property
    def distance(self) -> float:
        """Of the weights from their initial values, at the newest record."""
        return self.newest("distance_sq") ** 0.5

    @property
    def stale(self) -> bool:
        """Whether records have come that the estimates are not of."""
        return self.found.at != self.iteration

    def newest(self, name: str) -> float:
        """A quantity at the newest record, tensors added; NaN where it was not recorded."""
        found = self.sight.records
        if found is None or name not in found.variables:
            return math.nan
        return float(found.variables[name].values[-1].sum())


class Readings:
    """Conditions of runs; what takes a moment is found when there is time for it, and kept."""

    def __init__(self, level: float = 0.95) -> None:
        """Begin with nothing found.

        Arguments:
            level: confidence level of the intervals.
        """
        self._level = level
        self._found: dict[Path, Estimates] = {}

    def read(self, sight: Sight, now: float) -> Condition:
        """What is known of a run now, with the estimates that were found last.

        Arguments:
            sight: what is on the disk of it.
            now: seconds since 1970.
        """
        records, due = sight.records, NextRecord()
        if records is None:
            name = printable(sight.path.name, _NAME)
            return Condition(name, sight, alarms=tuple(_alarms(sight, due, now)))
        pace = speed(records)
        if not sight.ended:
            due = next_record(
                records.variables["iteration"].values,
                speed=pace,
                written=sight.written,
                flush_seconds=sight.owner.flush_seconds or _FLUSH_SECONDS,
            )
        return Condition(
            printable(str(records.variables["run"].values), _NAME),
            sight,
            self._found.get(sight.path.with_suffix(""), Estimates()),
            pace,
            due,
            tuple(_alarms(sight, due, now)),
        )

    def refine(self, one: Condition) -> Condition:
        """The same with estimates from all its records."""
        if one.sight.records is None:
            return one
        found = estimates(one.sight.records, level=self._level)
        self._found[one.sight.path.with_suffix("")] = found
        return replace(one, found=found)


def _alarms(sight: Sight, due: NextRecord, now: float) -> list[str]:
    """What a person should know now."""
    told = []
    if sight.state == "killed":
        told.append(f"killed: process {sight.owner.pid} is gone; {sight.lost}")
    elif sight.state == "left":
        told.append("left without being closed; it can be resumed from a checkpoint of the run")
    elif sight.state == "vanished":
        told.append(f"vanished: neither {sight.path} nor its closed file is there any more")
    if sight.state == "foreign":
        told.append(sight.fault)
    elif sight.fault:
        remedy = "" if sight.state == "live" else f": `ultraslow repair {sight.path}`"
        told.append(f"not all of it can be read: {sight.fault}{remedy}")
    if due.overdue(now):
        since = f"{datetime.fromtimestamp(due.at):%Y-%m-%d %H:%M}"
        stood = "it stands still, has become slow or, on another machine, has died"
        told.append(f"the record of iteration {due.iteration} is overdue since {since}: {stood}")
    if sight.records is not None:
        told += _happened(sight.records)
    return [printable(text, _TOLD) for text in told]


def _happened(records: xr.Dataset) -> list[str]:
    """What the recording itself says of its faults; the latest, where there are many."""
    told = list(happened({"run": records}))
    later = records.variables["iteration"].values > 0
    if later.any() and not np.isfinite(records.variables["distance_sq"].values[later]).any():
        told.append("no distance is finite: the run has diverged")
    rest = len(told) - _SAID
    return [f"{rest} more, see `ultraslow info`", *told[-_SAID:]] if rest > 0 else told
