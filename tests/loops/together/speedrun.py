"""A speed run: Muon on the filters, SGD on the rest, gradients averaged by hand."""

import torch
import torch.distributed as dist
from torch import nn

import ultraslow as us  # ultraslow


class Muon(torch.optim.Optimizer):
    """Momentum whose direction is orthogonalized by five Newton-Schulz iterations."""

    def __init__(self, params, lr, momentum=0.6):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                buffer = self.state[p].setdefault("buffer", torch.zeros_like(p))
                buffer.mul_(group["momentum"]).add_(p.grad)
                x = buffer.flatten(1)
                x = x / (x.norm() + 1e-7)
                for _ in range(5):
                    a = x @ x.T
                    x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
                p.add_(x.view_as(p), alpha=-group["lr"])


class ResNet(nn.Module):
    def __init__(self, width=8, classes=4):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.one = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.two = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(3))
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = torch.relu(self.norms[0](self.stem(x)))
        x = x + self.norms[2](self.two(torch.relu(self.norms[1](self.one(x)))))
        return self.head(torch.relu(x).mean((2, 3)))


dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
updates, batch = 12, 16
torch.manual_seed(13)
model = ResNet()
filters = [p for p in model.parameters() if p.dim() == 4]
rest = [p for p in model.parameters() if p.dim() != 4]
muon = Muon(filters, lr=0.02)
sgd = torch.optim.SGD(rest, lr=0.05, momentum=0.85, nesterov=True)
torch.manual_seed(50 + rank)

options = {"batch_size": world * batch, "processes": True}  # ultraslow
recorder = us.attach(model, [muon, sgd], "runs/speedrun", **options)  # ultraslow
for update in range(updates):
    for optimizer, peak in ((muon, 0.02), (sgd, 0.05)):
        optimizer.param_groups[0]["lr"] = peak * (1 - update / updates)
    images = torch.randn(batch, 3, 8, 8)
    labels = images.mean((2, 3)).argmax(1)
    loss = nn.functional.cross_entropy(model(images), labels, label_smoothing=0.2)
    loss.backward()
    for p in model.parameters():
        dist.all_reduce(p.grad)
        p.grad /= world
    muon.step()
    sgd.step()
    model.zero_grad(set_to_none=True)
    recorder.observe(loss=loss)  # ultraslow
recorder.close()  # ultraslow
dist.destroy_process_group()
