"""Records on two processes, with a mirror.

torchrun --nproc-per-node 2 mirror_run.py FOLDER
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ultraslow import attach


def main(folder):
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    asked = f"tensorboard:{folder / 'events'}"
    with attach(model, optimizer, folder / "run", batch_size=8, quiet=True, mirror=asked):
        for _ in range(20):
            model(torch.randn(4, 4)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
