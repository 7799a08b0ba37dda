import subprocess
from pathlib import Path

import pytest
from launches import torchrun


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory):
    """Folder of what `ddp_run.py` recorded with two processes."""
    folder = tmp_path_factory.mktemp("ddp")
    torchrun(Path(__file__).with_name("ddp_run.py"), folder)
    return folder


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs privileges")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
