"""Averages of weights that are swapped in for an evaluation, and a schedule with warm restarts."""

import copy

import torch
from torch import nn

import ultraslow as us  # ultraslow

torch.manual_seed(3)
updates, parts = 12, 2
images, labels = torch.randn(256, 1, 8, 8), torch.randint(4, (256,))
model = nn.Sequential(
    nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)
)
average = copy.deepcopy(model).requires_grad_(False)
optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, momentum=0.5)
schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 5)
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)


def swap():
    for one, other in zip(model.parameters(), average.parameters(), strict=True):
        one.data, other.data = other.data, one.data


recorder = us.attach(model, optimizer, "runs/ema", batch_size=parts * 16)  # ultraslow
for update in range(updates):
    for chunk in torch.randint(256, (parts, 16)):
        criterion(model(images[chunk]), labels[chunk]).div(parts).backward()
    optimizer.step()
    optimizer.zero_grad()
    schedule.step()
    with torch.no_grad():
        for one, other in zip(model.parameters(), average.parameters(), strict=True):
            other.lerp_(one, 0.1)
    if update % 4 == 3:
        swap()
        model.eval()
        with torch.no_grad():
            accuracy = (model(images).argmax(1) == labels).float().mean()
        model.train()
        swap()
recorder.close()  # ultraslow
