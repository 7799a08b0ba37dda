"""Recordings in object stores, named by URLs as `s3://bucket/runs`, through fsspec.

A store holds whole objects: one is there or not, and is replaced at once. It knows no folders, no
renaming and nobody who writes alone. Closed recordings and segments lie there under the names that
they have on a disk, so a prefix reads like a folder. `file://` is the disk itself.

fsspec, and the library of a store, are imported when a URL is given.
"""

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .errors import brief, escaped
from .joining import reached
from .netcdf import SUFFIX, size_fault

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CUT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]")  # what pathlib makes of one
_SEGMENT = re.compile(r"segment-\d{12,18}\.nc")
_OWN = re.compile(
    r"\.nc|/segment-\d{12,18}\.nc|/reached-\d{12,18}|/initial-\d{5}-of-\d{5}\.safetensors"
)
_LOCAL = ("file://", "local://")
# What is installed for the stores that most people have.
_EXTRAS = {
    "s3": "ultraslow[stores]",
    "s3a": "ultraslow[stores]",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
}
_S3 = ("s3", "s3a")
# Seconds that a request waits for a store of S3 that says nothing: without a limit minutes pass.
VARIABLE = "ULTRASLOW_STORE_TIMEOUT"
_TIMEOUT = 30.0
# Attempts of a request: so many by s3fs, and in each so many by botocore.
_ATTEMPTS = 2, 2


class StoreError(OSError):
    """A store that cannot be used: which, why, and what helps."""


def is_url(path: object) -> bool:
    """Whether a path names something in a store, as `s3://bucket/run.nc`; `file://` does not.

    >>> is_url("s3://bucket/run.nc"), is_url("file:///data/run.nc"), is_url("runs/run.nc")
    (True, False, False)
    """
    text = str(path)
    return bool(_URL.match(text)) and not text.startswith(_LOCAL)


def is_cut(path: object) -> bool:
    """Whether pathlib has made a path of a URL, as `s3:/bucket/run.nc` is.

    >>> is_cut("s3:/bucket/run.nc"), is_cut("s3://bucket/run.nc"), is_cut("C:/run.nc")
    (True, False, False)
    """
    return bool(_CUT.match(str(path)))


def local_path(path: str | os.PathLike[str]) -> str:
    """A path on a disk, without `file://`.

    Raises:
        StoreError: for a URL, where a file or folder on a disk is needed.

    >>> local_path("file:///data/run.nc")
    '/data/run.nc'
    """
    text = os.fspath(path)
    for start in _LOCAL:
        if text.startswith(start):
            return text.removeprefix(start)
    if is_url(text):
        raise StoreError(
            f"{escaped(text)}: found a URL, expected a path on a disk: bring the recording there, "
            "and back with `us.upload(path, url)`"
        )
    if is_cut(text):
        raise StoreError(
            f"{escaped(text)}: found a URL that pathlib has cut, expected it as a text with ://"
        )
    return text


