"""Train with checkpoints, be killed at random moments and go on, and compare with a whole run.

    python chain_run.py FOLDER CHAINS PROCESSES SEED

Moments are drawn within each phase: attaching or resuming, training, closing. Prints a JSON
object: kills by phase, and what was found wrong, a sentence each.
"""

import json
import mmap
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import resume_run as runs
import torch
import torch.distributed as dist
from fault_run import warm_up
from torch.nn.parallel import DistributedDataParallel

from ultraslow import probes
from ultraslow.probes.storage.segments import SegmentStore

LAST, EVERY = 40, 6
PHASES = ("attaching", "training", "closing", "closed")
KILLS = 4  # in a chain
# Updates that wait for the first flush, and for a later one, at most.
FIRST, FLUSH = 5, 2
CLOCKS = {"wall_time", "probe_seconds", "run"}


def train(path, told, *, rank=0, world=1, meeting=None):
    """Go on from the last checkpoint, or begin; save checkpoints, and close at the end."""
    torch.set_num_threads(1)
    saved = path.with_suffix(".pt")
    checkpoint = torch.load(saved, weights_only=True) if saved.exists() else None
    start = checkpoint["iteration"] if checkpoint else 0
    if rank == 0:
        told[1] = told[2] = start
    model = runs.loaded(checkpoint) if checkpoint else runs.network()
    if world > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=world
        )
        model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    resumed = {"resume": checkpoint["recorder"]} if checkpoint else {"overwrite": True}
    if checkpoint:
        optimizer.load_state_dict(checkpoint["optimizer"])
    recorder = probes.attach(
        model,
        optimizer,
        path,
        batch_size=runs.BATCH,
        schedule=range(LAST + 1),
        flush_seconds=0.0,
        probes=runs.PROBES,
        quiet=True,
        **resumed,
    )
    _tell(told, rank, "training")
    for iteration in range(start + 1, LAST + 1):
        optimizer.param_groups[0]["lr"] = 0.1 / iteration**0.5
        runs.update(model, optimizer, recorder, runs.microbatches(iteration, rank, world))
        if rank == 0:
            told[1] = iteration
        if iteration % EVERY == 0:
            _save(saved, model, optimizer, recorder, iteration, writes=rank == 0)
    _tell(told, rank, "closing")
    recorder.close()
    if rank == 0:
        torch.save(model.state_dict(), path.with_suffix(".last"))
    _tell(told, rank, "closed")


def _tell(told, rank, phase):
    if rank == 0:
        told[0] = PHASES.index(phase)


def _save(saved, model, optimizer, recorder, iteration, *, writes):
    checkpoint = {
        "iteration": iteration,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "recorder": recorder.state_dict(),
    }
    if writes:
        torch.save(checkpoint, saved.with_suffix(".new"))
        os.replace(saved.with_suffix(".new"), saved)


def begin(path, told, *, processes, attempt):
    """Fork the processes of a training."""
    told[:] = bytes(3)
    children = []
    for rank in range(processes):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                log = path.with_name(f"{path.name}.{rank}.log")
                os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
                meeting = path.with_name(f"{path.name}.{attempt}.meeting")
                train(path, told, rank=rank, world=processes, meeting=meeting)
                code = 0
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
            finally:
                os._exit(code)
        children.append(child)
    return children


def ended(children, *, seconds):
    """The exit codes of processes that end by themselves in time; the others are ended."""
    codes, until = {}, time.monotonic() + seconds
    told = False
    while len(codes) < len(children):
        for child in set(children) - set(codes):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                codes[child] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until + 5:
                os.kill(child, signal.SIGKILL)
            elif time.monotonic() > until and not told:
                os.kill(child, signal.SIGTERM)  # as torchrun does
        told = told or time.monotonic() > until
        time.sleep(0.005)
    return [codes[child] for child in children]


def faults_of(path, iteration, start):
    """What is wrong with a recording after a kill at an iteration of a training from another."""
    try:
        records = SegmentStore(path).read()
    except Exception as error:
        return [f"cannot be read: {error}"]
    found = np.array([-1]) if records is None else records["iteration"].values
    last = int(found[-1])
    if records is not None and not np.array_equal(found, np.arange(last + 1)):
        return [f"records are {found.tolist()}"]
    allowed = FIRST if iteration - start <= FIRST else FLUSH
    return [f"lost {iteration - last} updates"] if iteration - last > allowed else []


def chain(path, whole, *, processes, rng):
    """Kill and go on until a training comes to its end; kills by phase, and faults."""
    told, kills, faults = mmap.mmap(-1, 3), Counter(), []
    for attempt in range(KILLS + 1):
        children = begin(path, told, processes=processes, attempt=attempt)
        if attempt < KILLS:
            goal, until = int(rng.integers(3)), time.monotonic() + 60
            delay = float(rng.exponential((0.02, 0.15, 0.02)[goal]))
            while told[0] < goal and time.monotonic() < until and not _gone(children[0]):
                time.sleep(0.001)
            time.sleep(delay)
            phase = PHASES[told[0]]
            os.kill(children[int(rng.integers(processes))], signal.SIGKILL)
            codes = ended(children, seconds=3 if processes > 1 else 60)
            if -signal.SIGKILL in codes:
                kills[phase] += 1
            faults += [
                f"attempt {attempt}, {phase}: {one}" for one in faults_of(path, told[1], told[2])
            ]
        else:
            codes = ended(children, seconds=120)
            if any(codes):
                faults.append(f"attempt {attempt} ended with {codes}")
        if path.with_suffix(".last").exists() and not any(codes):
            break
    return kills, [*faults, *differences(path, whole)]


def _gone(child):
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def differences(path, whole):
    """How a chain's recording and weights differ from those of a run that nobody has killed."""
    if not path.with_suffix(".nc").exists():
        return ["was not closed"]
    here, there = SegmentStore(path).read(), SegmentStore(whole).read()
    names = set(here.variables) | set(there.variables)
    faults = [f"{name} differs" for name in sorted(names - CLOCKS) if not _same(here, there, name)]
    weights = [torch.load(one.with_suffix(".last"), weights_only=True) for one in (path, whole)]
    if any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[1]):
        faults.append("weights differ")
    left = list(path.iterdir()) if path.is_dir() else []
    odd = [file.name for file in left if not file.name.startswith("initial")]
    return [*faults, *(f"left {name} behind" for name in odd)]


def _same(here, there, name):
    return name in here and name in there and here[name].variable.identical(there[name].variable)


def main(folder, chains, processes, seed):
    """All chains, beside one whole run."""
    folder.mkdir(parents=True, exist_ok=True)
    warm_up(folder)
    train(folder / "warm-too", bytearray(3))  # so that the children import nothing
    assert len(os.listdir("/proc/self/task")) == 1  # a lock of another would stay taken in them
    whole = folder / "whole"
    children = begin(whole, mmap.mmap(-1, 3), processes=processes, attempt=0)
    assert not any(ended(children, seconds=120)), (folder / "whole.0.log").read_text()
    rng, kills, faults = np.random.default_rng(seed), Counter(), []
    for index in range(chains):
        path = folder / f"run-{index}"
        killed, wrong = chain(path, whole, processes=processes, rng=rng)
        kills += killed
        faults += [f"{path.name}: {one}" for one in wrong]
        print(index, dict(kills), faults, file=sys.stderr, flush=True)
    return {"kills": dict(kills), "faults": faults}


if __name__ == "__main__":
    torch.set_num_threads(1)
    where, *numbers = sys.argv[1:]
    count, world, first = map(int, numbers)
    print(json.dumps(main(Path(where), count, world, first)))
