import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def torchrun(script, *arguments, processes=2, timeout=300):
    """Run a script under torchrun and return what it printed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, f"--nproc-per-node={processes}", str(script), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory):
    """Folder of what `ddp_run.py` recorded with two processes."""
    folder = tmp_path_factory.mktemp("ddp")
    torchrun(Path(__file__).with_name("ddp_run.py"), folder)
    return folder
