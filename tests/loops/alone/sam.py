"""Sharpness-aware minimization: a pass that finds the worst neighbour, one that trains there."""

import torch
from torch import nn

import ultraslow as us  # ultraslow

torch.manual_seed(1)
updates, parts, batch, radius = 12, 2, 16, 0.05
inputs = torch.randn(512, 10)
targets = (inputs[:, 0] * inputs[:, 1] > 0).long()
model = nn.Sequential(nn.Linear(10, 24), nn.Tanh(), nn.Linear(24, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def backward(chunks):
    for chunk in chunks:
        loss = nn.functional.cross_entropy(model(inputs[chunk]), targets[chunk])
        (loss / parts).backward()


recorder = us.attach(model, optimizer, "runs/sam", batch_size=parts * batch)  # ultraslow
for _ in range(updates):
    chunks = torch.randint(512, (parts, batch))
    with recorder.unmeasured():  # ultraslow
        backward(chunks)
    with torch.no_grad():
        norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        moves = [p.grad * (radius / norm) for p in model.parameters()]
        for p, move in zip(model.parameters(), moves, strict=True):
            p.add_(move)
    optimizer.zero_grad()
    backward(chunks)
    with torch.no_grad():
        for p, move in zip(model.parameters(), moves, strict=True):
            p.sub_(move)
    optimizer.step()
    optimizer.zero_grad()
recorder.close()  # ultraslow
