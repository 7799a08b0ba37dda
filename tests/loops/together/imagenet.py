"""Images in the manner of PyTorch's ImageNet example: DDP, DistributedSampler, epochs, top-1."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

import ultraslow as us  # ultraslow


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x):
        return torch.relu(x + self.body(x))


def top1(model, loader):
    model.eval()
    right = torch.zeros(2)
    with torch.no_grad():
        for images, labels in loader:
            found = model(images).argmax(1) == labels
            right += torch.tensor([float(found.sum()), float(len(labels))])
    model.train()
    dist.all_reduce(right)
    return float(right[0] / right[1])


dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
torch.manual_seed(11)
images = torch.randn(96, 3, 8, 8)
data = TensorDataset(images, images.mean((1, 2, 3)).gt(0).long())
sampler = DistributedSampler(data, shuffle=True, drop_last=True)
loader = DataLoader(data, batch_size=16, sampler=sampler, num_workers=0, drop_last=True)
network = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1), Residual(8), Residual(8), nn.AdaptiveAvgPool2d(1), nn.Flatten()
)
network.append(nn.Linear(8, 2))
model = DistributedDataParallel(network)
optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
criterion = nn.CrossEntropyLoss()
epochs, updates = 4, 0

recorder = us.attach(model, optimizer, "runs/imagenet", batch_size=world * 16)  # ultraslow
for epoch in range(epochs):
    sampler.set_epoch(epoch)
    for inputs, labels in loader:
        loss = criterion(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recorder.observe(loss=loss)  # ultraslow
        updates += 1
    accuracy = top1(model, loader)
    schedule.step()
recorder.close()  # ultraslow
dist.destroy_process_group()
