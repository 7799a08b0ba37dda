"""Low-rank adaptation: pretrained weights stay, and small factors beside them train."""

import torch
from torch import nn

import ultraslow as us  # ultraslow


class LoRALinear(nn.Module):
    def __init__(self, base, rank=4, alpha=8):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + (x @ self.down.T @ self.up.T) * self.scale


torch.manual_seed(2)
updates, accumulate = 12, 4
model = nn.Sequential(nn.Embedding(50, 32), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 50))
model.requires_grad_(False)
for place in (1, 3):
    model[place] = LoRALinear(model[place])
trainable = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trainable, lr=1e-3)
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=6)

recorder = us.attach(model, optimizer, "runs/lora", batch_size=32)  # ultraslow
for step in range(updates * accumulate):
    tokens = torch.randint(50, (8, 6))
    scores = model(tokens[:, :-1])
    loss = nn.functional.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten())
    (loss / accumulate).backward()
    recorder.observe(loss=loss)  # ultraslow
    if (step + 1) % accumulate == 0:
        nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
recorder.close()  # ultraslow
