"""Two processes by the Trainer of transformers, and by plain loops; recordings in a folder."""

import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import loops
import texts
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import TrainerCallback

from ultraslow.probes.distributed.processes import leave
from ultraslow.probes.hosts.transformers import TransformersRecorder


class Fails(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == 6:
            raise OSError("gone")


def fit(model, folder, path=None, *, callbacks=(), resumes=None, **more):
    trainer = texts.trainer(model, folder, callbacks=callbacks, **more)
    if path:
        trainer.add_callback(TransformersRecorder(trainer, path, **loops.options(8)))
    trainer.train(resume_from_checkpoint=resumes)
    return trainer


def sharded(folder, ranks):
    """FSDP2."""
    shards = {"fsdp": True, "fsdp_config": {"version": 2}, "sharded": True}
    trainer = fit(texts.language_model(), folder, folder / "sharded", **shards)
    assert isinstance(trainer.model_wrapped, FSDPModule)
    bare = fit(texts.language_model(), folder, **shards)
    loops.assert_same_weights(trainer.model_wrapped, bare.model_wrapped)
    model = texts.language_model()
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))

    @contextmanager
    def waiting():
        model.set_requires_gradient_sync(False)
        yield
        model.set_requires_gradient_sync(True)

    texts.train(model, folder / "sharded-plain", waiting=waiting, **ranks)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name in ("texts", "bare"):
        model = texts.language_model()
        fit(model, folder, folder / name if name == "texts" else None)
        ranks = {"rank": dist.get_rank(), "world": dist.get_world_size()}
        if dist.get_rank() == 0:
            torch.save(model.state_dict(), folder / f"{name}.pt")
    with suppress(OSError):
        saves = {"save_strategy": "epoch", "callbacks": [Fails()]}
        fit(texts.language_model(), folder, folder / "broken", **saves)
    fit(texts.language_model(), folder, folder / "broken", resumes=True)
    fit(texts.Classifier(), folder, folder / "classes")
    fit(texts.Takes(), folder, folder / "takes")
    for name, kind in (("texts", texts.language_model), ("classes", texts.Classifier)):
        model = DistributedDataParallel(kind())
        texts.train(model, folder / f"{name}-plain", waiting=model.no_sync, **ranks)
    sharded(folder, ranks)
    leave()
