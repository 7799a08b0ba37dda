"""Records as the bytes of a NetCDF-4 file, and back.

HDF5 builds and takes a file apart in memory. So a disk is only ever asked to read or to write
bytes, in one piece: no lock, no seek, no half-made file, and what is checked is what is read.
HDF5 on a disk would lock the file, which some network file systems refuse. The price: the library
does not add to a file that was made in memory; to change one, write it anew.
"""

import netCDF4
import xarray as xr

from diffusion.claims import value_faults
from diffusion.errors import damage
from diffusion.recording import RecordError, check
from diffusion.seal import checksum, seal

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NAME = "recording"  # of a file that is nowhere
# Variables along these are compressed: sketches to a half, landscape scans, which most records
# lack, to a fiftieth. The others would gain a tenth and be read a third slower.
_COMPRESSED = {"component", "direction"}
_COMPRESSED_FROM = 2**16  # bytes; segments of a few records are not worth it
# Bytes of like place side by side, so that exponents and unused digits meet; levels above 4 gain
# 1 % and take three times as long.
_COMPRESSION = {"zlib": True, "complevel": 4, "shuffle": True}


def to_bytes(records: xr.Dataset) -> bytes:
    """A sealed NetCDF-4 file, its large variables compressed without loss."""
    file = netCDF4.Dataset(_NAME, "w", memory=1)
    try:
        _encoded(records).dump_to_store(xr.backends.NetCDF4DataStore(file))
    finally:
        image = bytes(file.close())
    content = _without_padding(image)
    return content + seal(content)


def from_bytes(content: bytes, source: str) -> xr.Dataset:
    """The records of a file, checked.

    Arguments:
        content: all its bytes.
        source: its name, for messages.

    Raises:
        RecordError: when it is damaged or no recording.
    """
    if not content:
        raise RecordError(source, ["has zero bytes"])
    if checksum(content) is None:
        raise RecordError(source, ["is damaged: its bytes do not fit its checksum"])
    with damage(source, "cannot be read"), netCDF4.Dataset(_NAME, "r", memory=content) as header:
        if faults := value_faults(header.variables):
            raise RecordError(source, faults)
        store = xr.backends.NetCDF4DataStore(header)
        records = xr.open_dataset(store, decode_times=False).load()
    check(records, source)
    return records


def _encoded(records: xr.Dataset) -> xr.Dataset:
    """The records, and how each variable is to be stored, whatever file it came from."""
    encoded = records.drop_encoding()
    for variable in encoded.variables.values():
        if _COMPRESSED & set(variable.dims) and variable.nbytes >= _COMPRESSED_FROM:
            variable.encoding = dict(_COMPRESSION)
    return encoded


def _without_padding(content: bytes) -> bytes:
    """HDF5 grows a file in memory by 64 KiB; where it ends stands in the superblock (2 or 3)."""
    if content.startswith(_SIGNATURE) and content[8] in (2, 3) and content[9] == 8:
        return content[: int.from_bytes(content[28:36], "little")]
    return content
