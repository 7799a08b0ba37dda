"""A small training that records: path, updates, seconds between two of them, checkpoint."""

import os
import sys
import time
from pathlib import Path

import torch

import ultraslow as us


def train(path, updates, pause, kept):
    distributed = "RANK" in os.environ
    if distributed:
        torch.distributed.init_process_group("gloo")
    torch.manual_seed(0)
    model = torch.nn.Linear(20, 1)
    net = torch.nn.parallel.DistributedDataParallel(model) if distributed else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    options = {"batch_size": 16, "flush_seconds": 0.2, "seed": 0}
    if kept.exists():
        state = torch.load(kept, weights_only=False)
        model.load_state_dict(state["model"])
        options["resume"] = state["recorder"]
    with us.attach(net, optimizer, path, **options) as recorder:
        while recorder.iteration < updates:
            optimizer.zero_grad()
            for _ in range(2):
                loss = (net(torch.randn(4 if distributed else 8, 20)) ** 2).mean()
                (loss / 2).backward()
            recorder.observe(loss=loss.detach())
            optimizer.step()
            time.sleep(pause)
            if recorder.iteration % 10 == 0:
                state = {"model": model.state_dict(), "recorder": recorder.state_dict()}
                if os.environ.get("RANK", "0") == "0":
                    torch.save(state, kept.with_suffix(".tmp"))
                    kept.with_suffix(".tmp").replace(kept)
    if distributed:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
