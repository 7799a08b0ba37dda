"""A curriculum: batches grow while the network trains, as more microbatches are accumulated."""

import torch
from torch import nn

import ultraslow as us  # ultraslow

torch.manual_seed(7)
updates, micro = 12, 8
model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)

recorder = us.attach(model, optimizer, "runs/curriculum", batch_size=7 * micro)  # ultraslow
for update in range(updates):
    parts = 2 + update // 2
    for _ in range(parts):
        inputs = torch.randn(micro, 10)
        recorder.unit(size=micro, weight=1 / parts)  # ultraslow
        loss = (model(inputs) - inputs.flip(1)).square().mean()
        (loss / parts).backward()
    optimizer.step()
    optimizer.zero_grad()
recorder.close()  # ultraslow
