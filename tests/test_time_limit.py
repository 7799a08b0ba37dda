"""A test that hangs fails with its stacks, and takes the processes that it started along."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]

HANGING = """
import subprocess, sys
from pathlib import Path

CHILD = "import time\\ndef the_child_hangs():\\n    time.sleep(1000)\\nthe_child_hangs()"

def test_hangs(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", CHILD], stderr=open("child.txt", "w"))
    Path("number.txt").write_text(str(child.pid))
    child.wait()
"""


def test_a_hanging_test_fails_with_stacks_and_leaves_no_process(tmp_path):
    (tmp_path / "test_hanging.py").write_text(textwrap.dedent(HANGING))
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    command = [sys.executable, "-m", "pytest", "-q", "-o", "timeout=2", "--rootdir", "."]
    command += ["-o", f"pythonpath={ROOT / 'src'} {ROOT / 'tests' / 'probes'}", "test_hanging.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Timeout (>2.0s)" in done.stdout
    assert "child.wait()" in done.stdout
    assert "the_child_hangs" in (tmp_path / "child.txt").read_text()
    number = (tmp_path / "number.txt").read_text()
    patience = time.monotonic() + 10
    while Path(f"/proc/{number}").exists() and time.monotonic() < patience:
        time.sleep(0.05)
    assert not Path(f"/proc/{number}").exists()
    assert os.getpid() != int(number)
