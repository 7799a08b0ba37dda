"""From records to files: what rank 0 does at a flush."""

import importlib
import json
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from ultraslow.diffusion.recording import (
    EVENT_LENGTH,
    EVENTS,
    FIELDS,
    FOLLOWS,
    TakenOver,
    events_attributes,
    events_of,
    pack,
)
from ultraslow.probes.buffer import Record, stacked

from .mirrors import Mirror, Mirrors
from .segments import SegmentStore
from .upload import Upload

_NOISE_FIELDS = (
    "gradient_sq",
    "noise_trace",
    "gradient_sq_var",
    "noise_trace_var",
    "gradient_noise_cov",
    "noise_updates",
    "noise_left_out",
)
GRADIENT_FIELDS = (
    *_NOISE_FIELDS,
    "mean_sq",
    "units",
    "unit_size",
    "nonfinite_gradients",
    "clip_factor",
)
SCALE_FIELDS = ("loss_scale", "skipped")
_ONE_UNIT = (
    "every update had one unit: a single process without gradient accumulation sees one gradient "
    "an update, which holds no information about its noise"
)
_MORE_UNITS = (
    "updates have several units now, and had one before; the recording holds no gradient noise "
    "and goes on without it. To measure it, begin a new recording"
)
_NO_MORE_UNITS = (
    "updates have one unit now, and had several before; gradient noise is unknown from here on"
)
# Sums over a window that are the number of values of one of its means.
_COUNTS = {"noise_updates", "loss_updates"}
_SWITCHED_OFF = "the noise probe was switched off"


# Updates of unknown gradients, after which a recording is one without noise.
_UNSEEN = 10
_NOT_FINITE = "the weights are not finite"
# Of the batch size, in the mean of the first updates: more may be an epoch that ends.
_GROWS = 0.75
# Records that a disk refuses are kept up to this many bytes: about 8,000 records of ResNet-50.
HELD_BYTES = 1 << 26


