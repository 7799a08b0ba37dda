"""Epochs with an evaluation after each, a plateau schedule, and an end when nothing improves."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import ultraslow as us  # ultraslow


def held_out(model):
    with torch.no_grad():
        scores = torch.cat([model(x) for x, _ in validation])
    return {"loss": nn.functional.cross_entropy(scores, torch.cat([y for _, y in validation]))}


torch.manual_seed(8)
inputs = torch.randn(192, 12)
whole = TensorDataset(inputs, (inputs[:, :3].sum(1) > 0).long())
parts = random_split(whole, [128, 64])
training = DataLoader(parts[0], batch_size=16, shuffle=True)
validation = DataLoader(parts[1], batch_size=32)
model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
best, patience, updates = float("inf"), 2, 0

often = us.Evaluation(held_out, schedule=range(0, 200, 4))  # ultraslow
recorder = us.attach(model, optimizer, "runs/stop", batch_size=32, evaluation=often)  # ultraslow
for _epoch in range(12):
    model.train()
    for index, (x, y) in enumerate(training):
        loss = nn.functional.cross_entropy(model(x), y)
        (loss / 2).backward()
        recorder.observe(loss=loss)  # ultraslow
        if index % 2:
            optimizer.step()
            optimizer.zero_grad()
            updates += 1
    model.eval()
    loss = float(held_out(model)["loss"])
    schedule.step(loss)
    best, patience = (loss, 2) if loss < best - 1e-3 else (best, patience - 1)
    if patience == 0:
        break
recorder.close()  # ultraslow
