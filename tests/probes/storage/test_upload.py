"""Recordings that are copied to object stores: one of this process, and a server of S3."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import warnings
from pathlib import Path

import fsspec
import pytest
from upload_run import train

import ultraslow as us
from ultraslow.diffusion.recording import (
    RecordError,
    StoreError,
    closed_file,
    objects_of,
    read_object,
    remove_object,
)
from ultraslow.probes.storage import Upload
from ultraslow.probes.storage.upload import recorded_at

# Of the server's and the client's own.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

URL = "memory://bucket/study/run"
CLOSED_PORT = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder of the test's own, and an empty store."""
    monkeypatch.chdir(tmp_path)
    fsspec.filesystem("memory").store.clear()
    return tmp_path / "uploads/bucket/study/run"


def eventually(holds):
    """Wait for something that a thread does."""
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def uploaded(recorder):
    """Wait until all is in the store."""
    eventually(lambda: not recorder._writer.upload.missing())


def test_what_is_there_opens_while_the_run_lives_and_when_it_is_closed(here, capsys):
    recorder = train(f"{URL}.nc", 30)
    assert f"is uploaded to {URL}; the files here are kept" in capsys.readouterr().err
    uploaded(recorder)
    live = us.load("memory://bucket")["run"]
    assert (live.attrs["path"], live.attrs["state"]) == (URL, "uploaded")
    assert live["iteration"][-1] > 10
    assert "gaps" not in live.attrs
    last = max(name for name in objects_of(URL) if "segment-" in name)
    whole = read_object(URL + last)
    remove_object(URL + last)
    lost = us.load("memory://bucket")["run"]
    assert json.loads(lost.attrs["gaps"]) == [[int(lost["iteration"][-1]), None]]
    fsspec.filesystem("memory").pipe(URL + last, whole)
    recorder.close()
    assert set(objects_of(URL)) == {".nc", "/initial-00000-of-00001.safetensors"}
    assert read_object(f"{URL}.nc") == closed_file(here).read_bytes()
    closed = us.load(URL)["run"]
    assert (closed.attrs["state"], closed["iteration"].values[-1]) == ("closed", 30)


def test_a_run_goes_on_from_the_store_on_another_disk(here):
    train(URL, 20).close()
    shutil.rmtree("uploads")
    with warnings.catch_warnings(record=True):  # the toy has no checkpoint
        warnings.simplefilter("always")
        recorder = train(URL, 10, resume=True)
    uploaded(recorder)
    assert set(objects_of(URL)) >= {"/segment-000000000000.nc"} and ".nc" not in objects_of(URL)
    recorder.close()
    assert us.load(URL)["run"]["iteration"].values[-1] == 30
    assert us.load(str(here))["run"].attrs["sha256"] == us.load(URL)["run"].attrs["sha256"]


def test_nothing_in_the_store_is_replaced_unasked(here):
    train(URL, 5).close()
    before = read_object(f"{URL}.nc")
    shutil.rmtree("uploads")
    with pytest.raises(FileExistsError, match=r"found a recording at memory://bucket/study/run"):
        train(URL, 5)
    assert not list(here.parent.rglob("*.nc"))
    other = Upload(here, URL)  # as where the store was silent at the start
    with pytest.raises(StoreError, match="found a recording"):
        other.copy()
    assert read_object(f"{URL}.nc") == before
    train(URL, 7, overwrite=True).close()
    assert us.load(URL)["run"]["iteration"].values[-1] == 7


def test_a_run_that_went_on_elsewhere_is_not_overtaken(here):
    recorder = train(URL, 5)
    uploaded(recorder)
    recorder._leave()
    moved = here.parent / "moved"
    shutil.copytree(here, moved)
    fsspec.filesystem("memory").pipe_file(f"{URL}/segment-000000000900.nc", b"later")
    with pytest.raises(FileExistsError, match="went on elsewhere"):
        train(URL, 5, resume=True)


@pytest.mark.parametrize(
    ("path", "local", "said"),
    [
        ("memory://bucket", None, "with a name for the recording"),
        ("memory://bucket/../run", None, "expected SCHEME://BUCKET/NAME"),
        ("runs/run", "elsewhere", "none of a store"),
    ],
)
def test_names_that_cannot_be_meant_are_refused(path, local, said):
    with pytest.raises((ValueError, StoreError), match=said):
        recorded_at(path, local)


def test_the_folder_on_the_disk_may_be_chosen(tmp_path):
    train(URL, 3, local=tmp_path / "kept/it").close()
    assert (tmp_path / "kept/it.nc").exists() and not Path("uploads").exists()
    assert ".nc" in objects_of(URL)


@pytest.fixture
def credentials(monkeypatch):
    """Of a server on this machine, which no other is asked for."""
    s3fs = pytest.importorskip("s3fs")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    yield monkeypatch
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def server(credentials):
    """A server of S3 without buckets."""
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://127.0.0.1:{port}"
    # Servers of a process share their buckets.
    urllib.request.urlopen(f"{address}/moto-api/reset", data=b"", timeout=60).close()
    credentials.setenv("AWS_ENDPOINT_URL", address)
    yield server
    server.stop()


