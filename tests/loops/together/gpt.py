"""A small GPT on characters, in the manner of nanoGPT: accumulation, clipping, bfloat16, DDP."""

import math
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import ultraslow as us  # ultraslow

updates, accumulation, batch, block, width, heads = 10, 3, 4, 16, 16, 2
decay, clip, rate, warm = 0.1, 1.0, 1e-2, 3


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        q, k, v = (
            part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in self.mix(x).split(width, 2)
        )
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2))


class GPT(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.token, self.place = nn.Embedding(vocabulary, width), nn.Embedding(block, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention()
        self.mlp = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width))
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.token.weight  # tied

    def forward(self, tokens, targets):
        x = self.token(tokens) + self.place.weight
        x = x + self.attention(self.first(x))
        x = x + self.mlp(self.second(x))
        scores = self.head(x)
        return scores, nn.functional.cross_entropy(scores.flatten(0, 1).float(), targets.flatten())


def batch_of(text):
    starts = torch.randint(len(text) - block - 1, (batch,))
    chunks = torch.stack([text[start : start + block + 1] for start in starts])
    return chunks[:, :-1], chunks[:, 1:]


def rate_at(update):
    if update < warm:
        return rate * (update + 1) / warm
    return rate * (0.1 + 0.45 * (1 + math.cos(math.pi * (update - warm) / (updates - warm))))


dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
text = torch.tensor(list(b"the weights of a network walk on a rugged landscape. " * 8)) - 32
torch.manual_seed(1337)
raw = GPT(vocabulary=96)
model = DistributedDataParallel(raw)
matrices = [p for p in raw.parameters() if p.dim() >= 2]
vectors = [p for p in raw.parameters() if p.dim() < 2]
optimizer = torch.optim.AdamW(
    [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}],
    lr=rate,
    betas=(0.9, 0.95),
)
torch.manual_seed(1337 + rank)
size = world * accumulation * batch  # ultraslow

recorder = us.attach(model, optimizer, "runs/gpt", batch_size=size)  # ultraslow
for update in range(updates):
    for group in optimizer.param_groups:
        group["lr"] = rate_at(update)
    for step in range(accumulation):
        last = step == accumulation - 1
        with nullcontext() if last else model.no_sync():
            with torch.autocast("cpu", torch.bfloat16):
                _, loss = model(*batch_of(text))
            (loss / accumulation).backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    recorder.observe(loss=loss)  # ultraslow
recorder.close()  # ultraslow
dist.destroy_process_group()
