"""A training that ends without closing its recording.

python exit_run.py FOLDER clean|short|exception|parted|killed [RANK]

Of two processes each is told its rank; `parted` destroys the process group at the end, and with
`killed` rank 1 is, after ten updates.
"""

import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from ultraslow import probes

if __name__ == "__main__":
    folder, end = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    if len(sys.argv) > 3:
        meeting = f"file://{folder}/meeting"
        dist.init_process_group("gloo", init_method=meeting, rank=int(sys.argv[3]), world_size=2)
        model = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    recorder = probes.attach(
        model, optimizer, folder / "run", batch_size=8, schedule=range(10**6), flush_seconds=1e9
    )
    for made in range(2 if end == "short" else 20):  # of two nothing is flushed
        if end == "killed" and made == 10 and sys.argv[3] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        optimizer.zero_grad()
        model(torch.randn(4, 4)).square().mean().backward()
        optimizer.step()
    if end == "exception":
        raise ValueError("of the program's own")
    if end == "parted":
        del model
        dist.destroy_process_group()
