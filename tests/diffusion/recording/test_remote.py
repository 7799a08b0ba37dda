"""Object stores: names, and what is said where one cannot be used."""

import socket
import time
from pathlib import Path

import fsspec
import pytest

from ultraslow.diffusion.recording.remote import (
    VARIABLE,
    StoreError,
    explained,
    is_url,
    local_path,
    objects_of,
    read_object,
    recordings_in,
    store_of,
)


@pytest.fixture
def put():
    """A function that puts objects into the store of this process, which is emptied."""
    store = fsspec.filesystem("memory")
    store.store.clear()

    def put(*names):
        for name in names:
            store.pipe_file(f"/bucket/{name}", name.encode())

    yield put
    store.store.clear()


def test_recordings_are_found_as_in_folders(put):
    segments = [f"study/b/segment-{first:012d}.nc" for first in (0, 5, 12)]
    put("study/a.nc", "study/a/initial-00000-of-00001.safetensors", *segments, "study/notes.txt")
    put("study/c.nc", "study/c/segment-000000000000.nc", "other/d.nc")
    found = recordings_in("memory://bucket/study")
    assert [(one.url.rpartition("/")[2], one.live) for one in found] == [
        ("a.nc", False),
        ("b", True),
        ("c.nc", False),
    ]
    assert found[1].files == tuple(f"memory://bucket/{name}" for name in segments)
    assert [one.url for one in recordings_in("memory://bucket/study/a")] == [found[0].url]
    assert [one.url for one in recordings_in("memory://bucket/*/d.nc")] == [
        "memory://bucket/other/d.nc"
    ]
    assert recordings_in("memory://bucket/none") == []


def test_only_what_recordings_have_counts_as_theirs(put):
    put("run.nc", "run/segment-000000000000.nc", "run/notes.txt", "run/../x.nc", "runner.nc")
    assert objects_of("memory://bucket/run") == {".nc": 6, "/segment-000000000000.nc": 27}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gs://bucket/run", "the library of gs:// is not installed; pip install 'gcsfs'"),
        ("foo://bucket/run", "Protocol not known: foo"),
        ("s3://bucket/../run", "expected SCHEME://BUCKET/NAME"),
        ("s3://bucket/a\x1b[31m", r"expected SCHEME://BUCKET/NAME"),
        ("simplecache::s3://bucket/run", "expected SCHEME://BUCKET/NAME"),
    ],
)
def test_what_cannot_be_used_is_told(url, said):
    with pytest.raises(StoreError) as caught:
        store_of(url)
    assert said in str(caught.value) and "\x1b" not in str(caught.value)


def test_files_are_paths_and_urls_are_none(tmp_path):
    assert local_path(f"file://{tmp_path}/run") == f"{tmp_path}/run"
    assert not is_url(f"file://{tmp_path}") and not is_url("C:\\runs") and is_url("s3://b/r")
    with pytest.raises(StoreError, match="pathlib has cut"):
        local_path(Path("s3://bucket/run.nc"))
    with pytest.raises(StoreError, match="expected a path on a disk"):
        local_path("s3://bucket/run.nc")


class NoCredentialsError(Exception):
    """By the name of botocore's."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NoCredentialsError("Unable to locate credentials"), "no credentials were found"),
        (FileNotFoundError("The specified bucket does not exist"), "there is no such bucket"),
        (PermissionError("Forbidden"), "access was refused"),
        (TimeoutError("timed out"), "did not answer in time"),
        (RuntimeError("odd\nthing"), r"the store refused \(RuntimeError: odd thing\)"),
    ],
)
def test_errors_of_libraries_are_told_with_what_helps(error, said):
    with pytest.raises(StoreError, match=said):
        raise explained(error, "s3://bucket/run")


@pytest.fixture
def silent(monkeypatch):
    """A store of S3 that takes connections and never answers."""
    s3fs = pytest.importorskip("s3fs")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        yield
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("ask", [recordings_in, objects_of, read_object])
def test_a_store_that_never_answers_is_told_in_time(silent, monkeypatch, ask):
    monkeypatch.setenv(VARIABLE, "2")
    store_of("s3://bucket/run")  # imports
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"did not answer in time.*; ULTRASLOW_STORE_TIMEOUT .*2"):
        ask("s3://bucket/run.nc")
    assert 2 <= time.monotonic() - began < 20


@pytest.mark.parametrize("said", ["soon", "0", "-5", "nan", "1e9"])
def test_how_long_to_wait_is_a_number_of_seconds(monkeypatch, said):
    pytest.importorskip("s3fs")
    monkeypatch.setenv(VARIABLE, said)
    expected = f"{VARIABLE}: found {said}, expected seconds between 1 and 86400"
    with pytest.raises(StoreError, match=expected):
        store_of("s3://bucket/run")
