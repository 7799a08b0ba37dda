"""Real processes under torchrun: they end with their starter, and none is waited for for ever."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ultraslow.probes.distributed.children import SilenceError, lines, torchrun

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

# Tells its number and then hangs; one that is stubborn does not end when it is told to.
HANGS = """
import os, signal, sys, time
from ultraslow.probes.distributed.children import end_with_torchrun
def hang_here():
    time.sleep(1000)
if sys.argv[1] == "stubborn":
    signal.signal(signal.SIGTERM, lambda *_: None)
end_with_torchrun()
print(os.getpid(), flush=True)
hang_here()
"""

# A shell in the background, or nohup, has these ignored by whatever it starts.
STARTER = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from ultraslow.probes.distributed.children import lines, torchrun
with torchrun(sys.argv[1:], environment=os.environ) as process:
    for line in lines(process):
        print(line, end="", flush=True)
"""


def arguments(folder, kind):
    script = folder / "hangs.py"
    script.write_text(HANGS)
    return ["--nproc-per-node=1", str(script), kind]


def is_gone(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def gone_within(number, seconds):
    patience = time.monotonic() + seconds
    while not is_gone(number) and time.monotonic() < patience:
        time.sleep(0.05)
    return is_gone(number)


def test_silence_is_an_error_that_tells_where_the_processes_hang(tmp_path):
    with (
        (tmp_path / "errors").open("w") as errors,
        pytest.raises(SilenceError, match=r"said nothing for 1 s, .* the stacks"),
        torchrun(
            arguments(tmp_path, "obedient"), environment=ENVIRONMENT, stderr=errors
        ) as process,
    ):
        number = int(next(lines(process, silence=100.0)))
        list(lines(process, silence=1.0))
    assert is_gone(number)
    assert "hang_here" in (tmp_path / "errors").read_text()


@pytest.mark.parametrize("way", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"])
def test_processes_end_with_their_starter(tmp_path, way):
    command = [sys.executable, "-c", STARTER, *arguments(tmp_path, "obedient")]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as starter:
        number = int(starter.stdout.readline())
        starter.send_signal(getattr(signal, way))
        assert gone_within(number, 30)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["starter", "torchrun"])
def test_who_does_not_end_is_killed_after_a_while(tmp_path, victim):
    command = [sys.executable, "-c", STARTER, *arguments(tmp_path, "stubborn")]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as starter:
        number = int(starter.stdout.readline())
        parent = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(starter.pid if victim == "starter" else parent, signal.SIGKILL)
        time.sleep(5)
        assert not is_gone(number)
        assert gone_within(number, 60)
        assert gone_within(parent, 10)
