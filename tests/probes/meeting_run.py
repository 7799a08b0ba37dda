"""Two processes of which one does not do what the other does.

python meeting_run.py FOLDER RANK CASE…
"""

import json
import sys
import time
import warnings
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ultraslow import probes
from ultraslow.probes.distributed import meetings
from ultraslow.probes.recorder import others

SHORT = 1.0  # seconds, in place of 20 and more


def loss_of(model):
    return {"loss": model(torch.ones(1, 4)).square().mean()}


def attach(model, optimizer, folder, **options):
    options = {"batch_size": 8, "schedule": range(10**6), "quiet": True, **options}
    return probes.attach(model, optimizer, folder / "run", **options)


def update(model, optimizer, recorder=None):
    optimizer.zero_grad()
    loss = model(torch.randn(4, 4)).square().mean()
    loss.backward()
    optimizer.step()
    if recorder is not None:
        recorder.observe(loss=loss)


class Case:
    """What each process does, by the name of the case."""

    def __init__(self, folder, rank):
        torch.manual_seed(0)
        self.folder, self.rank = folder, rank
        self.model = DistributedDataParallel(torch.nn.Linear(4, 2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)

    def attach(self, **options):
        self.recorder = attach(self.model, self.optimizer, self.folder, **options)

    def train(self, count):
        for _ in range(count):
            update(self.model, self.optimizer, self.recorder)

    def attached_by_one(self):
        if self.rank == 0:
            self.attach()

    def attached_again(self):
        """After one has given up both try again."""
        if self.rank == 0:
            with suppress(TimeoutError):
                self.attach()
        dist.barrier()
        self.attach()
        self.train(6)
        self.recorder.close()

    def attached_to_another(self):
        if self.rank == 1:
            self.model = DistributedDataParallel(torch.nn.Linear(4, 2), init_sync=False)
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.attach(probes=["noise"] if self.rank else [])

    def bare(self, *names):
        """Attach a model that tells nothing of the others, at a path of each process."""
        self.model = self.model.module
        with attach(self.model, self.optimizer, self.folder / names[self.rank]) as recorder:
            update(self.model, self.optimizer, recorder)

    def bare_at_one_path(self):
        self.bare("own", "own")

    def bare_at_own_paths(self):
        self.bare("first", "second")

    def bare_on_one(self):
        if self.rank == 0:
            self.bare("alone")

    def bare_too_late(self):
        """Rank 0 has waited, given up and begun to record when the other comes."""
        try:
            if self.rank == 1:
                time.sleep(3 * SHORT)
            self.model = self.model.module
            options = {"batch_size": 8, "quiet": True}
            path = self.folder / "own"
            with probes.attach(self.model, self.optimizer, path, **options) as recorder:
                update(self.model, self.optimizer, recorder)
                dist.barrier()
        except FileExistsError:
            dist.barrier()
            raise

    def other_weights(self):
        torch.manual_seed(self.rank)
        self.by_hand(torch.nn.Linear(4, 2))

    def weights_that_part(self):
        """Gradients of the bias are left as they are on each process."""
        self.by_hand(torch.nn.Linear(4, 2))

    def by_hand(self, model):
        """Train with gradients of matrices averaged by hand."""
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        generator = torch.Generator().manual_seed(self.rank)
        self.recorder = attach(model, optimizer, self.folder, processes=True, flush_seconds=0.0)
        for _ in range(8):
            optimizer.zero_grad()
            model(torch.randn(4, 4, generator=generator)).square().mean().backward()
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= 2
            optimizer.step()
        self.recorder.close()

    def closed_by_one(self):
        """The other goes on without, to a collective of its own."""
        self.attach(flush_seconds=1e9)
        self.train(6)
        if self.rank == 0:
            self.recorder.close()

    def closed_by_rank_0_as_the_other_ends(self):
        """To be the last one."""
        self.closed_by_one()

    def closed_late(self):
        """Rank 0 does something of its own for longer than the other waits."""
        evaluation = probes.Evaluation(loss_of, [0], metrics=["loss"])
        self.attach(flush_seconds=1e9, evaluation=evaluation)
        self.train(6)
        if self.rank == 0:
            time.sleep(2 * SHORT)
        self.recorder.close()

    def joined(self, **options):
        """Rank 1 has three batches more."""
        self.attach(**options)
        with self.model.join():
            self.train(7 + 3 * self.rank)
        self.recorder.close()

    def joined_with_flushes(self):
        self.joined(flush_seconds=0.0)

    def joined_without(self):
        self.joined(flush_seconds=1e9)

    def joined_with_evaluation(self):
        evaluation = probes.Evaluation(loss_of, range(20), metrics=["loss"])
        self.joined(flush_seconds=1e9, evaluation=evaluation)

    def saved_by_one(self):
        self.attach(flush_seconds=1e9)
        self.train(6)
        if self.rank == 0:
            self.recorder.state_dict()

    def left_by_one(self):
        """An exception on rank 1, which goes on without the recorder."""
        self.attach(flush_seconds=1e9)
        self.train(6)
        with suppress(ValueError), self.recorder:
            if self.rank == 1:
                raise ValueError("of the program's own")


def run(folder, name, rank):
    """What was warned of or raised in a case, how long it took, and the last iteration."""
    folder.mkdir(exist_ok=True)
    case, told = Case(folder, rank), []
    began = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            getattr(case, name)()
        except Exception as error:
            told = [f"{type(error).__name__}: {error}"]
    told += [str(warning.message) for warning in caught]
    seconds = time.monotonic() - began
    last = case.recorder.iteration if hasattr(case, "recorder") else -1
    return {"told": told, "seconds": seconds, "iteration": last}


if __name__ == "__main__":
    folder, rank, names = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    others.PATIENCE = SHORT
    meetings.gather.__kwdefaults__["patience"] = 2 * SHORT
    meetings.said_by_all.__kwdefaults__["patience"] = 2 * SHORT
    others.LONG, others._PARTS = 2 * SHORT, SHORT
    found = {}
    for name in names:
        found[name] = run(folder / name, name, rank)
        if name != names[-1]:
            dist.barrier()
    (folder / f"found-{rank}.json").write_text(json.dumps(found))
