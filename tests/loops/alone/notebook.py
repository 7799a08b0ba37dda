"""A notebook whose cells are run again, out of order, with other settings."""

# %%
import torch
from torch import nn

import ultraslow as us  # ultraslow

# %%
torch.manual_seed(10)
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
updates = 8

# %%
where = {"path": "runs/notebook", "overwrite": True}  # ultraslow
recorder = us.attach(model, optimizer, batch_size=20, **where)  # ultraslow
for _ in range(updates):
    for _ in range(2):
        x = torch.randn(10, 6)
        (((model(x)[:, 0] - x.sum(1)) ** 2).mean() / 2).backward()
    optimizer.step()
    optimizer.zero_grad()

# %%
recorder.close()  # ultraslow
