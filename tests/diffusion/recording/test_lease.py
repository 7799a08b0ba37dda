import errno
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from ultraslow.diffusion.recording import lease as lease_module
from ultraslow.diffusion.recording.lease import (
    NAME,
    Lease,
    Owner,
    TakenOver,
    _started,
    lost_in_words,
    owner_of,
    state_of,
    this_process,
    unwritten,
    written,
)


def test_an_owner_comes_back_from_its_lease_and_lives():
    owner = this_process("token")
    assert owner_of(json.dumps(asdict(owner))) == owner
    assert owner.here
    assert owner.lives


@pytest.mark.parametrize(
    "change", [{"started": "1"}, {"pid": 0}, {"machine": "another"}, {"machine": "", "host": ""}]
)
def test_another_process_is_not_taken_for_it(change):
    assert not replace(this_process("token"), **change).lives


def test_a_process_that_has_ended_is_dead():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not replace(this_process("token"), pid=child.pid).lives


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[1]", "[" * 4000, '{"pid": -4}', '{"pid": "x"}', '{"pid": 1e400, "host": 3}'],
)
def test_a_broken_lease_names_nobody(text):
    assert owner_of(text) == Owner()


def test_states(tmp_path):
    def state(**changes):
        owner = {**asdict(this_process("token")), **changes}
        (tmp_path / NAME).write_text(json.dumps(owner))
        return state_of(tmp_path)

    assert state_of(tmp_path) == "left"
    assert state() == "live"
    assert state(started="1") == "killed"
    assert state(host="gpu7", machine="another") == "live on gpu7?"
    assert state(host="x" * 5000, machine="another") == "killed"  # cut off: nobody's
    assert state(host="a\x1b[31mb\n", machine="another") == r"live on a\x1b[31mb\n?"
    (tmp_path / NAME).write_text("")
    assert state_of(tmp_path) == "killed"


def test_a_lease_that_is_no_file_holds_nobody_up(tmp_path):
    os.mkfifo(tmp_path / NAME)  # reading it would wait for ever
    assert written(tmp_path / NAME) is None
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).symlink_to("/dev/zero")
    assert written(tmp_path / NAME) is None
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).write_text("x" * 10**6)
    assert len(written(tmp_path / NAME)) == 4096


def owned(folder, **changes):
    """A lease that somebody else holds."""
    first = Lease(folder)
    first.acquire()
    first.path.write_text(json.dumps({**json.loads(first.path.read_text()), **changes}))
    return first


