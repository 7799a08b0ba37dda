"""Two processes by Lightning's strategies, and by plain loops; recordings in a folder."""

import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import loops
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from ultraslow.probes.distributed.processes import leave
from ultraslow.probes.hosts.lightning import LightningRecorder


class Module(pl.LightningModule):
    def __init__(self, fails=False):
        super().__init__()
        self.fails = fails
        self.net = loops.network(dropout=0.0)

    def training_step(self, batch, index):
        if self.fails and self.trainer.current_epoch:
            raise OSError("gone")
        return loops.loss_of(self.net, batch)

    def configure_optimizers(self):
        return loops.optimizer_of(self)


class Sharded(Module):
    def configure_model(self):
        fully_shard(self.net, mesh=self.device_mesh["data_parallel"])

    def configure_gradient_clipping(self, optimizer, **_):
        torch.nn.utils.clip_grad_norm_(self.parameters(), loops.CLIP)


class Batches(pl.LightningDataModule):
    """In the order of the plain loop; there is no group of processes before the training."""

    def train_dataloader(self):
        return loops.loader(self.trainer.global_rank, self.trainer.world_size)


def fit(module, path, *, folder, epochs=2, checkpoint=None, saves=False, **how):
    torch.manual_seed(7)
    recorder = [LightningRecorder(path, **loops.options(8))] if path else []
    saver = [ModelCheckpoint(folder)] if saves else []
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        accumulate_grad_batches=loops.ACCUMULATED,
        callbacks=[*recorder, *saver],
        enable_checkpointing=saves,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        use_distributed_sampler=False,  # it shuffles
        **how,
    )
    trainer.fit(module, Batches(), ckpt_path=checkpoint)
    return module, trainer


class Plain(torch.nn.Module):
    """Parameters with the names that they have in a LightningModule."""

    def __init__(self):
        super().__init__()
        self.net = loops.network(dropout=0.0)

    def forward(self, inputs):
        return self.net(inputs)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    two = {"devices": 2, "folder": folder, "gradient_clip_val": loops.CLIP}
    for name in ("ddp", "ddp-bare"):
        model, _ = fit(Module(), folder / name if name == "ddp" else None, strategy="ddp", **two)
        if dist.get_rank() == 0:
            torch.save(model.state_dict(), folder / f"{name}.pt")
    with suppress(OSError):
        fit(Module(fails=True), folder / "ddp-broken", strategy="ddp", saves=True, **two)
    (last,) = folder.glob("*.ckpt")
    fit(Module(), folder / "ddp-broken", strategy="ddp", checkpoint=last, **two)
    ranks = {"rank": dist.get_rank(), "world": dist.get_world_size()}
    model = DistributedDataParallel(Plain())
    loops.train(model, folder / "ddp-plain", waiting=model.no_sync, **ranks)

    mesh = {"devices": 2, "folder": folder}
    strategy = partial(ModelParallelStrategy, data_parallel_size=2, tensor_parallel_size=1)
    recorded, _ = fit(Sharded(), folder / "sharded", strategy=strategy(), **mesh)
    bare, _ = fit(Sharded(), None, strategy=strategy(), **mesh)
    loops.assert_same_weights(recorded, bare)
    model = Plain()
    fully_shard(model.net, mesh=init_device_mesh("cpu", (2,)))
    loops.train(model, folder / "sharded-plain", **ranks)
    leave()
