"""A generative adversarial network whose critic has a pass for real and one for fake data."""

import torch
from torch import nn

import ultraslow as us  # ultraslow

torch.manual_seed(0)
latent, halves, batch = 4, 2, 16
updates = 12
generator = nn.Sequential(nn.Linear(latent, 16), nn.ReLU(), nn.Linear(16, 2))
model = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
to_fool = torch.optim.Adam(generator.parameters(), lr=2e-3, betas=(0.5, 0.99))
to_judge = torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.5, 0.99))
criterion = nn.BCEWithLogitsLoss()
ones, zeros = torch.ones(batch, 1), torch.zeros(batch, 1)

recorder = us.attach(model, to_judge, "runs/gan", batch_size=halves * batch)  # ultraslow
for _ in range(updates):
    to_judge.zero_grad()
    for _ in range(halves):
        angle = torch.rand(batch) * 6.28
        real = torch.stack([angle.cos(), angle.sin()], 1)
        fake = generator(torch.randn(batch, latent)).detach()
        with recorder.one_unit():  # ultraslow
            (criterion(model(real), ones) / halves).backward()
            (criterion(model(fake), zeros) / halves).backward()
    to_judge.step()

    to_fool.zero_grad()
    with recorder.unmeasured():  # ultraslow
        criterion(model(generator(torch.randn(batch, latent))), ones).backward()
    to_fool.step()
recorder.close()  # ultraslow
