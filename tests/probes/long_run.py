"""Train for many updates and print the process's memory, in bytes, as it goes on.

python long_run.py FOLDER UPDATES LOOKS
"""

import gc
import json
import os
import sys
from pathlib import Path

import torch

from ultraslow import probes


def resident():
    """Bytes that this process holds in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    folder, count, looks = Path(sys.argv[1]), *map(int, sys.argv[2:])
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    told = []
    every = [*range(0, count + 1, 20)]  # so that records come as steadily as updates
    with probes.attach(
        model, optimizer, folder / "run", batch_size=8, schedule=every, flush_seconds=1.0
    ) as recorder:
        for number in range(1, count + 1):
            for _ in range(2):
                loss = model(torch.randn(4, 8)).square().mean()
                (loss / 2).backward()
                recorder.observe(loss=loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if number % (count // looks) == 0:
                told.append(resident())
    print(json.dumps(told))
