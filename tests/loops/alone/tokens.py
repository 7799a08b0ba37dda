"""Fine-tuning on texts: losses summed over tokens, whose gradients are divided by their number."""

import torch
from torch import nn

import ultraslow as us  # ultraslow

torch.manual_seed(0)
words, length, texts, passes, updates = 30, 40, 4, 4, 24
model = nn.Sequential(nn.Embedding(words, 12), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, words))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
largest_norm = 1.0
scales = []

recorder = us.attach(model, optimizer, "runs/tokens", batch_size=passes * texts)  # ultraslow
for _ in range(updates):
    tokens = torch.tensor(0)
    for _ in range(passes):
        inputs = torch.randint(words, (texts, length))
        targets = (inputs * 7 + 1) % words
        ends = torch.randint(length // 2, length, (texts, 1))
        targets[torch.arange(length) >= ends] = -100
        count = (targets != -100).sum()
        loss = nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        (loss * count).backward()
        tokens += count
        recorder.observe(loss=loss)  # ultraslow
    torch._foreach_mul_([p.grad for p in model.parameters()], 1.0 / tokens)
    if largest_norm:
        torch.nn.utils.clip_grad_norm_(model.parameters(), largest_norm)
    scales.append(1 / float(tokens))
    optimizer.step()
    optimizer.zero_grad()
recorder.close()  # ultraslow