@dataclass
class RecordingWriter:
    """Writes records as segments; never stops a training.

    What a full or vanished disk refused is kept and tried again at the next flush, with one
    warning. When more is kept than `held_bytes`, every second kept record is dropped, again with
    a warning; its sums go into the record after it, and the recording's attribute
    `records_dropped` counts them. When another process has taken the recording over, nothing more
    is written. `fault` says why the noise probe was switched off, where it was, and `unknown` why
    the gradients of some updates are unknown. `tell` is called with the first records that are on
    disk. `gap` is the last iteration before a hole that ends with the next record; the recording's
    attribute `gaps` lists all, each with the first iteration after it. `lacks` are fields that a
    recording which goes on has never had. `mirrors` follow what is on disk.
    `newest` is the last record there, and `follows` the iteration of the one that the next
    segment comes after, by which a segment that is missing is noticed. `upload` copies it to an
    object store.
    """

    store: SegmentStore
    static: Mapping[str, object]
    attributes: Mapping[str, str]
    noise: bool
    scaled: bool = False
    waiting: list[Record] = field(default_factory=list)
    several_units: bool | None = None
    gap: int | None = None
    held_bytes: int = HELD_BYTES
    dropped: int = 0
    lost: bool = False
    fault: str = ""
    unknown: str = ""
    tell: Callable[[xr.Dataset], None] | None = None
    events: list[tuple[int, str]] = field(default_factory=list)
    lacks: Collection[str] = ()
    newest: Record | None = None
    follows: int = -1
    mirrors: Mirrors | None = None
    upload: Upload | None = None
    _units_compared: bool = False
    _alone: bool = False  # whether the first updates had one unit, while more were expected
    _alone_yet: bool = False
    _warned: set[str] = field(default_factory=set)

    @property
    def path(self) -> Path:
        """Where the recording is: the closed file once there is one, the live folder before."""
        return self.store.file if self.store.file.exists() else self.store.folder

    def noise_failed(self, why: str) -> str:
        """Remember, and say, that gradient noise is unknown from here on."""
        self.fault = self.fault or f"the noise probe failed and was switched off: {why}"
        return self.fault

    def began_at(self, rate: float, *, shown: object) -> None:
        """Correct the rate of the first update, which the optimizer that was given did not use.

        Arguments:
            rate: that was used; NaN where it is unknown.
            shown: by the optimizer; another one that is recorded is the user's, and stays.
        """
        if self.static.get("base_learning_rate") != shown:
            return
        rest = {key: value for key, value in self.static.items() if key != "base_learning_rate"}
        self.static = rest if np.isnan(rate) else {**rest, "base_learning_rate": rate}

    def gradient_unknown(self, why: str) -> str:
        """Remember, and say, that the gradient of some update is unknown."""
        self.unknown = self.unknown or why
        return f"gradient and noise of some updates are unknown: {why}"

    def note(self, iteration: int, text: str) -> None:
        """Remember what happened to the run, once; the first `EVENTS` are kept.

        Arguments:
            iteration: when it was noticed.
            text: what happened, in a sentence.
        """
        known = self._all_events()
        if len(known) < EVENTS and text not in [told for _, told in known]:
            self.events.append((iteration, text[:EVENT_LENGTH]))

    def _all_events(self) -> list[tuple[int, str]]:
        """Those of earlier parts of the run, then those of this one."""
        return [*events_of(self.attributes), *self.events]

    @property
    def _last(self) -> int:
        """The iteration of the last record, waiting or on disk; 0 where there is none."""
        last = self.waiting[-1] if self.waiting else self.newest
        return 0 if last is None else int(last["iteration"])

    def write(self, records: Sequence[Record], *, hold: int = -1) -> None:
        """Write records, and those that waited, as one segment.

        The record of iteration 0 waits for the first update, which shows whether there is any
        noise to record.

        Arguments:
            records: at increasing iterations.
            hold: the record of this iteration waits, as more may come to it.
        """
        if self.lost:
            return
        for record in records:
            if not np.isfinite(np.sum(record.get("weight_sq", 0.0))):
                self.note(int(record["iteration"]), _NOT_FINITE)
        self.waiting.extend(records)
        self._learn_units()
        held = [record for record in self.waiting[-1:] if record["iteration"] == hold]
        del self.waiting[len(self.waiting) - len(held) :]
        if self.waiting and self.several_units is not None:
            self._try(self._write_waiting, "could not write")
        self.waiting += held
        self._bound()
        if self.upload is not None and (told := self.upload.news()):
            self._warn(told)

    def amend(self, iteration: int, fields: Record) -> None:
        """Add fields to the record of an iteration, where that waits."""
        if self.waiting and self.waiting[-1]["iteration"] == iteration:
            self.waiting[-1] = {**self.waiting[-1], **fields}

    def close(self) -> None:
        """Write what waits and join all segments into the closed file, or warn that it failed."""
        if self.lost:
            self._end_mirrors()
            return
        self.several_units = bool(self.several_units)
        self._warned.clear()
        if self.waiting:
            self._try(self._write_waiting, f"lost {len(self.waiting)} records at its end")
        self._end_mirrors()
        for file, last in self.store.tails.items():
            self._warn(
                f"kept in {file.name}: records up to iteration {last}, which an earlier part of "
                "this run had made and this one has not reached"
            )
        if not self.lost:
            closing = partial(self.store.compact, self._told_events())
            self._try(closing, "was left live, in its folder")
        self.leave()

    def leave(self) -> None:
        """Give the recording back as it is, with what happened after its last records."""
        self._end_mirrors()
        if not self.lost:
            with suppress(Exception):  # whatever it is, it was warned of
                self.store.tell(self._told_events())
        with suppress(OSError):
            self.store.close()
        if self.upload is not None and not self.lost and (told := self.upload.finish()):
            self._warn(told)

    def mirrored_by(self, asked: Sequence[str | Mirror]) -> None:
        """Let mirrors follow; one that fails is warned of, and stands among the events."""

        def failed(iteration: int, text: str) -> None:
            self.note(iteration, text)
            self._warn(text)

        self.mirrors = Mirrors(asked, self.store.folder, failed) if asked else None

    def _end_mirrors(self) -> None:
        if self.mirrors is not None:
            self.mirrors.close()

    def _learn_units(self) -> None:
        """Whether updates have several units; once known it decides which fields there are."""
        whole = float(np.asarray(self.static.get("batch_size", 0.0)))
        now = _several_units(self.waiting, whole, patient=not self.unknown)
        self._alone_yet = self._alone_yet and not _most_units(self.waiting) > 1
        if self.several_units is None:
            self._alone = self._alone_yet = bool(now) and not _most_units(self.waiting) > 1
            self.scaled = self.scaled or _is_scaled(self.waiting)
            self.several_units = False if self.fault else now
        elif not self._units_compared and now is not None and self.noise:
            if now != self.several_units:
                self._warn(_NO_MORE_UNITS if self.several_units else _MORE_UNITS)
            self._units_compared = True

    def _write_waiting(self) -> None:
        if self.gap is not None:
            hole = [self.gap, int(self.waiting[0]["iteration"])]
            known = json.loads(self.attributes.get("gaps", "[]"))
            self.attributes = {**self.attributes, "gaps": json.dumps([*known, hole])}
            self.gap = None
        records = self.dataset(self.waiting)
        self.store.write(records.assign_attrs({FOLLOWS: self.follows}))
        self.follows = int(self.waiting[-1]["iteration"])
        self.newest, self.waiting = self.waiting[-1], []
        if self.upload is not None:
            self.upload.notify()
        if self.mirrors is not None:
            self.mirrors.follow(records)
        tell, self.tell = self.tell, None
        if tell is not None:
            tell(records)

    def _try(self, action: Callable[[], object], failed: str) -> None:
        try:
            action()
        except TakenOver as error:
            self.lost, self.waiting = True, []
            self._warn(f"stopped: {error}")
        except Exception as error:  # whatever it is, it is no reason to stop a training
            self._warn(f"{failed} ({error})")

    def _bound(self) -> None:
        """Keep what waits within bounds; every second record still covers all of the run."""
        held = sum(
            np.asarray(value).nbytes for record in self.waiting for value in record.values()
        )
        if held > self.held_bytes and len(self.waiting) > 2:
            kept = _thinned(self.waiting)
            self.dropped += len(self.waiting) - len(kept)
            self.waiting = kept
            self._warn("the disk still refuses; every second record that waits is dropped")

    def _told_events(self) -> dict[str, str | int]:
        return events_attributes(self._all_events()) if self.events else {}

    def dataset(self, records: Sequence[Record]) -> xr.Dataset:
        """Records as a dataset that is a valid recording by itself."""
        values = {**self.static, **stacked(records)}
        attributes = {**self.attributes, **self._told_events()}
        if self.dropped:
            told = str(attributes.get("records_dropped", ""))
            so_far = int(told) if told.isdecimal() else 0
            attributes["records_dropped"] = str(so_far + self.dropped)
        absent: tuple[str, ...] = ()
        if not self.noise:
            absent, attributes["noise_absent"] = GRADIENT_FIELDS, _SWITCHED_OFF
        elif not self.several_units:
            absent = _NOISE_FIELDS
            told = self.fault or self.unknown
            attributes["noise_absent"] = told or attributes.get("noise_absent", _ONE_UNIT)
        elif self.fault:
            attributes["noise_absent"] = f"in later updates: {self.fault}"
        elif self.unknown:
            attributes["noise_absent"] = f"in some updates: {self.unknown}"
        elif self._alone:
            attributes["noise_absent"] = f"{'' if self._alone_yet else 'at first '}{_ONE_UNIT}"
        absent = (*absent, *self.lacks, *(() if self.scaled else SCALE_FIELDS))
        present = {name: value for name, value in values.items() if name not in absent}
        if "data_size" in present:
            present["epoch"] = np.asarray(present["samples"]) / present["data_size"]
        return xr.Dataset.from_dict(pack(present, attributes))

    def _warn(self, message: str) -> None:
        """Warn, once for each kind of message."""
        kind = message.partition(" (")[0]
        if kind not in self._warned:
            self._warned.add(kind)
            kept = "; records are kept in memory and tried again at every flush"
            text = message + (kept if kind == "could not write" else "")
            self.note(self._last, message)
            warnings.warn(f"recording {self.store.folder}: {text}", RuntimeWarning, stacklevel=2)


