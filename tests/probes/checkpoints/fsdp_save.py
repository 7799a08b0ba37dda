"""Saves checkpoints of a model that two processes share, sharded along each dimension.

torchrun --nproc-per-node 2 fsdp_save.py FOLDER
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor


def main(folder):
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    mesh = init_device_mesh("cpu", (2,))
    model = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.Linear(5, 3, bias=False))
    columns = torch.randn(6, 9)
    whole = {}
    fully_shard(model, mesh=mesh)
    for step in range(3):
        by_columns = distribute_tensor(columns * (step + 1), mesh, [Shard(1)])
        state = {**get_model_state_dict(model), "columns": by_columns}
        dcp.save({"model": state}, checkpoint_id=folder / "saved" / f"step-{step}")
        full = {name: tensor.full_tensor().clone() for name, tensor in state.items()}
        whole[step] = full
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.ones_like(parameter) * 0.1)
    if dist.get_rank() == 0:
        torch.save(whole, folder / "whole.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
