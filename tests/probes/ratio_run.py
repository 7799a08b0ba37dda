"""A quantity that is not part of the product, declared as a new one would be, and runs that record
it.

Under torchrun they are two processes with replicated weights and two with sharded ones.
"""

import sys
from pathlib import Path

import resume_run as runs
import torch
import torch.distributed as dist

from ultraslow.diffusion.recording.fields import FIELDS, Field
from ultraslow.probes.distributed.processes import leave
from ultraslow.probes.quantities.quantity import WindowSum
from ultraslow.probes.quantities.table import QUANTITIES

DECLARED = Field(
    "update_ratio",
    ("iteration", "tensor"),
    "f8",
    "1",
    "lengths of single updates over those of the weights, added",
    "iteration: sum",
)
PROBES = ["path", "ratio"]
SCHEDULE = [3, 9, 10, 14, 23]


class UpdateRatio(WindowSum):
    """Σ ‖w_{t+1} − w_t‖/‖w_{t+1}‖ of each tensor over the updates between two records."""

    fields = ("update_ratio",)
    called = "ratio probe"

    def __init__(self, subject, settings=None):
        super().__init__(subject, settings)
        self._previous = [w.clone() for w in subject.weights()]

    def of_update(self):
        weights = self.subject.weights()
        pairs = list(zip(weights, self._previous, strict=True))
        squares = torch.tensor(
            [[float((w - p).square().sum()), float(w.square().sum())] for w, p in pairs],
            dtype=torch.float64,
        )
        self._previous = [w.clone() for w in weights]
        step_sq, weight_sq = self.subject.processes.add_parts(squares).unbind(1)
        return self.subject.shared((step_sq / weight_sq).sqrt())


def declare():
    """What a new quantity adds to two tables."""
    FIELDS[DECLARED.name] = DECLARED
    QUANTITIES["ratio"] = UpdateRatio


def whole(path, model, **options):
    """A run without a break, but with a state taken where the other has its break."""
    recorder, _ = runs.part(
        path,
        model,
        start=0,
        stop=runs.LAST,
        save=runs.FIRST,
        probes=PROBES,
        schedule=SCHEDULE,
        **options,
    )
    recorder.close()


def cut(path, model, again, *, file, **options):
    """The same, killed after its state was saved and gone on from that.

    Arguments:
        path: of the recording.
        model: of the first part.
        again: from the checkpoint to the model of the second.
        file: for the checkpoint.
        options: of `resume_run.part`.
    """
    options |= {"probes": PROBES, "schedule": SCHEDULE}
    recorder, checkpoint = runs.part(
        path,
        model,
        start=0,
        stop=runs.FIRST + 4,
        save=runs.FIRST,
        flush_seconds=0.0,
        **options,
    )
    recorder.__exit__(KeyboardInterrupt, None, None)
    torch.save(checkpoint, file)
    checkpoint = torch.load(file, weights_only=True)
    recorder, _ = runs.part(
        path,
        again(checkpoint),
        start=runs.FIRST,
        stop=runs.LAST,
        checkpoint=checkpoint,
        resume=checkpoint["recorder"],
        **options,
    )
    recorder.close()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    dist.init_process_group("gloo")
    declare()
    options = {"rank": dist.get_rank(), "world": dist.get_world_size(), "momentum": 0.9}
    for kind in ("ddp", "fsdp"):
        whole(folder / f"{kind}-whole", runs.wrapped(kind, runs.network()), **options)
        cut(
            folder / f"{kind}-cut",
            runs.wrapped(kind, runs.network()),
            lambda checkpoint, kind=kind: runs.wrapped(kind, runs.loaded(checkpoint)),
            file=folder / f"{kind}-{options['rank']}.pt",
            **options,
        )
    leave()
