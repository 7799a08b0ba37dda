"""A loop that is interrupted at random moments and goes on; prints what its recording gets wrong.

python interrupt_run.py FOLDER INTERRUPTS SEED

Most of its time is spent in the recorder. The optimizer keeps its own list of how far the weights
have moved after each step, which no interrupt can make wrong.

Where thirty programs share two cores an interrupt takes two seconds, so what ends the loop with
its stacks is not how long all of them take, but that one does not come. One that is raised in a
destructor never does, as Python prints and drops what is raised there: it is counted.
"""

import faulthandler
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch

from ultraslow import probes
from ultraslow.diffusion.recording import read_file

PATIENCE = 180  # seconds for an interrupt to come, or for what is before and after them


class Counted(torch.optim.SGD):
    """Steps that are not interrupted, and the squared distance after each."""

    def keep(self):
        parameters = [p for group in self.param_groups for p in group["params"]]
        if not hasattr(self, "w0"):
            self.w0, self.truth = [p.detach().clone() for p in parameters], []
        moved = [(p.detach() - w).square().sum() for p, w in zip(parameters, self.w0, strict=True)]
        self.truth.append(float(sum(moved)))

    def step(self, closure=None):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        super().step(closure)
        self.keep()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


class Caught(list):
    """The interrupts that came; where the next one does not in time, the process hangs."""

    def append(self, what):
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        super().append(what)  # after which the next one is sent

    def drop(self, raised):
        """One was raised where nothing can be."""
        sys.__unraisablehook__(raised)
        if raised.exc_type is KeyboardInterrupt:
            self.append("dropped")


def interrupt(count, seed, caught):
    """Interrupt this process so many times, each at a random moment after the one before came."""
    chance = random.Random(seed)
    for number in range(1, count + 1):
        time.sleep(chance.uniform(0.005, 0.05))
        os.kill(os.getpid(), signal.SIGINT)
        while len(caught) < number:
            time.sleep(0.001)


if __name__ == "__main__":
    folder, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = torch.nn.Linear(4, 2)
    optimizer = Counted(model.parameters(), lr=0.01)
    optimizer.keep()
    recorder = probes.attach(
        model, optimizer, folder / "run", batch_size=8, schedule=range(10**6), flush_seconds=0.0
    )
    caught = Caught()
    sys.unraisablehook = caught.drop
    sender = threading.Thread(target=interrupt, args=(count, seed, caught), daemon=True)
    sender.start()
    going = True
    while going:
        try:
            optimizer.zero_grad()
            loss = model(torch.randn(8, 4)).square().mean()
            loss.backward()
            optimizer.step()
            recorder.observe(loss=loss)
            going = sender.is_alive()
        except KeyboardInterrupt:
            caught.append("caught")
    sender.join()
    recorder._schedule = type(recorder._schedule)(frozenset(), 0)
    records = read_file(recorder.close())[0]
    known = np.array(optimizer.truth)[records["iteration"].values]
    wrong = ~np.isclose(records["distance_sq"].sum("tensor"), known, rtol=1e-5)
    print(
        json.dumps(
            {
                "caught": len(caught),
                "steps": len(optimizer.truth) - 1,
                "last": int(records["iteration"][-1]),
                "records": records.sizes["iteration"],
                "wrong": int(wrong.sum()),
            }
        )
    )
