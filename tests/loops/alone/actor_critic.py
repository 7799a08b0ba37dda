"""Two critics that learn at every step, and an actor that learns twice at every other one."""

import torch
from torch import nn

import ultraslow as us  # ultraslow


def critic():
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))


torch.manual_seed(0)
batch, updates = 16, 20
model = nn.ModuleDict({"actor": nn.Linear(4, 1), "first": critic(), "second": critic()})
critics = [*model["first"].parameters(), *model["second"].parameters()]
to_judge = torch.optim.Adam(critics, lr=1e-3)
to_act = torch.optim.Adam(model["actor"].parameters(), lr=1e-3)

options = {"batch_size": batch, "clock": to_judge, "schedule": range(updates + 1)}  # ultraslow
recorder = us.attach(model, [to_judge, to_act], "runs/actor_critic", **options)  # ultraslow
for update in range(updates):
    states, actions, goals = torch.randn(batch, 4), torch.randn(batch, 1), torch.randn(batch, 1)
    pairs = torch.cat([states, actions], 1)
    errors = [(model[name](pairs) - goals).square().mean() for name in ("first", "second")]
    to_judge.zero_grad()
    sum(errors).backward()
    to_judge.step()
    for _ in range(2 * (update % 2 == 0)):
        pairs = torch.cat([states, model["actor"](states)], 1)
        worth = torch.min(model["first"](pairs), model["second"](pairs)).mean()
        to_act.zero_grad()
        (-worth).backward()
        to_act.step()
recorder.close()  # ultraslow
