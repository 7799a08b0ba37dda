"""A transformer that is sharded by `fully_shard` (FSDP2), block by block, with accumulation."""

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard

import ultraslow as us  # ultraslow


class Transformer(nn.Module):
    def __init__(self, width=16, depth=2, vocabulary=20):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 32, dropout=0.0, batch_first=True)
            for _ in range(depth)
        )
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens, targets):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return nn.functional.cross_entropy(self.head(x).flatten(0, 1), targets.flatten())


dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
updates, parts, batch = 8, 2, 4
torch.manual_seed(12)
model = Transformer()
for block in model.blocks:
    fully_shard(block)
fully_shard(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
torch.manual_seed(100 + rank)

size = world * parts * batch  # ultraslow
recorder = us.attach(model, optimizer, "runs/sharded", batch_size=size)  # ultraslow
for _ in range(updates):
    for _ in range(parts):
        tokens = torch.randint(20, (batch, 9))
        loss = model(tokens[:, :-1], tokens[:, 1:])
        (loss / parts).backward()
        recorder.observe(loss=loss)  # ultraslow
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
recorder.close()  # ultraslow
final = {name: p.full_tensor() for name, p in model.named_parameters()}
dist.destroy_process_group()
