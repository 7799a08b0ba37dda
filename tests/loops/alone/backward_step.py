"""An optimizer a tensor that steps within the backward pass, so that gradients need no memory.

One pass an update, so the distance and the gradient are recorded, and no noise.
"""

import torch
from torch import nn

import ultraslow as us  # ultraslow

torch.manual_seed(5)
updates = 12
model = nn.Sequential(nn.Linear(8, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 1))
steppers = {p: torch.optim.Adam([p], lr=1e-3, foreach=False) for p in model.parameters()}


def step_and_free(parameter):
    steppers[parameter].step()
    steppers[parameter].zero_grad()


for parameter in model.parameters():
    parameter.register_post_accumulate_grad_hook(step_and_free)

clock = torch.optim.SGD(model.parameters(), lr=1e-3)  # ultraslow
recorder = us.attach(model, clock, "runs/backward", batch_size=32)  # ultraslow
for _ in range(updates):
    inputs = torch.randn(32, 8)
    loss = (model(inputs)[:, 0] - inputs.prod(1)).square().mean()
    loss.backward()
    clock.step()  # ultraslow
recorder.close()  # ultraslow
