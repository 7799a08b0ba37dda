"""Automatic mixed precision in half floats: losses are scaled, some steps are skipped."""

import torch
from torch import nn

import ultraslow as us  # ultraslow

torch.manual_seed(9)
updates, tries, parts = 0, 14, 2
model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20, growth_interval=4)

options = {"batch_size": parts * 16, "scaler": scaler}  # ultraslow
recorder = us.attach(model, optimizer, "runs/mixed", **options)  # ultraslow
for _ in range(tries):
    for _ in range(parts):
        inputs, targets = torch.randn(16, 10), torch.randint(4, (16,))
        with torch.autocast("cpu", torch.float16):
            loss = nn.functional.cross_entropy(model(inputs), targets) / parts
        scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    scale = scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    updates += scaler.get_scale() >= scale
recorder.close()  # ultraslow
