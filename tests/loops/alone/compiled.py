"""A step that is compiled, from the forward pass to the optimizer."""

import torch
from torch import nn

import ultraslow as us  # ultraslow

torch.manual_seed(6)
updates, parts = 10, 2
model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 5))
optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.01), momentum=0.9)


@torch.compile(backend="aot_eager")
def losses(inputs, targets):
    return nn.functional.cross_entropy(model(inputs), targets) / parts


@torch.compile(backend="aot_eager")
def step():
    optimizer.step()


recorder = us.attach(model, optimizer, "runs/compiled", batch_size=parts * 16)  # ultraslow
for _ in range(updates):
    for _ in range(parts):
        inputs, targets = torch.randn(16, 12), torch.randint(5, (16,))
        losses(inputs, targets).backward()
    step()
    optimizer.zero_grad()
recorder.close()  # ultraslow
