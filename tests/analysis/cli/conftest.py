"""Live recordings, written as a recorder writes them."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from ultraslow.diffusion.recording import closed_file, segment_file, write_file
from ultraslow.diffusion.recording.lease import this_process


class Writer:
    """Writes records of a simulated run as segments of a live folder."""

    def __init__(self, run, folder):
        self.run, self.folder = run, folder

    def lease(self, **changes):
        self.folder.mkdir(parents=True, exist_ok=True)
        owner = replace(this_process("token", 5.0), **changes)
        (self.folder / "lease.json").write_text(json.dumps(asdict(owner)))
        return self

    def put(self, start, stop):
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.run.isel(iteration=slice(start, stop))
        path = segment_file(self.folder, int(part["iteration"][0]))
        write_file(part, path)
        return path

    def close(self):
        write_file(self.run, closed_file(self.folder))
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()
        return closed_file(self.folder)


@pytest.fixture
def writer(make, tmp_path):
    """A function that begins a live recording of a simulated run."""

    def begin(name="live", **options):
        return Writer(make(run=name, **options), tmp_path / name)

    return begin


@pytest.fixture(scope="session")
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert process.pid != os.getpid()
    return process.pid
