import json
import os
import subprocess
import sys

import pytest

from probes.lease import Lease, TakenOver


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
        with pytest.raises(FileExistsError, match=f"process {os.getpid()} on .* records at"):
            second.acquire(take_over=take_over)
    second.release()  # has nothing to give back
    first.check()
    first.release()
    second.acquire()
    second.check()
    second.release()
    assert list(tmp_path.iterdir()) == []


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
        "import sys, pathlib; from probes.lease import Lease\n"
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
