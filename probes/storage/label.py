"""Labelling a recording: what was forgotten when it was made, or was wrong.

Measurements stay as they are. The file is written anew beside the old one, sealed as every other,
and takes its place at once; its history says what was changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr

from ultraslow.diffusion.recording import (
    LABELS,
    SCALARS,
    as_label,
    check,
    check_sizes,
    nearest,
    pack,
    read_file,
)

from .segments import SegmentStore, absent_recording


@dataclass(frozen=True)
class Labelled:
    """What was changed.

    Arguments:
        path: the closed file.
        changes: of each label that has another value now the one before, None where it had none,
            and the one it has.
        closed: whether the recording had been left live and was closed for it.
    """

    path: Path
    changes: Mapping[str, tuple[object, object]]
    closed: bool

    def __str__(self) -> str:
        told = [
            f"{name} {now}" + ("" if was is None else f" (was {was})")
            for name, (was, now) in self.changes.items()
        ]
        return ", ".join(told) or "nothing to change"


def refuse_unknown(name: str) -> None:
    """Refuse what is no label, or none that may be changed.

    Raises:
        ValueError: with the labels there are.
    """
    if name in LABELS:
        return
    if name in SCALARS:
        raise ValueError(f"{name}: the recording was measured with it, so that it stays as it is")
    raise ValueError(
        f"{name[:80]}: no label{nearest(name, LABELS)}, expected one of {', '.join(LABELS)}"
    )


def label_recording(path: str | Path, labels: Mapping[str, object]) -> Labelled:
    """Add labels to a recording, or correct them.

    A recording that its process left without closing is closed first.

    Arguments:
        path: the closed file, or the live folder.
        labels: values by name, of `diffusion.recording.LABELS`.

    Returns:
        What was changed; where nothing is to change the file stays as it is.

    Raises:
        ValueError, TypeError: for a label that there is not, or a value that is none of its own,
            or a training set smaller than a batch; nothing was changed then.
        FileNotFoundError: when there is no recording.
        FileExistsError: while the recording is being written.
        RecordError: when it is damaged.
        OSError: when the disk refuses; the recording stays as it was.
    """
    for name in labels:
        refuse_unknown(name)
    values = {name: as_label(name, value) for name, value in labels.items()}
    store = SegmentStore(path)
    live = not store.file.exists()
    if live and not (store.segments() or store.lease.path.exists()):
        raise FileNotFoundError(absent_recording(path))
    if live:
        _lease(store)
        try:
            if not store.segments():
                raise FileNotFoundError(absent_recording(path))
            _check_sizes(read_file(store.segments()[0])[0], values)
            store.compact()
        finally:
            store.close()
    # Without its folder a recording is nobody's, and two who label it at once need one to meet in.
    if not store.folder.exists():
        store.folder.mkdir()
    _lease(store)
    try:
        changes = _relabel(store, values, closed=live)
    finally:
        store.close()
    return Labelled(store.file, changes, live)


def _lease(store: SegmentStore) -> None:
    if not store.folder.is_dir():
        return
    try:
        store.lease.acquire()
    except FileExistsError as error:
        message = f"{error}. A recording is labelled when it is closed"
        raise FileExistsError(message) from None


def _check_sizes(records: xr.Dataset, values: Mapping[str, object]) -> None:
    check_sizes({"batch_size": records["batch_size"].item(), **values})


def _relabel(
    store: SegmentStore, values: Mapping[str, object], *, closed: bool
) -> dict[str, tuple[object, object]]:
    """Write the file with other labels, where they are others."""
    records, _ = read_file(store.file)
    before = {name: records[name].item() if name in records else None for name in values}
    _check_sizes(records, values)
    changes = {name: (before[name], now) for name, now in values.items() if before[name] != now}
    if changes:
        told = str(Labelled(store.file, changes, closed))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        entry = f"{now} labelled by ultraslow label: {told}" + (
            "; closed for it" if closed else ""
        )
        history = "\n".join(filter(None, [str(records.attrs.get("history", "")), entry]))
        labelled = with_labels(records, {name: value for name, (_, value) in changes.items()})
        labelled = labelled.assign_attrs(history=history)
        check(labelled, str(store.file))
        store.replace(labelled)
    return changes


def with_labels(records: xr.Dataset, values: Mapping[str, object]) -> xr.Dataset:
    """The records with other labels, and with the epochs that follow from them.

    Arguments:
        records: a recording.
        values: labels by name, checked.
    """
    new = dict(values)
    if "data_size" in values and "samples" in records:
        new["epoch"] = records["samples"].values / np.float64(str(values["data_size"]))
    packed = xr.Dataset.from_dict(pack(new))
    coordinates = {name: packed.variables[name] for name in values}
    measured = {name: packed.variables[name] for name in new if name not in values}
    return records.assign_coords(coordinates).assign(measured)
