"""Train a toy with its recording at a URL; until killed where no number of updates is given."""

import sys
import time

import torch

import ultraslow as us


def train(url, updates, **more):
    """A recorder after some updates."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    told = {"batch_size": 8, "flush_seconds": 0.0, "quiet": True, **more}
    recorder = us.attach(model, optimizer, url, **told)
    for _ in range(updates):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    return recorder


if __name__ == "__main__":
    train(sys.argv[1], 60, schedule=range(1000))
    print("trained", flush=True)
    time.sleep(600)