def store_of(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
        StoreError: where its library is not installed, or it cannot be named like this.
    """
    scheme = url.partition("://")[0]
    refuse_hostile(url)
    try:
        import fsspec

        if scheme not in _S3:
            return fsspec.core.url_to_fs(url, use_listings_cache=False)
        files, path = fsspec.core.url_to_fs(url, use_listings_cache=False, **_patience())
        files.retries = _ATTEMPTS[0]
        return files, path
    except StoreError:
        raise
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        advice = f"pip install '{extra}'" if extra else brief(error)
        raise StoreError(
            f"{url}: the library of {scheme}:// is not installed; {advice}"
        ) from error
    except Exception as error:
        raise explained(error, url) from error


def store_timeout() -> float:
    """Seconds that a request waits for a store of S3 that says nothing.

    Raises:
        StoreError: when `ULTRASLOW_STORE_TIMEOUT` is no number of seconds.
    """
    said = os.environ.get(VARIABLE, "").strip()
    try:
        seconds = float(said or _TIMEOUT)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds <= 86_400:
        raise StoreError(
            f"{VARIABLE}: found {escaped(said)}, expected seconds between 1 and 86400"
        )
    return seconds


def _patience() -> dict[str, Any]:
    """How long the library of S3 waits: all attempts of a request together, `store_timeout`."""
    by_fsspec, by_botocore = _ATTEMPTS
    each = store_timeout() / (by_fsspec * by_botocore)
    retries = {"total_max_attempts": by_botocore}
    return {"config_kwargs": {"connect_timeout": each, "read_timeout": each, "retries": retries}}


def refuse_hostile(url: str) -> None:
    """Refuse a URL with parts that lead elsewhere, or that nobody types.

    Raises:
        StoreError: with what was found.
    """
    parts = url.partition("://")[2].split("/")
    if {".", ".."} & set(parts) or escaped(url) != url or "\\" in url or "::" in url:
        raise StoreError(
            f"{escaped(url)}: found a URL with ., .., ::, a backslash or control characters, "
            "expected SCHEME://BUCKET/NAME"
        )


def explained(error: Exception, url: str) -> StoreError:
    """What a store's library raised, in words, with what helps."""
    if isinstance(error, StoreError):
        return error
    told, kind = brief(error), type(error).__name__
    if "Credential" in kind or "credential" in told.lower():
        why = (
            f"no credentials were found ({told}): give them as the store's library takes them, "
            "for S3 in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile"
        )
    elif "NoSuchBucket" in kind or "bucket does not exist" in told.lower():
        why = f"there is no such bucket ({told}): make it, or correct its name"
    elif isinstance(error, PermissionError):
        why = f"access was refused ({told}): the credentials lack rights to it"
    elif isinstance(error, FileNotFoundError):
        why = f"nothing was found there ({told})"
    elif isinstance(error, TimeoutError) or "timeout" in (kind + told).lower():
        why = f"the store did not answer in time ({told}): see whether it can be reached"
        if url.partition("://")[0] in _S3:
            why += f"; {VARIABLE} says how many seconds to wait ({store_timeout():g})"
    else:
        why = f"the store refused ({kind}: {told})"
    return StoreError(f"{escaped(url)}: {why}")


@dataclass(frozen=True)
class RemoteRecording:
    """A recording in a store.

    Attributes:
        url: of its closed file, or of what would be its live folder.
        files: URLs of the closed file, or of the segments in their order.
        live: whether it has segments.
        written: when the last of them was, in UTC to the second; empty where nobody says.
        reach: the last iteration that segments held, some of which may be missing; −1 if unknown.
    """

    url: str
    files: tuple[str, ...]
    live: bool = False
    written: str = ""
    reach: int = -1

    def __str__(self) -> str:
        return self.url


def recordings_in(url: str) -> list[RemoteRecording]:
    """Recordings at a URL: one, those below it at any depth, or those that a pattern matches.

    Arguments:
        url: of a file, with or without `.nc`; of a prefix; or a glob.

    Raises:
        StoreError: when the store cannot be asked.
    """
    files, path = store_of(url)
    try:
        roots = files.glob(path) if any(sign in path for sign in "*?[") else [path]
        found: dict[str, dict[str, Any]] = {}
        for root in roots:
            found |= files.find(root, detail=True)
            if not root.endswith(SUFFIX) and files.isfile(root + SUFFIX):
                found |= files.find(root + SUFFIX, detail=True)
    except Exception as error:
        raise explained(error, url) from error
    scheme = url.partition("://")[0]
    return _grouped(found, lambda name: f"{scheme}://{files._strip_protocol(name).lstrip('/')}")


def _grouped(found: dict[str, dict[str, Any]], name_of: Any) -> list[RemoteRecording]:
    """Closed files, and segments that lie together and have no closed file beside them."""
    names = sorted(name for name in found if name.endswith(SUFFIX))
    segments: dict[str, list[str]] = {}
    closed: list[str] = []
    told: dict[str, list[str]] = {}
    for name in found:
        folder, _, last = name.rpartition("/")
        told.setdefault(folder, []).append(last)
    for name in names:
        folder, _, last = name.rpartition("/")
        if _SEGMENT.fullmatch(last):
            segments.setdefault(folder, []).append(name)
        else:
            closed.append(name)
    whole = [RemoteRecording(name_of(name), (name_of(name),)) for name in closed]
    live = [
        RemoteRecording(
            name_of(folder),
            tuple(map(name_of, parts)),
            True,
            _written(found[parts[-1]]),
            reached(told[folder]),
        )
        for folder, parts in segments.items()
        if folder + SUFFIX not in found
    ]
    return sorted([*whole, *live], key=lambda one: one.url)


def _written(details: dict[str, Any]) -> str:
    known = details.get("LastModified") or details.get("last_modified")
    return f"{known:%Y-%m-%dT%H:%M:%S}+00:00" if isinstance(known, datetime) else ""


def read_object(url: str) -> bytes:
    """All bytes of an object that is not larger than a recording may be.

    Raises:
        StoreError: when the store does not give it.
    """
    files, path = store_of(url)
    try:
        if fault := size_fault(int(files.info(path)["size"] or 0)):
            raise StoreError(f"{url}: {fault}")
        return bytes(files.cat_file(path))
    except Exception as error:
        raise explained(error, url) from error


def objects_of(url: str) -> dict[str, int]:
    """What is in a store of a recording: its closed file, and all below its name, by size.

    Arguments:
        url: of the recording, without `.nc`.

    Returns:
        Sizes by names relative to the URL; that of the closed file is `.nc`. What no recording
        has is left out.

    Raises:
        StoreError: when the store cannot be asked.
    """
    files, path = store_of(url)
    try:
        found = dict(_sizes(files.find(path, detail=True).values(), path))
        if files.exists(path + SUFFIX):
            found[SUFFIX] = int(files.info(path + SUFFIX)["size"] or 0)
        return found
    except FileNotFoundError as error:
        if "bucket" in str(error).lower():
            raise explained(error, url) from error
        return {}
    except Exception as error:
        raise explained(error, url) from error


def _sizes(found: Iterable[dict[str, Any]], path: str) -> Iterable[tuple[str, int]]:
    for item in found:
        name = str(item["name"]).lstrip("/").removeprefix(path.lstrip("/"))
        if _OWN.fullmatch(name):
            yield name, int(item["size"] or 0)


def put_object(source: Path, url: str) -> None:
    """Copy a file into a store; the object is there whole, or as it was.

    Raises:
        StoreError: when the store refuses.
        OSError: when the file cannot be read.
    """
    files, path = store_of(url)
    try:
        files.put_file(str(source), path)
    except Exception as error:
        raise explained(error, url) from error


def get_object(url: str, target: Path) -> None:
    """Copy an object of a store to a disk, under another name until it is whole.

    Raises:
        StoreError: when the store does not give it.
    """
    files, path = store_of(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.tmp")
    try:
        files.get_file(path, str(unfinished))
        os.replace(unfinished, target)
    except Exception as error:
        unfinished.unlink(missing_ok=True)
        raise explained(error, url) from error


def remove_object(url: str) -> None:
    """Remove an object, where there is one.

    Raises:
        StoreError: when the store refuses.
    """
    files, path = store_of(url)
    try:
        files.rm_file(path)
    except FileNotFoundError:
        return
    except Exception as error:
        raise explained(error, url) from error
