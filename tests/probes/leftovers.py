"""Processes that a test started and that are still there after it failed."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

# In the environment of every process that tests start: the number of the process that runs them.
MARK = "ULTRASLOW_TESTS"
_HELPERS = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")


def end_processes(test="", *, seconds=3.0):
    """End the living processes of a test, wherever in the tree they are; they write their stacks.

    Arguments:
        test: its name; empty for the one that runs.
        seconds: until those that did not end are killed.
    """
    test = test or os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    for number in processes_of(test):
        with suppress(OSError):
            os.kill(number, signal.SIGABRT)
    patience = time.monotonic() + seconds
    while processes_of(test) and time.monotonic() < patience:
        time.sleep(0.05)
    for number in processes_of(test):
        with suppress(OSError):
            os.kill(number, signal.SIGKILL)


def processes_of(test):
    """Numbers of the living processes that a test started, directly or not."""
    mine = f"{MARK}={os.getpid()}".encode()
    current = f"PYTEST_CURRENT_TEST={test} (".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            variables = (folder / "environ").read_bytes().split(b"\0")
            helps = any(name in (folder / "cmdline").read_bytes() for name in _HELPERS)
            if mine in variables and not helps and any(v.startswith(current) for v in variables):
                found.append(int(folder.name))
    return [number for number in found if number != os.getpid()]