def import_pools() -> None:
    """Import what cannot be imported any more when the program ends.

    Pools of threads and of processes register themselves to be ended with the interpreter, which
    is refused once that ends; libraries import them when they write, and the first records of a
    short program may be written then.
    """
    for pool in ("thread", "process"):
        importlib.import_module(f"concurrent.futures.{pool}")


def _thinned(records: Sequence[Record]) -> list[Record]:
    """The first and the last of three or more records, and every second between.

    What is summed over a window goes into the record after it, so that the path and the counts
    stay whole. Means, and the counts of what they are means of, stay those of the record's own
    window.
    """
    dropped = range(len(records) - 2, 0, -2)
    kept = []
    for index, record in enumerate(records):
        if index in dropped:
            continue
        if index - 1 in dropped:
            earlier = records[index - 1]
            summed = (name for name in record if FIELDS[name].summed and name not in _COUNTS)
            sums = {name: record[name] + earlier[name] for name in summed}
            record = {**record, **sums}
        kept.append(record)
    return kept


def _most_units(records: Sequence[Record]) -> float:
    """The most units of an update, in the mean of a record's; NaN while none has been seen."""
    found = [float(record["units"]) for record in records if np.isfinite(record["units"])]
    return max(found, default=float("nan"))


def _is_scaled(records: Sequence[Record]) -> bool:
    """Whether a gradient scaler that nobody has named was found at work."""
    return any(np.isfinite(float(record.get("loss_scale", np.nan))) for record in records)


def _several_units(records: Sequence[Record], whole: float, *, patient: bool) -> bool | None:
    """Whether updates have several units, or will; None while no update has been seen.

    Where the first of one unit hold fewer samples than the batch size, which is the most that any
    has, the batch is about to grow.

    Arguments:
        records: those that wait.
        whole: the batch size.
        patient: whether to wait for an update that has been seen, however late it comes; else
            none is expected after `_UNSEEN` updates without.
    """
    if np.isfinite(most := _most_units(records)):
        made, samples = (float(records[-1][name]) for name in ("iteration", "samples"))
        return most > 1 or samples < _GROWS * whole * made
    late = bool(records) and int(records[-1]["iteration"]) - int(records[0]["iteration"]) > _UNSEEN
    return False if late and not patient else None
