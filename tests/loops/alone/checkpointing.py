"""Gradient checkpointing: activations are computed a second time in the backward pass."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import ultraslow as us  # ultraslow

REENTRANT = False


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(0.1)
        self.inner = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width))

    def forward(self, x):
        return x + self.drop(self.inner(self.norm(x)))


class Network(nn.Module):
    def __init__(self, width=16, depth=3):
        super().__init__()
        self.stem, self.head = nn.Linear(6, width), nn.Linear(width, 3)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=REENTRANT)
        return self.head(x)


torch.manual_seed(4)
updates, parts = 10, 2
model = Network()
optimizer = torch.optim.NAdam(model.parameters(), lr=1e-3)

recorder = us.attach(model, optimizer, "runs/checkpointing", batch_size=parts * 12)  # ultraslow
for _ in range(updates):
    for _ in range(parts):
        inputs = torch.randn(12, 6)
        loss = nn.functional.cross_entropy(model(inputs), inputs.argmax(1) % 3)
        (loss / parts).backward()
    optimizer.step()
    optimizer.zero_grad()
recorder.close()  # ultraslow
