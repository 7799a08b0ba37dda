"""From records to files: what rank 0 does at a flush."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from diffusion.recording import pack

from .store import SegmentStore
from .updates import Record, stacked

_NOISE_FIELDS = (
    "gradient_sq",
    "noise_trace",
    "gradient_sq_var",
    "noise_trace_var",
    "gradient_noise_cov",
    "noise_updates",
)
_GRADIENT_FIELDS = (
    *_NOISE_FIELDS,
    "mean_sq",
    "units",
    "unit_size",
    "nonfinite_gradients",
    "clip_factor",
)
_SCALE_FIELDS = ("loss_scale", "skipped")
_ONE_UNIT = (
    "every update had one unit: a single process without gradient accumulation sees one gradient "
    "an update, which holds no information about its noise"
)
_SWITCHED_OFF = "the noise probe was switched off"


@dataclass
class RecordingWriter:
    """Writes records as segments.

    What a full or vanished disk refused is kept and tried again at the next flush, with one
    warning: a recorder never
    stops a training.
    """

    store: SegmentStore
    static: Mapping[str, object]
    attributes: Mapping[str, str]
    noise: bool
    scaled: bool = False
    waiting: list[Record] = field(default_factory=list)
    _several_units: bool | None = None
    _warned: bool = False

    def write(self, records: Sequence[Record]) -> None:
        """Write records, and those that waited, as one segment.

        The record of iteration 0 waits for the first update, which shows whether there is any
        noise to record.
        """
        self.waiting.extend(records)
        if self._several_units is None:
            self._several_units = _several_units(self.waiting)
        if self.waiting and self._several_units is not None:
            self._try_to_write()

    def close(self) -> Path:
        """Write what waits and join all segments into the closed file.

        Raises:
            OSError: when the disk still refuses; the segments written so far remain.
        """
        self._several_units = bool(self._several_units)
        if self.waiting:
            self.store.write(self.dataset(self.waiting))
            self.waiting = []
        return self.store.compact()

    def dataset(self, records: Sequence[Record]) -> xr.Dataset:
        """Records as a dataset that is a valid recording by itself."""
        values = {**self.static, **stacked(records)}
        attributes = dict(self.attributes)
        absent: tuple[str, ...] = ()
        if not self.noise:
            absent, attributes["noise_absent"] = _GRADIENT_FIELDS, _SWITCHED_OFF
        elif not self._several_units:
            absent, attributes["noise_absent"] = _NOISE_FIELDS, _ONE_UNIT
        absent = (*absent, *(() if self.scaled else _SCALE_FIELDS))
        present = {name: value for name, value in values.items() if name not in absent}
        if "data_size" in present:
            present["epoch"] = np.asarray(present["samples"]) / present["data_size"]
        return xr.Dataset.from_dict(pack(present, attributes))

    def _try_to_write(self) -> None:
        try:
            self.store.write(self.dataset(self.waiting))
        except (OSError, RuntimeError) as error:  # netCDF reports a full disk as either
            self._warn(error)
        else:
            self.waiting = []

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            warnings.warn(
                f"recording {self.store.folder}: could not write ({error}); "
                "records are kept in memory and tried again at every flush",
                RuntimeWarning,
                stacklevel=2,
            )
        self._warned = True


def _several_units(records: Sequence[Record]) -> bool | None:
    """Whether updates have several units; None while no update has been seen."""
    units = [float(record["units"]) for record in records if np.isfinite(record["units"])]
    return max(units) > 1 if units else None
