import os
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset

from ultraslow.probes.runs.training import workers
from ultraslow.probes.runs.training.workers import loaded, loader


class Numbers(Dataset):
    """Of each key itself and the number of the process that read it."""

    def __getitem__(self, key):
        return torch.tensor(key), os.getpid()


class Stuck(Dataset):
    """A file that cannot be read to its end."""

    def __getitem__(self, key):
        time.sleep(1000)


def living(numbers):
    return [number for number in numbers if Path(f"/proc/{number}").exists()]


def test_workers_are_started_once_and_end_with_their_loader():
    batches = loader(Numbers(), [[0, 1], [2, 3], [4, 5]], workers=2, pinned=False)
    rounds = [list(loaded(batches)) for _ in range(3)]
    assert all([b[0].tolist() for b in r] == [[0, 1], [2, 3], [4, 5]] for r in rounds)
    readers = [{number for b in r for number in b[1].tolist()} for r in rounds]
    assert len(set.union(*readers)) == 2
    assert os.getpid() not in readers[0]
    del batches
    patience = time.monotonic() + 20
    while living(readers[0]) and time.monotonic() < patience:
        time.sleep(0.05)
    assert living(readers[0]) == []


TRAINING = """
import sys
sys.path.insert(0, {folder!r})
from test_workers import Numbers
from ultraslow.probes.runs.training.workers import loaded, loader
if __name__ == "__main__":
    batches = loader(Numbers(), [[0], [1]] * 100, workers=2, pinned=False)
    found = loaded(batches)
    readers = {{int(next(found)[1]) for _ in range(6)}}
    from multiprocessing import forkserver
    print(*readers, forkserver._forkserver._forkserver_pid, flush=True)
    sys.stdin.read()
"""


def test_workers_and_their_server_end_when_the_training_is_killed(tmp_path):
    script = tmp_path / "training.py"
    script.write_text(TRAINING.format(folder=str(Path(__file__).parent)))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, script], **pipes) as training:
        started = [int(number) for number in training.stdout.readline().split()]
        assert len(started) == 3 and living(started) == started
        training.kill()
    patience = time.monotonic() + 60
    while living(started) and time.monotonic() < patience:
        time.sleep(0.05)
    assert living(started) == []


def test_workers_are_forked_by_a_process_of_one_thread():
    batches = loader(Numbers(), [[0]], workers=1, pinned=False)
    [(_, readers)] = list(loaded(batches))
    server = forkserver._forkserver._forkserver_pid
    fields = Path(f"/proc/{int(readers[0])}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[1]) == server  # the worker's parent
    assert len(os.listdir(f"/proc/{server}/task")) == 1


def test_images_that_do_not_come_are_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 1.0)
    batches = loader(Stuck(), [[0]], workers=1, pinned=False)
    with pytest.raises(TimeoutError, match="images: none came from 1 workers in 1 s; look"):
        next(loaded(batches))
