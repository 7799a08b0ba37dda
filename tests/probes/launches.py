"""Trainings by several processes that a test starts."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from leftovers import end_processes

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"


def torchrun(script, *arguments, processes=2, timeout=150):
    """Run a script under torchrun and return what it printed; its stacks come where it hangs."""
    command = [sys.executable, "-m", "ultraslow.probes.distributed.children", "--standalone"]
    path = os.pathsep.join(map(str, (SOURCE, HERE, Path(script).parent)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [*command, f"--nproc-per-node={processes}", str(script), *map(str, arguments)],
            env=environment,
            stdin=subprocess.PIPE,  # its end tells that whoever runs the tests has ended
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            said = _said(process, timeout)
        except BaseException:
            end_processes()
            print(_tail(errors), file=sys.stderr)
            raise
        assert process.returncode == 0, _tail(errors)
    return said


def _said(process, timeout):
    """What a process prints until it ends; its standard input is open until then."""
    with process.stdin, process.stdout:
        process.stdin = None  # else it is closed at once
        return process.communicate(timeout=timeout)[0]


def _tail(file):
    file.seek(0)
    return file.read()[-8000:]
