"""One of two processes that train without end; prints every iteration it has done.

python sigterm_run.py FOLDER RANK
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from ultraslow import probes

if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    recorder = probes.attach(
        model,
        optimizer,
        folder / "run",
        batch_size=8,
        schedule=range(10**6),
        flush_seconds=1e9,
    )
    iteration = 0
    while True:
        loss = model(torch.randn(4, 4)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        recorder.observe(loss=loss)
        iteration += 1
        print(iteration, flush=True)
