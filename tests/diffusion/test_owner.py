import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from diffusion.owner import NAME, Owner, owner_of, state_of, this_process, written


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
