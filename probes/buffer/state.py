"""What a recorder has to know of the past to go on: its state, from a checkpoint or from disk.

A state holds the iteration, the window since the last record, the sums since iteration 0 and the
clocks. As a dictionary of numbers, texts and tensors it fits any checkpoint and is read back by
`torch.load(..., weights_only=True)`. The records themselves, and w0, stay with the recording.

The ledger: what a run's updates and snapshots add up to, on the host.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from ultraslow.diffusion.moments import Moments
from ultraslow.diffusion.recording import FIELDS

from .judgement import Judge, UnitHistory
from .multiples import Multiples
from .window import Record, Snapshot, Updates, Values, Window, empty_window, records_of

_VERSION = 2  # a state of version 1 has `step_sq` in place of `sums`
_LAST = 10**12 - 1  # iteration; names of files have as many digits
Resume = bool | int | Mapping[str, Any]


@dataclass(frozen=True)
class State:
    """The past of a recorder.

    Arguments:
        iteration: updates committed.
        window: updates since the last record, and sums since iteration 0.
        skipped: steps skipped since the last update.
        sums: what quantities have added since the last record, by field; none where nothing was.
        wall_time: seconds since the first attaching, without those between runs.
        probe_seconds: of them spent in probes.
        distance_sq: ‖w−w0‖² at this iteration; NaN where unknown.
        initial: SHA-256 of w0.
        waiting: records that are not on disk.
        recorded: iteration of the last record; −1 where there is none or it is not known.
        stepped: numbers of the optimizers that have stepped since the last iteration ended.
        units: what its updates have shown of their units.
    """

    iteration: int
    window: Window
    skipped: int = 0
    sums: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    wall_time: float = 0.0
    probe_seconds: float = 0.0
    distance_sq: float = float("nan")
    initial: str = ""
    waiting: tuple[Record, ...] = ()
    recorded: int = -1
    stepped: tuple[int, ...] = ()
    units: UnitHistory = field(default_factory=UnitHistory)


def to_plain(state: State) -> dict[str, Any]:
    """A state as numbers, texts, tensors, lists and dictionaries."""
    return {"version": _VERSION, **_plain(state)}


def from_plain(plain: Mapping[str, Any], tensors: int) -> State:
    """A state as `to_plain` gave it.

    Arguments:
        plain: from `Recorder.state_dict`.
        tensors: of the model.

    Raises:
        ValueError: for anything else, or a state of another number of tensors.
    """
    if plain.get("version") == 1:
        path = plain.get("step_sq")
        plain = {**plain, "version": _VERSION, "sums": {} if path is None else {"step_sq": path}}
    if plain.get("version") != _VERSION:
        raise ValueError(
            f"resume: found a state of version {plain.get('version')!r}, expected {_VERSION}, as "
            "Recorder.state_dict returns it"
        )
    # What states did not always tell of.
    plain = {"recorded": -1, "stepped": (), "units": {}, **plain}
    if "window" in plain:
        plain["window"] = {"left_out": 0, **plain["window"]}
    missing = [one.name for one in fields(State) if one.name not in plain]
    if missing:
        raise ValueError(f"resume: the state lacks {missing}")
    if not 0 <= plain["iteration"] <= _LAST:
        raise ValueError(
            f"resume: found a state of iteration {plain['iteration']}, expected 0 … {_LAST}"
        )
    model = State(0, empty_window(tensors, 0.0))
    values = {one.name: plain[one.name] for one in fields(State)}
    window = _window(plain["window"], model.window)
    if window.mean_sq.shape != (tensors,):
        raise ValueError(
            f"resume: found a state of {window.mean_sq.size} tensors, the model has {tensors}"
        )
    waiting = tuple({k: _array(v) for k, v in record.items()} for record in plain["waiting"])
    sums = {name: _array(value) for name, value in plain["sums"].items()}
    known = {"window": window, "waiting": waiting, "sums": sums}
    known |= {"stepped": tuple(plain["stepped"]), "units": UnitHistory.from_plain(plain["units"])}
    return State(**{**values, **known})


def from_records(records: xr.Dataset, iteration: int) -> State:
    """The state at an iteration as far as the records tell it.

    At a recorded iteration it is exact. Elsewhere the updates since the record before are lost:
    the window begins at the iteration, and samples and learning rates are counted on a straight
    line between the records around it, or on at the last rate.

    Arguments:
        records: of the run, iteration 0 among them.
        iteration: to go on from.

    Raises:
        ValueError: for an iteration before the first record.
    """
    times = records["iteration"].values
    if iteration < times[0]:
        raise ValueError(
            f"resume: found iteration {iteration}, expected {times[0]} or later, where the "
            "recording begins"
        )
    last = int(np.searchsorted(times, iteration, side="right")) - 1
    at = records.isel(iteration=last)
    window = empty_window(records.sizes["tensor"], float(at["learning_rate"]))
    window = replace(
        window,
        samples=_count(records, "samples", iteration, float(at["batch_size"])),
        learning_rate_sum=_count(records, "learning_rate_sum", iteration, window.learning_rate),
    )
    exact = int(times[last]) == iteration
    return State(
        iteration,
        window,
        wall_time=float(at["wall_time"]),
        probe_seconds=float(at["probe_seconds"]),
        distance_sq=float(at["distance_sq"].sum()) if exact else float("nan"),
        initial=str(records.attrs.get("initial_sha256", "")),
        recorded=int(times[last]),
    )


def _count(records: xr.Dataset, name: str, iteration: int, each: float) -> float:
    """A sum since iteration 0 at an iteration that need not be recorded."""
    times, sums = records["iteration"].values, records[name].values
    beyond = max(iteration, int(times[-1]))
    ahead = sums[-1] + each * (beyond - times[-1])
    return float(np.interp(iteration, np.append(times, beyond), np.append(sums, ahead)))


def _plain(value: Any) -> Any:
    if isinstance(value, State | Window | Moments | UnitHistory | Multiples):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value))
    return value.item() if isinstance(value, np.generic) else value


def _array(value: Any) -> Any:
    return value.numpy() if isinstance(value, torch.Tensor) else value


def _window(plain: Mapping[str, Any], like: Window) -> Window:
    """Nested dictionaries back as a window."""
    values: dict[str, Any] = {}
    for one in fields(like):
        entry = plain[one.name]
        if isinstance(getattr(like, one.name), Moments):
            entry = Moments(entry["count"], _array(entry["mean"]), _array(entry["scatter"]))
        values[one.name] = _array(entry)
    return Window(**values)


class Ledger:
    """Turns raw sums into records, and keeps what is left open between records."""

    def __init__(
        self,
        state: State,
        initial_sq: NDArray[np.float64],
        *,
        batch_size: int,
        processes: int,
        noise: bool,
    ) -> None:
        """Go on from a state.

        Arguments:
            state: of the run so far.
            initial_sq: ‖w0‖² `(tensor,)`.
            batch_size: samples in an update, M; the most of them where it varies.
            processes: that train together.
            noise: whether it is measured.
        """
        self._state = state
        self._initial_sq = initial_sq
        more = {"batch_size": batch_size, "processes": processes}
        self._judge = Judge(state.units, **more, noise=noise)
        self.told, self.at_end = self._judge.told, self._judge.at_end

    def enter(self, updates: Updates, snapshots: Sequence[Snapshot]) -> list[Record]:
        """The records that updates and snapshots complete.

        Arguments:
            updates: those that followed the last call's.
            snapshots: on the host, at increasing iterations among them.
        """
        if snapshots and self._state.sums:
            first, *others = snapshots
            snapshots = [replace(first, values=self._with_sums(first)), *others]
            self._state = replace(self._state, sums={})
        updates = self._judge.judge(updates)
        records, window = records_of(
            self._state.window,
            updates,
            snapshots,
            start=self._state.iteration,
            initial_sq=self._initial_sq,
        )
        iteration = self._state.iteration + len(updates)
        recorded = snapshots[-1].iteration if snapshots else self._state.recorded
        units = self._judge.history
        self._state = replace(
            self._state, iteration=iteration, window=window, recorded=recorded, units=units
        )
        return records

    def state(
        self,
        now: Snapshot,
        *,
        skipped: int,
        waiting: Sequence[Record],
        stepped: Collection[int] = (),
    ) -> State:
        """The state at a snapshot that is no record; what it has added is kept for the next.

        Arguments:
            now: taken at the iteration of the last update entered.
            skipped: steps skipped since then.
            waiting: records that are not on disk.
            stepped: optimizers that have stepped since the last iteration ended.
        """
        values = self._with_sums(now)
        sums = {name: np.asarray(values[name]) for name in values if FIELDS[name].summed}
        self._state = replace(self._state, sums=sums)
        return replace(
            self._state,
            skipped=skipped,
            wall_time=now.wall_time,
            probe_seconds=now.probe_seconds,
            distance_sq=float(now.array("distance_sq").sum()),
            waiting=tuple(waiting),
            stepped=tuple(sorted(stepped)),
        )

    def _with_sums(self, at: Snapshot) -> Values:
        """Its values, with those added that states have taken off the device before it."""
        carried = self._state.sums
        return {
            name: at.array(name) + carried[name] if name in carried else value
            for name, value in at.values.items()
        }