def test_a_living_owner_keeps_it_and_gives_it_back(tmp_path):
    first, second = Lease(tmp_path), Lease(tmp_path)
    first.acquire()
    for take_over in (False, True):
        with pytest.raises(FileExistsError, match="this process records at .* already; close"):
            second.acquire(take_over=take_over)
    second.release()  # has nothing to give back
    first.check()
    first.release()
    second.acquire()
    second.check()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_another_living_process_keeps_it(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        started = _started(child.pid)
        owned(tmp_path, pid=child.pid, started=started)
        for options in ({}, {"take_over": True}, {"replace": True}):
            with pytest.raises(FileExistsError, match=f"process {child.pid} on .* records at"):
                Lease(tmp_path).acquire(**options)
    finally:
        child.communicate(b"\n")


def test_the_own_lease_is_replaced_where_that_is_asked_for(tmp_path):
    first, second = Lease(tmp_path), Lease(tmp_path)
    first.acquire()
    assert second.is_of_this_process()
    second.acquire(replace=True)
    with pytest.raises(TakenOver):
        first.check()
    second.check()


def test_a_fork_neither_holds_nor_gives_back(tmp_path):
    lease = Lease(tmp_path)
    lease.acquire()
    child = os.fork()
    if child == 0:
        try:
            with pytest.raises(
                TakenOver, match=f"process {os.getppid()}, of which this is a fork"
            ):
                lease.check()
            lease.release()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    lease.check()


def test_a_disk_that_refuses_leaves_no_lease(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(lease_module, "asdict", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            Lease(tmp_path).acquire()
    assert list(tmp_path.iterdir()) == []


def test_one_that_took_over_before_the_lease_was_written_keeps_it(tmp_path, monkeypatch):
    """It found an empty file, which may be that of a process that crashed."""
    second = Lease(tmp_path)

    def slow(owner, real=asdict):
        monkeypatch.undo()
        second.acquire()
        return real(owner)

    monkeypatch.setattr(lease_module, "asdict", slow)
    with pytest.raises(FileExistsError, match="another process began to record at .* same time"):
        Lease(tmp_path).acquire()
    second.check()


def test_a_dead_owner_loses_it(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    owned(tmp_path, pid=child.pid)
    Lease(tmp_path).acquire()


def test_another_process_of_the_same_number_is_not_the_owner(tmp_path):
    owned(tmp_path, started="1")
    Lease(tmp_path).acquire()


def test_an_owner_elsewhere_loses_it_to_a_resumed_run_and_notices(tmp_path):
    first = owned(tmp_path, host="elsewhere", machine="another")
    with pytest.raises(FileExistsError, match="on elsewhere records .* If it is dead, resume, or"):
        Lease(tmp_path).acquire()
    second = Lease(tmp_path)
    second.acquire(take_over=True)
    with pytest.raises(TakenOver, match="another process records here"):
        first.check()
    first.release()  # not its own any more
    second.check()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"pid": -4}', '{"pid": "x", "host": 3}'])
def test_a_broken_lease_of_this_machine_holds_nobody_up(tmp_path, text):
    lease = Lease(tmp_path)
    lease.path.write_text(text)
    lease.acquire(take_over=True)
    lease.check()


def test_a_vanished_folder_is_no_foreign_lease(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    lease = Lease(folder)
    lease.acquire()
    folder.rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError):
        lease.check()


def test_of_two_that_find_a_stale_lease_one_gets_it(tmp_path):
    """Many at once, as processes; each tells whether it got the lease and waits."""
    owned(tmp_path, started="1")
    script = (
        "import sys, pathlib; from ultraslow.diffusion.recording.lease import Lease\n"
        "sys.stdin.readline()\n"
        "try: Lease(pathlib.Path(sys.argv[1])).acquire(); print('got', flush=True)\n"
        "except FileExistsError: print('refused', flush=True)\n"
        "sys.stdin.readline()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", script, str(tmp_path)]
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.stdout.readline().strip() for process in processes]
    for process in processes:
        process.communicate("\n")
    assert sorted(answers) == ["got", "refused", "refused", "refused"]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (60.0, "up to 257 updates of its last 60 s or so are lost"),
        (0.5, "up to 257 updates of its last 0.5 s or so are lost"),
        (1e9, "up to 257 updates are lost"),  # as many wait at most, however long that takes
        (0.0, "up to 257 updates are lost"),
        (float("nan"), "up to 257 updates are lost"),
        (10**400, "up to 257 updates are lost"),
        ("soon", "up to 257 updates are lost"),
    ],
)
def test_what_a_killed_process_had_not_written_is_told(tmp_path, seconds, told):
    owner = {**asdict(this_process("token", 60.0)), "flush_seconds": seconds}
    (tmp_path / NAME).write_text(json.dumps(owner))
    assert unwritten(tmp_path) == ""  # it lives
    (tmp_path / NAME).write_text(json.dumps({**owner, "started": "1"}))
    assert unwritten(tmp_path) == told


@pytest.mark.parametrize(
    ("lag", "each", "most"),
    [(0.01, 0.1, 2), (1.0, 0.1, 11), (60.0, 0.001, 257), (60.0, 0.0, 257), (0.0, 0.1, 257)],
)
def test_no_more_updates_are_lost_than_fit_into_the_time(lag, each, most):
    assert lost_in_words(lag, each).startswith(f"up to {most} updates")


def test_a_lease_tells_how_far_the_disk_lies_behind(tmp_path):
    lease = Lease(tmp_path)
    lease.flush_seconds = 30.0
    lease.acquire()
    assert owner_of(written(tmp_path / NAME)).flush_seconds == 30.0
    lease.release()
    assert unwritten(tmp_path) == ""  # given back, so that nothing was cut off
