"""One file of a recording: its bytes are read once, and checked before any value is looked at."""

from collections.abc import Iterator
from pathlib import Path

import netCDF4
import numpy as np
import xarray as xr

from diffusion.claims import size_fault, value_faults
from diffusion.errors import brief, damage
from diffusion.recording import COORDINATES, RecordError, check
from diffusion.seal import checksum

# Attributes of values that stand for others; NaN as fill value of floats does not.
_PACKED = {"scale_factor", "add_offset", "missing_value", "_Unsigned"}
_STARTS = (b"\x89HDF", b"CDF")


def read_file(path: Path) -> tuple[xr.Dataset, str]:
    """The records of one file, checked, and the file's SHA-256 in hexadecimal digits.

    Raises:
        RecordError: when it is damaged or no recording, with every fault found.
    """
    content = _content(path)
    digest = checksum(content)
    if digest is None:
        raise RecordError(str(path), ["is damaged: its bytes do not fit its checksum"])
    with damage(str(path), _unread(content)), netCDF4.Dataset(path, "r", memory=content) as header:
        faults = list(_header_faults(header))
        if faults:
            raise RecordError(str(path), faults)
        dataset = _dataset(header)
    check(dataset, str(path))
    return dataset, digest


def _content(path: Path) -> bytes:
    """All bytes of what is a file, not empty, and not larger than a recording may be."""
    try:
        if not path.is_file():
            raise RecordError(str(path), ["is not a file"])
        if fault := size_fault(path.stat().st_size):
            raise RecordError(str(path), [fault])
        content = path.read_bytes()
    except (OSError, MemoryError) as error:
        raise RecordError(str(path), [f"cannot be read ({brief(error)})"]) from error
    if not content:
        raise RecordError(str(path), ["has zero bytes"])
    return content


def _unread(content: bytes) -> str:
    kind = "is a damaged or cut-off" if content.startswith(_STARTS) else "is not a"
    return f"{kind} NetCDF file"


def _header_faults(header: netCDF4.Dataset) -> Iterator[str]:
    if "schema" not in header.ncattrs():
        yield "attribute schema is missing: this is not a recording"
        return
    yield from value_faults(header.variables)


def _dataset(header: netCDF4.Dataset) -> xr.Dataset:
    """All values, as `xarray.open_dataset` would give them; for plain variables without its cost.

    Decoding every variable lazily takes two thirds of the time of reading a recording. Recordings
    need none, unless another program packed them.
    """
    if any(_is_packed(variable) for variable in header.variables.values()):
        store = xr.backends.NetCDF4DataStore(header)
        return xr.open_dataset(store, decode_times=False).load()
    header.set_auto_maskandscale(False)
    coordinates = set(header.variables) & (set(header.dimensions) | set(COORDINATES))
    variables = {name: _variable(variable) for name, variable in header.variables.items()}
    attributes = {name: header.getncattr(name) for name in header.ncattrs()}
    attributes.pop("coordinates", None)
    return xr.Dataset(
        {name: value for name, value in variables.items() if name not in coordinates},
        {name: value for name, value in variables.items() if name in coordinates},
        attributes,
    )


def _is_packed(variable: netCDF4.Variable) -> bool:
    """Whether values stand for others, or for texts as rows of letters, as in NetCDF-3."""
    return bool(_PACKED & set(variable.ncattrs())) or variable.dtype == "S1"


def _variable(variable: netCDF4.Variable) -> xr.Variable:
    values = np.asarray(variable[...])
    if variable.dtype is str:
        values = values.astype(str)
    attributes = {name: variable.getncattr(name) for name in variable.ncattrs()}
    for encoding in ("_FillValue", "coordinates"):
        attributes.pop(encoding, None)
    return xr.Variable(variable.dimensions, values, attributes)
