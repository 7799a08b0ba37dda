"""Mirrors: a run's scalars in another program's own format, while the run lives.

What a mirror is given is what a flush has brought to disk: the totals of the recording, under the
names of its fields, at their iterations. The recording is what counts. A mirror that fails is told
once, in the recording as well, and is left alone from then on.

TensorBoard's event files are written here, without TensorBoard: a row of records (length, its
checksum, content, its checksum), each an `Event` in the wire format of protocol buffers. Values
are tensors of 64 bits, not the usual simple values, which have 32: what is read back is what was
recorded.

References:
    tensorflow/core/util/event.proto, framework/summary.proto and framework/tensor.proto; the
    masked CRC-32C is that of tensorflow/core/lib/hash/crc32c.h.
"""

import hashlib
import importlib.util
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import numpy as np
import xarray as xr

from ultraslow.diffusion.recording import SCALARS

from .csv_file import CsvFile

Row = Mapping[str, float]


@runtime_checkable
class Mirror(Protocol):
    """What follows a run, on the process that writes the recording; called between updates."""

    def log(self, iteration: int, values: Row) -> None:
        """Take the scalars of one record.

        Arguments:
            iteration: at which they were recorded; it increases, but for a run that goes on from
                before its last records.
            values: finite ones, by the names of the recording's fields.
        """
        ...

    def close(self) -> None:
        """Nothing more will come."""
        ...


# How mirrors are asked for: in words, or as objects of one's own.
Mirrored = str | Mirror | Sequence[str | Mirror] | None


class Mirrors:
    """The mirrors of a run. They are opened with the first records, and never stop anything."""

    def __init__(
        self, asked: Sequence[str | Mirror], folder: Path, warn: Callable[[int, str], None]
    ) -> None:
        """Remember what was asked for.

        Arguments:
            asked: mirrors in words, or objects.
            folder: of the recording.
            warn: is told of one that failed, and at which iteration.
        """
        self._asked, self._folder, self._warn = list(asked), folder, warn
        self._open: list[Mirror] | None = None
        self._last = 0

    def follow(self, records: xr.Dataset) -> None:
        """Give all mirrors the records, which are on disk."""
        self._last = int(records["iteration"][-1])
        if self._open is None:
            self._open = []
            for one in self._asked:
                self._try(partial(self._begin, one, records), _name(one))
        rows = scalars(records)
        for mirror in list(self._open):
            if not self._try(partial(_log, mirror, rows), _name(mirror)):
                self._open.remove(mirror)
                with suppress(Exception):
                    mirror.close()

    def _begin(self, one: str | Mirror, records: xr.Dataset) -> None:
        opened = _opened(one, self._folder, records) if isinstance(one, str) else one
        self._open = [*(self._open or []), opened]

    def close(self) -> None:
        """Close all."""
        opened, self._open, self._asked = self._open or [], None, []
        for mirror in opened:
            self._try(mirror.close, _name(mirror))

    def _try(self, action: Callable[[], object], name: str) -> bool:
        try:
            action()
        except Exception as error:  # whatever it is, it is no reason to stop a recording
            said = " ".join(str(error).split())[:200] or type(error).__name__
            self._warn(self._last, f"the mirror {name} failed and follows no more: {said}")
            return False
        return True


def _log(mirror: Mirror, rows: Sequence[tuple[int, Row, float]]) -> None:
    if isinstance(mirror, EventFile):
        mirror.write(rows)
        return
    for iteration, values, _ in rows:
        mirror.log(iteration, values)


def checked_mirrors(mirror: object) -> list[str | Mirror]:
    """The mirrors that were asked for.

    Arguments:
        mirror: one or several, in words or as objects; None for none.

    Raises:
        TypeError, ValueError: for something else, with what was found and what was expected.
        ImportError: where the library of one is not installed.
    """
    given = [mirror] if isinstance(mirror, str | Mirror) else mirror
    if given is None:
        return []
    if not isinstance(given, Sequence):
        raise TypeError(
            f"mirror: found {type(mirror).__name__}, expected 'tensorboard', 'wandb', 'csv' or an "
            "object with the methods log(iteration, values) and close()"
        )
    for one in given:
        if isinstance(one, str):
            _refuse_unknown(one)
        elif not isinstance(one, Mirror):
            checked_mirrors(one)
    return list(given)


def _refuse_unknown(asked: str) -> None:
    kind, _, _ = asked.partition(":")
    if kind not in ("tensorboard", "wandb", "csv"):
        raise ValueError(
            f"mirror: found {asked!r}, expected 'tensorboard', 'tensorboard:FOLDER', 'csv', "
            "'csv:FOLDER', 'wandb' or 'wandb:PROJECT'"
        )
    if kind == "wandb" and importlib.util.find_spec("wandb") is None:
        raise ImportError("mirror: wandb is not installed; pip install 'ultraslow[wandb]'")


def _name(mirror: str | Mirror) -> str:
    return repr(mirror) if isinstance(mirror, str) else type(mirror).__name__


def scalars(records: xr.Dataset) -> list[tuple[int, dict[str, float], float]]:
    """What of records is one number each: fields of the run, totals over tensors, held-out scores.

    Arguments:
        records: of a recording.

    Returns:
        A row each: iteration, finite values by name, and the time since the first record. Scores
        are called `held_out_…`.
    """
    series = _series(records)
    times = series.get("wall_time", np.zeros(records.sizes["iteration"]))
    return [
        (
            int(iteration),
            {name: float(values[k]) for name, values in series.items() if np.isfinite(values[k])},
            float(times[k]),
        )
        for k, iteration in enumerate(records["iteration"].values)
    ]


