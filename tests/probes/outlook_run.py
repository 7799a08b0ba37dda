"""Two processes train one update; what rank 0 and rank 1 say on standard error goes to files."""

import sys
from contextlib import redirect_stderr
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ultraslow import probes


def main(folder):
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        (folder / f"said-{dist.get_rank()}").open("w") as said,
        redirect_stderr(said),
        probes.attach(model, optimizer, folder / "run", batch_size=8),
    ):
        for _ in range(12):
            model(torch.randn(4, 3)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
