import errno
import os

import pytest

from ultraslow.diffusion.recording import disk
from ultraslow.diffusion.recording.disk import make_folder, sync_folder, whole_file


def test_a_file_has_its_name_when_it_is_whole(tmp_path):
    target = tmp_path / "a.nc"
    target.write_bytes(b"old")
    with whole_file(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
        (temporary,) = tmp_path.glob(".a.nc.*.tmp")
    assert target.read_bytes() == b"new"
    assert not temporary.exists()


def test_a_pipe_is_not_replaced(tmp_path):
    target = tmp_path / "pipe"
    os.mkfifo(target)
    with pytest.raises(FileExistsError, match="is no regular file"), whole_file(target):
        pass
    assert target.is_fifo() and os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("where", ["within", "permit"])
def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path, where):
    target = tmp_path / "a.nc"
    target.write_bytes(b"old")
    permit = (lambda: 1 / 0) if where == "permit" else (lambda: None)
    with pytest.raises(ZeroDivisionError), whole_file(target, permit=permit) as file:
        file.write(b"new")
        _ = 1 / (where != "within")
    assert os.listdir(tmp_path) == ["a.nc"]
    assert target.read_bytes() == b"old"


def test_a_link_at_the_name_that_it_takes_meanwhile_is_not_written_through(tmp_path, monkeypatch):
    (tmp_path / "victim").write_bytes(b"mine")
    known = disk.uuid.UUID(int=7)
    monkeypatch.setattr(disk.uuid, "uuid4", lambda: known)
    (tmp_path / f".a.nc.{known.hex}.tmp").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError), whole_file(tmp_path / "a.nc") as file:
        file.write(b"new")
    assert (tmp_path / "victim").read_bytes() == b"mine"


def test_a_link_at_its_name_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "a.nc").symlink_to(tmp_path / "victim")
    with whole_file(tmp_path / "a.nc") as file:
        file.write(b"new")
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert not (tmp_path / "a.nc").is_symlink()


def test_a_folder_that_is_there_is_not_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(disk, "sync_folder", synced.append)
    make_folder(tmp_path)
    assert synced == []


@pytest.mark.parametrize(("number", "passes"), [(22, True), (95, True), (5, False)])
def test_a_file_system_that_cannot_sync_folders_is_no_fault(tmp_path, monkeypatch, number, passes):
    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    if passes:
        sync_folder(tmp_path)
    else:
        with pytest.raises(OSError, match="Input/output error"):
            sync_folder(tmp_path)


def test_what_fails_is_told_with_the_name_that_was_asked_for(tmp_path):
    target = tmp_path / "page.html"
    with pytest.raises(FileNotFoundError) as missing, whole_file(tmp_path / "no" / "page.html"):
        pass
    assert missing.value.filename == str(tmp_path / "no" / "page.html")
    with pytest.raises(OSError) as full, whole_file(target):
        raise OSError(errno.ENOSPC, "No space left on device")  # as a write says it
    assert str(target) in str(full.value) and not list(tmp_path.iterdir())
    other = str(tmp_path / "other")
    with pytest.raises(OSError) as apart, whole_file(target):
        raise OSError(errno.EIO, "Input/output error", other)
    assert apart.value.filename == other