def _series(records: xr.Dataset) -> dict[str, np.ndarray]:
    """One number a record each, finite or not."""
    series: dict[str, np.ndarray] = {}
    for name, field in records.data_vars.items():
        if field.dims == ("iteration",):
            series[str(name)] = field.values
        elif field.dims == ("iteration", "tensor"):
            series[str(name)] = field.sum("tensor", skipna=False).values
        elif field.dims == ("iteration", "metric"):
            for metric in field["metric"].values:
                series[f"{name}_{metric}"] = field.sel(metric=metric).values
    return series


def _opened(asked: str, folder: Path, records: xr.Dataset) -> Mirror:
    kind, _, where = asked.partition(":")
    first = int(records["iteration"][0])
    above = Path(os.path.expanduser(where)) if where else folder.parent / kind
    if kind == "tensorboard":
        return EventFile(above / folder.name, first)
    if kind == "csv":
        return CsvFile(above / f"{folder.name}.csv", first, list(_series(records)))
    labels = {name: records[name].item() for name in SCALARS if name in records}
    told = [str(records.attrs.get(name)) for name in ("created", "initial_sha256")]
    identity = hashlib.sha256("".join([folder.name, *told]).encode()).hexdigest()[:16]
    return WeightsAndBiases(where or None, folder, labels, identity)


class EventFile:
    """An event file of TensorBoard, of all records that come."""

    def __init__(self, folder: Path, first: int) -> None:
        """Begin a file of this process's own.

        Arguments:
            folder: of the run, in which all event files are read together.
            first: the first iteration; of earlier files TensorBoard shows what came before it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}"
        number = 0
        while (path := folder / f"{name}.{number}").exists():
            number += 1
        self._file: BinaryIO = path.open("xb")
        self._known: set[str] = set()
        version = _double(1, now) + _bytes(3, b"brain.Event:2")
        # A session that starts at a step: what stands at this step and later in earlier files was
        # made by a run that has gone on from before it.
        start = _double(1, now) + _number(2, first) + _bytes(7, _number(1, 1))
        self._file.write(_record(version) + (_record(start) if first else b""))
        self._file.flush()

    def log(self, iteration: int, values: Row) -> None:
        """Write one record."""
        self.write([(iteration, values, 0.0)])

    def write(self, rows: Sequence[tuple[int, Row, float]]) -> None:
        """Write rows, the last of which is of this moment."""
        now = time.time()
        content = b"".join(
            _record(self._event(iteration, values, now - rows[-1][2] + at))
            for iteration, values, at in rows
        )
        self._file.write(content)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _event(self, iteration: int, values: Row, at: float) -> bytes:
        parts = b""
        for tag, value in {"iteration": float(iteration), **values}.items():
            tensor = _number(1, _DOUBLE) + _bytes(2, b"") + _bytes(6, struct.pack("<d", value))
            part = _bytes(1, tag.encode()) + _bytes(8, tensor)
            if tag not in self._known:  # what kind of data it is stands with the first value
                self._known.add(tag)
                part += _bytes(9, _bytes(1, _bytes(1, b"scalars")) + _number(4, 1))
            parts += _bytes(1, part)
        return _double(1, at) + _number(2, iteration) + _bytes(5, parts)


_DOUBLE = 2  # DT_DOUBLE of tensorflow/core/framework/types.proto


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    checks = [struct.pack("<I", masked_crc32c(part)) for part in (length, content)]
    return length + checks[0] + content + checks[1]


def masked_crc32c(content: bytes) -> int:
    """The checksum of records: CRC-32C, rotated, plus a constant.

    >>> hex(masked_crc32c(b"123456789"))  # of the CRC 0xe3069283 that its definition gives
    '0xc78ab0e5'
    """
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@lru_cache(maxsize=1)
def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


class WeightsAndBiases:
    """A run of Weights & Biases: the one that is active, or one of its own, offline.

    Scalars are called `ultraslow/…` and go by `ultraslow/iteration`, so that the steps of a run
    that the training logs to as well stay what they are. Where no run is active one is begun that
    talks to nobody unless WANDB_MODE says so; `wandb sync` sends it later.
    """

    def __init__(
        self, project: str | None, folder: Path, labels: Mapping[str, Any], identity: str
    ) -> None:
        """Join the active run, or begin one.

        Arguments:
            project: of a run that is begun; W&B's own choice when None.
            folder: of the recording, after which the run is named.
            labels: of the recording, which become its configuration.
            identity: of the run, the same when it goes on.
        """
        import wandb

        self._own = wandb.run is None
        self._run: Any = wandb.run or wandb.init(
            project=project,
            name=folder.name,
            dir=str(folder.parent),
            config=dict(labels),
            mode=os.environ.get("WANDB_MODE", "offline"),
            id=identity,
            resume="allow",
            settings=wandb.Settings(console="off", silent=True),
        )
        self._run.define_metric("ultraslow/iteration", hidden=True)
        self._run.define_metric("ultraslow/*", step_metric="ultraslow/iteration")

    def log(self, iteration: int, values: Row) -> None:
        """Log one record."""
        named = {f"ultraslow/{name}": value for name, value in values.items()}
        self._run.log({**named, "ultraslow/iteration": iteration})

    def close(self) -> None:
        """End the run, if it is this one's."""
        if self._own:
            self._run.finish()
