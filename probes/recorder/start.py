"""Beginning to record: a new recording, or one that goes on.

All processes take part, and fail together: what fails on one is told to all before any of them
waits for another. Nothing of an old recording is changed before everything was found to fit.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from ultraslow.diffusion.recording import (
    EVENTS_SCHEMA,
    SCALARS,
    RecordError,
    events_attributes,
    events_of,
    events_version,
    killed_behind,
    lost_in_words,
    update_seconds,
)
from ultraslow.probes.buffer import Resume, State, empty_window, from_plain, from_records
from ultraslow.probes.distributed import Processes, fail_together, refuse_unlike
from ultraslow.probes.norms import squared_distances
from ultraslow.probes.quantities import Subject
from ultraslow.probes.steps import Optimizers
from ultraslow.probes.storage import Mirror, OnDisk, SegmentStore, Upload, initial

from .compatibility import (
    other_weights,
    refuse_earlier_initial,
    refuse_other_initial,
    refuse_other_landscape,
    refuse_other_run,
    refuse_other_weights,
    refuse_unreadable,
)
from .metadata import superseded
from .outlook import Notices, say

_T = TypeVar("_T")
_LATE_FIELDS = ("noise_left_out",)  # recordings of earlier versions do without
_DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True)
class RunSetup:
    """What is to be recorded.

    Arguments:
        store: where.
        subject: the weights; its w0 is overwritten when a recording goes on.
        static: values of the recording's coordinates.
        attributes: of the recording.
        probes: names of the probes that run, `scaler` among them with mixed precision.
        optimizers: of the run.
        mirrors: that follow the recording.
        upload: to an object store, where the recording goes to one.
    """

    store: SegmentStore
    subject: Subject
    static: Mapping[str, object]
    attributes: Mapping[str, str]
    probes: frozenset[str]
    optimizers: Optimizers
    mirrors: tuple[str | Mirror, ...] = ()
    upload: Upload | None = None

    @property
    def learning_rate(self) -> float:
        """At this moment, of the first parameter group; NaN where it is unknown."""
        return float(self.optimizers.rates()[0])

    @property
    def recorded_tensors(self) -> int:
        """How many tensors, or groups of them, are recorded."""
        groups = self.subject.groups
        return len(self.subject.parameters if groups is None else groups.names)

    @property
    def processes(self) -> Processes:
        """Those that train together."""
        return self.subject.processes


@dataclass(frozen=True)
class Start:
    """Where a recorder begins.

    Arguments:
        state: what is known of the past.
        recorded: the last iteration recorded; −1 for none.
        initial_sq: ‖w0‖² `(tensor,)`.
        static: values of the recording's coordinates.
        attributes: of the recording.
        several_units: whether updates have several units; None when not known yet.
        new: whether it is a new recording, whose w0 was just saved.
        gap: the last iteration before a hole, which sums lack; None where there is none.
        lacks: fields of today that the recording has never had.
        scaled: whether it has those of mixed precision.
        told: what was warned of.
        on_disk: the last iteration that is there; −1 for none.
    """

    state: State
    recorded: int
    initial_sq: NDArray[np.float64]
    static: Mapping[str, object]
    attributes: Mapping[str, str]
    several_units: bool | None = None
    new: bool = False
    gap: int | None = None
    lacks: tuple[str, ...] = ()
    scaled: bool = False
    told: tuple[str, ...] = ()
    on_disk: int = -1


def begin(setup: RunSetup, resume: Resume | None, *, overwrite: bool = False) -> Start:
    """Open the recording.

    Arguments:
        setup: what is to be recorded.
        resume: None for a new recording; True to go on at the last record or, where there is no
            recording, to begin one; an iteration; a recorder's state.
        overwrite: whether a new recording replaces the one that is there.

    Raises:
        OSError: when the recording cannot be opened, here or on another process.
        ValueError: when what is there does not fit.
    """
    resumes = resume is not None and resume is not False
    asking = float(_added(setup, [float(resumes)])[0])
    if asking not in (0.0, setup.processes.size):
        raise ValueError(
            f"resume: given on {asking:.0f} of {setup.processes.size} processes, expected on "
            "all or none"
        )
    if resumes and overwrite:
        raise ValueError("overwrite: found True with resume, which goes on with what is there")
    try:
        _together(setup, lambda: refuse_unreadable(setup.static, setup.attributes))
        refuse_unlike(setup.subject.weights(), setup.processes)
        return (
            _anew(setup, overwrite=overwrite) if not resumes else _on(setup, _given(setup, resume))
        )
    except BaseException:
        if setup.processes.writes:
            setup.store.close()
        raise


def _given(setup: RunSetup, resume: Resume | None) -> int | State:
    """The state that was given, read; an iteration or True as they are."""

    def read() -> int | State:
        if isinstance(resume, Mapping):
            return from_plain(resume, setup.recorded_tensors)
        if not isinstance(resume, bool | int | np.integer) or resume < 0:
            raise ValueError(
                f"resume: found {resume!r}, expected True, an iteration >= 0 or a state"
            )
        return resume if isinstance(resume, bool) else int(resume)

    return _together(setup, read)


def abandon(setup: RunSetup, start: Start) -> None:
    """Leave nothing behind of an attaching that failed after `begin`, on this process.

    The lease goes, and w0 of a new recording; a recording that goes on stays as it is.
    """
    part = initial.own_part(list(setup.subject.parameters.values()), setup.processes)
    if start.new and part.saves:
        (setup.store.folder / part.name).unlink(missing_ok=True)
    if setup.processes.writes:
        setup.store.close()


def _anew(setup: RunSetup, *, resume: bool = False, overwrite: bool = False) -> Start:
    store, processes = setup.store, setup.processes

    def open_empty() -> None:
        if setup.upload is not None and not resume:
            if overwrite:
                setup.upload.owns = True
            else:
                setup.upload.refuse_existing()
        store.open(resume=resume, overwrite=overwrite)
        for file in initial.weight_files(store.folder) if overwrite else []:
            file.unlink()
        refuse_earlier_initial(store.folder)

    _together(setup, lambda: open_empty() if processes.writes else None)
    parameters = setup.subject.parameters
    part = initial.own_part(list(parameters.values()), processes)
    digests = np.zeros((part.count, _DIGEST))
    try:
        digest = _together(
            setup,
            lambda: (
                initial.save_part(store.folder, part, setup.subject.parameters)
                if part.saves
                else b""
            ),
        )
        _together(setup, lambda: _seen_on_disk(setup))
    except BaseException:
        if part.saves:
            (store.folder / part.name).unlink(missing_ok=True)
        raise
    if part.saves:
        digests[part.index] = list(digest)
    whole = _added(setup, digests.flatten().tolist()).astype(np.uint8)
    names = [initial.name_of(index, part.count) for index in range(part.count)]
    return _fresh(setup, names, initial.combined_digest([whole.tobytes()]))


def _seen_on_disk(setup: RunSetup) -> None:
    """Find w0 in the files that were just written, where it is to stay there."""
    w0, folder = setup.subject.initial, setup.store.folder
    if any(isinstance(one, OnDisk) for one in w0):
        try:
            initial.load_weights(folder, setup.subject.parameters, w0, checked=False)
        except (FileNotFoundError, ValueError) as error:
            raise OSError(
                f"initial_on: found no initial weights in {folder} that another process has "
                f"written there ({error}); expected a folder that all see, or initial_on='host'"
            ) from error


def _fresh(setup: RunSetup, names: list[str], digest: str) -> Start:
    """The beginning of a run, w0 being the weights of this moment and on disk."""
    window = empty_window(setup.recorded_tensors, setup.learning_rate)
    attributes = {**setup.attributes, **_saved_as(names, digest)}
    state = State(0, window, initial=digest)
    return Start(state, -1, _squares(setup)[2], setup.static, attributes, new=True)


def _saved_as(names: list[str], digest: str) -> dict[str, str]:
    return {"initial_weights": json.dumps(names), "initial_sha256": digest}


def _on(setup: RunSetup, resume: Any) -> Start:
    store, writes, upload = setup.store, setup.processes.writes, setup.upload
    _together(setup, lambda: upload.fetch() if upload is not None and writes else None)
    told: list[str] = []
    warn = Notices(store.folder, told.append).warn
    found = _together(setup, lambda: _found(setup, resume, warn) if writes else None)
    there, iteration, recorded = _added(
        setup, [1.0, found.state.iteration, found.recorded + 1.0] if found else [0.0] * 3
    )
    if not there:
        return _anew(setup, resume=True)
    w0 = setup.subject.initial
    _together(setup, lambda: initial.load_weights(store.folder, setup.subject.parameters, w0))
    if not recorded and not iteration:
        _together(setup, lambda: refuse_other_weights(store.folder, setup.subject.weights(), w0))
    _together(setup, lambda: store.cut(int(iteration)) if writes else None)
    distance_sq, _, initial_sq = _squares(setup)
    if found is None:
        state = State(int(iteration), empty_window(setup.recorded_tensors, 0.0))
        found = Start(state, int(recorded) - 1, initial_sq, setup.static, {})
    warn(other_weights(found.state, float(distance_sq.sum())))
    return replace(found, initial_sq=initial_sq, told=tuple(told))


def _found(setup: RunSetup, resume: Any, warn: Callable[[str], None]) -> Start | None:
    """What is on disk, on the process that writes; None when there is nothing."""
    store = setup.store
    there = store.file.exists() or store.segments() or initial.weight_files(store.folder)
    if not there:
        if resume is True:
            return None
        raise FileNotFoundError(f"path: found no recording at {store.folder} to resume")
    lag, reach = killed_behind(store.folder), store.reach
    store.open(resume=True)
    records = _readable(store)
    last = -1 if records is None else int(records["iteration"][-1])
    if reach > last:
        since = f" after that of iteration {last}" if last >= 0 else ""
        warn(
            f"records up to iteration {reach} were on disk, and all{since} are missing now, as "
            "where a file was lost or not copied; put it back to go on from there"
        )
    if records is None:
        return _unrecorded(setup, resume, warn)
    refuse_other_run(store.folder, records, setup.static, setup.probes, warn=warn)
    refuse_other_landscape(records, setup.static, setup.attributes)
    if isinstance(resume, State):
        state = resume
    else:
        state = from_records(records, last if resume is True else resume)
    refuse_other_initial(store.folder, state, initial.identity(store.folder))
    lost = "" if lag is None else lost_in_words(lag, update_seconds(records))
    _tell_of_end(store.folder, records, state.iteration, lost)
    return _continued(setup, state, records, warn, whole=isinstance(resume, State))


def _tell_of_end(folder: Path, records: xr.Dataset, iteration: int, lost: str) -> None:
    """Tell how an earlier part of the run ended, beyond the iteration that it goes on from."""
    last = int(records["iteration"][-1])
    if lost:
        told = f"an earlier process was killed after its record of iteration {last}: {lost}"
        say(folder, f"{told}; this one goes on from iteration {iteration}")
    for at, text in events_of(records.attrs):
        if at > iteration:
            say(folder, f"an earlier part of the run came to iteration {at}: {text}")


def _readable(store: SegmentStore) -> xr.Dataset | None:
    try:
        return store.read()
    except RecordError as error:
        advice = "repair the recording with `ultraslow repair`, then resume"
        raise RecordError(error.source, [*error.faults, advice]) from error


def _unrecorded(setup: RunSetup, resume: Any, warn: Callable[[str], None]) -> Start:
    """A run that was killed before its first record was on disk."""
    folder, tensors = setup.store.folder, setup.recorded_tensors
    digest, recorded = initial.identity(folder), -1
    if isinstance(resume, State):
        refuse_other_initial(folder, resume, digest)
        recorded = int(resume.waiting[-1]["iteration"]) if resume.waiting else -1
        state = resume
    elif resume is True or resume == 0:
        state = State(0, empty_window(tensors, setup.learning_rate), initial=digest)
    else:
        raise FileNotFoundError(
            f"path: found no record in {folder} to resume at iteration {resume}"
        )
    names = [file.name for file in initial.weight_files(folder)]
    attributes = {**setup.attributes, **_saved_as(names, digest)}
    gap = -1 if state.recorded > recorded else None
    if gap is not None:
        warn(_lost_records(recorded, state))
    return Start(state, recorded, np.zeros(tensors), setup.static, attributes, gap=gap)


def _lost_records(last: int, state: State) -> str:
    """What to say of records that a state knows of and that the disk has lost."""
    return (
        f"the records from iteration {last + 1} to {state.recorded} were made before the "
        f"checkpoint of iteration {state.iteration} and are not on disk: the recording has a "
        "hole, and what is added up over updates lacks theirs"
    )


def _continued(
    setup: RunSetup,
    state: State,
    records: xr.Dataset,
    warn: Callable[[str], None],
    *,
    whole: bool,
) -> Start:
    """What goes on after records; the state is whole when a recorder gave it."""
    kept = records["iteration"].values[records["iteration"].values <= state.iteration]
    last = int(kept[-1]) if kept.size else -1
    waiting = tuple(record for record in state.waiting if int(record["iteration"]) > last)
    recorded = int(waiting[-1]["iteration"]) if waiting else last
    part = {"iteration": state.iteration, "world_size": setup.processes.size}
    gap = None
    if state.recorded > recorded:
        part["unrecorded_since"] = gap = recorded
        warn(_lost_records(recorded, state))
    if not whole and last != state.iteration:
        part["unrecorded_since"] = gap = last
        warn(
            f"iteration {state.iteration} is not recorded: what was measured since iteration "
            f"{last} is lost, and its samples and learning rates are estimated; pass the "
            "recorder's state_dict of the checkpoint to lose nothing"
        )
    told = records.attrs.get("config", "{}"), setup.attributes.get("config", "{}")
    config, earlier = _told_anew(*told)
    resumed = [*json.loads(records.attrs.get("resumed", "[]")), {**part, **earlier}]
    attributes = {**records.attrs, "resumed": json.dumps(resumed), "config": config}
    attributes |= _holes_before(state.iteration, attributes)
    if "events" in attributes and events_version(attributes) <= EVENTS_SCHEMA:
        # Of the part that is kept.
        past = [event for event in events_of(records.attrs) if event[0] <= state.iteration]
        attributes |= {"events": "[]"} | events_attributes(past)
    # Labels that were added to it stay; those it never had cannot begin in its middle.
    known = [name for name in (*setup.static, *SCALARS) if name in records]
    static = {name: records[name].values[()] for name in known}
    several = "gradient_sq" in records
    lacks = tuple(name for name in _LATE_FIELDS if name not in records)
    return Start(
        replace(state, waiting=waiting),
        recorded,
        np.zeros(0),
        static,
        attributes,
        several,
        gap=gap,
        lacks=lacks,
        scaled="skipped" in records,
        on_disk=last,
    )


def _holes_before(iteration: int, attributes: Mapping[str, Any]) -> dict[str, str]:
    """The holes that stay where a run goes on; what was lost after that is made anew."""
    if "gaps" not in attributes:
        return {}
    try:
        holes = [(int(a), b) for a, b in json.loads(attributes["gaps"])]
    except (ValueError, TypeError, RecursionError):
        return {}
    kept = [hole for hole in holes if isinstance(hole[1], int) and hole[1] <= iteration]
    return {"gaps": json.dumps(kept)}


def _told_anew(earlier: str, now: str) -> tuple[str, dict[str, Any]]:
    """What a recording says of its run from here on, and what it said otherwise before.

    A run that is made longer than it was meant to be has the settings of its new length.
    """
    was = json.loads(earlier)
    told = {**was, **json.loads(now)}
    before = superseded(was, told)
    return json.dumps(told, sort_keys=True), {"config_before": before} if before else {}


def _squares(setup: RunSetup) -> NDArray[np.float64]:
    """‖w−w0‖², ‖w‖² and ‖w0‖² as they are recorded, over all processes `(3, tensor)`."""
    w0 = setup.subject.initial
    own_sq = squared_distances(w0, w0)[1:].to(setup.subject.device)
    parts = torch.cat([squared_distances(setup.subject.weights(), w0), own_sq])
    groups = setup.subject.groups
    parts = parts if groups is None else groups.added(parts)
    return setup.processes.add(parts / setup.processes.copies).cpu().numpy()


def _added(setup: RunSetup, values: list[float]) -> NDArray[np.float64]:
    device = setup.subject.device
    added = setup.processes.add(torch.tensor(values, dtype=torch.float64, device=device))
    return added.cpu().numpy()


def _together(setup: RunSetup, action: Callable[[], _T]) -> _T:
    return fail_together(
        setup.processes,
        action,
        device=setup.subject.device,
        elsewhere=lambda: OSError(
            f"path: another process could not open the recording at {setup.store.folder}; its "
            "own error tells why"
        ),
    )