def test_what_a_killed_training_has_uploaded_opens(server):
    fsspec.filesystem("s3").mkdir("bucket")
    url = "s3://bucket/study/run"
    command = [sys.executable, Path(__file__).parents[1] / "upload_run.py", url]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"trained\n"
        eventually(lambda: any("segment-" in name for name in objects_of(url)))
        process.send_signal(signal.SIGKILL)
    run = us.load("s3://bucket")["run"]
    times = run["iteration"].values.tolist()
    assert times == list(range(len(times))) and run.attrs["state"] == "uploaded"
    assert run.attrs["written"]  # the store knows when
    local = us.load("uploads/bucket/study/run")["run"]
    assert local["iteration"].size >= run["iteration"].size  # the disk has all


def test_a_store_that_refuses_never_stops_the_training(server):
    """No bucket at first: told once, tried again, and all is there once it can be."""
    url = "s3://bucket/run"
    with pytest.warns(RuntimeWarning, match="no such bucket.*kept in uploads/bucket/run") as told:
        recorder = train(url, 0)
        recorder._writer.upload._retry = 0.1
        eventually(lambda: recorder._writer.upload.fault)
        for _ in range(3):
            recorder._writer.write([])
    assert len(told) == 1
    fsspec.filesystem("s3").mkdir("bucket")
    recorder.close()
    assert us.load(url)["run"].attrs["state"] == "closed"


@pytest.mark.parametrize("lacks", ["server", "credentials"])
def test_at_the_close_what_is_missing_is_said_with_the_remedy(credentials, lacks, tmp_path):
    credentials.setenv("AWS_ENDPOINT_URL", CLOSED_PORT)
    if lacks == "credentials":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            credentials.delenv(name)
        credentials.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        recorder = train("s3://bucket/run", 5)
        recorder._writer.upload._patience = 0.5
        recorder.close()
    text = str(told[-1].message)
    assert "files are not in the store" in text
    assert "us.upload('uploads/bucket/run', 's3://bucket/run')" in text
    assert ("no credentials were found" in text) == (lacks == "credentials")
    assert Path("uploads/bucket/run.nc").exists()
    us.upload("uploads/bucket/run", URL)  # to any store that can be had
    assert us.load(URL)["run"]["iteration"].values[-1] == 5


def test_a_call_replaces_an_earlier_part_of_the_same_run_and_nothing_else(tmp_path):
    recorder = train("a", 20, seed=1)
    us.upload("a", URL)
    recorder.close()
    early, late = tmp_path / "early.nc", closed_file(Path("a"))
    shutil.copy(late, early)
    us.upload("a", URL)
    us.upload("a.nc", URL)
    with warnings.catch_warnings(record=True):  # the toy has no checkpoint
        warnings.simplefilter("always")
        train("a", 10, resume=True, seed=1).close()
    us.upload("a", URL)
    assert read_object(f"{URL}.nc") == late.read_bytes()
    with pytest.raises(FileExistsError, match="run up to iteration 30, and on the disk up to 20"):
        us.upload(early, URL)
    train("b", 40, seed=2).close()
    with pytest.raises(
        FileExistsError, match=r"found a recording of another run at memory://.*nc"
    ):
        us.upload("b", URL)
    assert read_object(f"{URL}.nc") == late.read_bytes()
    us.upload("b", URL, overwrite=True)
    assert read_object(f"{URL}.nc") == closed_file(Path("b")).read_bytes()
    fsspec.filesystem("memory").pipe_file(f"{URL}.nc", b"CDF")
    with pytest.raises(FileExistsError, match="found a recording that cannot be read"):
        us.upload("b", URL)


def test_weights_of_another_model_are_not_replaced(here):
    train("a", 5).close()
    name = "/initial-00000-of-00001.safetensors"
    weights = Path(f"a{name}").read_bytes()
    fsspec.filesystem("memory").pipe_file(URL + name, weights + b" ")
    with pytest.raises(FileExistsError, match="the weights of another run"):
        us.upload("a", URL)
    fsspec.filesystem("memory").pipe_file(URL + name, weights)
    us.upload("a", URL)
    assert ".nc" in objects_of(URL)


def test_a_damaged_recording_is_not_uploaded():
    train("a", 5).close()
    whole = Path("a.nc").read_bytes()
    Path("a.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordError, match=r"nothing was uploaded; `ultraslow repair a\.nc` keeps"):
        us.upload("a.nc", URL)
    assert objects_of(URL) == {}


def test_nothing_is_imported_for_stores_without_a_url():
    code = (
        "import sys; from ultraslow.analysis.runs.load import recordings_at, load\n"
        "from ultraslow.probes.storage import SegmentStore; SegmentStore('x')\n"
        "assert 's3fs' not in sys.modules and 'botocore' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
