"""Run programs of two processes with and without probes, in one start of torchrun.

Each is compared on both processes; what came of it is written by rank as JSON.
"""

import json
import os
import sys
import traceback
from pathlib import Path

import torch.distributed as dist
from independent import Independent
from programs import both, in_steps, recording, source

import ultraslow as us
from ultraslow.probes.distributed.processes import leave


class Sharded(Independent):
    """The weights of a sharded program stand in a whole network of the program's own class."""

    def attached(self, model, *rest, **options):
        kind = next(k for k in type(model).__mro__ if not k.__name__.startswith("FSDP"))
        self.twin = kind
        return super().attached(model, *rest, **options)


def compared(name):
    """Errors by quantity, and whether training was as without probes; or why it failed."""
    truth = (Sharded if name == "sharded" else Independent)(dist.get_world_size())
    try:
        names, same, told = both(f"together/{name}", truth)
    except Exception:
        return {"fault": traceback.format_exc()}
    found = {"same": same, "told": told, "updates": [len(truth.updates), names["updates"]]}
    step, given, options = in_steps(source(f"together/{name}"), f"together/{name}")
    verified = us.verify(step, *given, **options, quiet=True)
    found["verified"] = [verified.status, verified.sentence]
    if dist.get_rank() == 0:
        found["errors"] = truth.compare(recording(truth.path))
    return found


if __name__ == "__main__":
    folder, *programs = sys.argv[1:]
    os.chdir(folder)
    # Programs begin and end the group; here one group serves all of them.
    dist.init_process_group("gloo")
    dist.init_process_group = lambda *_, **options: None
    destroy, dist.destroy_process_group = dist.destroy_process_group, lambda: None
    found = {}
    for name in programs:
        dist.barrier()
        found[name] = compared(name)
        if "fault" in found[name]:  # the other process may wait in a collective
            break
    Path(f"{dist.get_rank()}.json").write_text(json.dumps(found))
    dist.destroy_process_group = destroy
    if any("fault" in one for one in found.values()):
        print(found, flush=True)
        os._exit(1)
    leave()
