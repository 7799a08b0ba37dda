"""Long runs, and runs that are interrupted many times."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[1] / "probes"
SOURCE = HERE.parents[1] / "src"


def said(script, *arguments, timeout):
    done = subprocess.run(
        [sys.executable, HERE / script, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.mark.timeout(1300)
def test_memory_is_flat_over_twenty_thousand_updates(tmp_path):
    """Beyond what the first tenth has taken, and the first half; 1 MiB is 105 bytes an update."""
    held = said("long_run.py", tmp_path, 20_000, 10, timeout=1200)
    assert len(held) == 10
    assert max(held) - held[0] < 4 << 20, held
    assert max(held[5:]) - held[4] < 1 << 20, held


@pytest.mark.timeout(1300)
def test_two_hundred_interrupts_leave_no_wrong_label_and_no_lock(tmp_path):
    told = said("interrupt_run.py", tmp_path, 200, 5, timeout=1200)
    assert told["caught"] == 200
    assert told["wrong"] == 0
    assert told["last"] == told["steps"]
    assert told["records"] == told["last"] + 1
