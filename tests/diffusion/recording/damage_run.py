"""Read recordings that a disk has damaged, each within limits, and tell what came of it.

    python damage_run.py TRIALS SEED

Files are those of a small training, half of them without their seals. A process reads one after
the other; a reading that takes longer than `SECONDS` ends it, and the next begins with the file
after that. Prints a JSON object: how often a file was refused, read as it was or read otherwise,
and the numbers of those that hung, crashed, took more than `MEMORY`, or were sealed and are wrong.
"""

import json
import mmap
import os
import re
import resource
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from ultraslow import probes
from ultraslow.diffusion.recording import RecordError, netcdf, read_file

SECONDS = 5
WALL = 60  # seconds, on a machine that others use as well
MEMORY = 2**30
GUARD = 3 * 2**30  # of address space beside that of the start; the machine must live
KINDS = ("bits", "bytes", "cut", "zeros", "swap", "aimed")
# What structures begin with that have no checksum of their own.
UNGUARDED = re.compile(rb"GCOL|TREE|FHDB|OHDR|HEAP|SNOD")
CODES = {"refused": 1, "same": 2, "other": 3, "large": 4}


def recordings(folder):
    """Contents of a live segment and of a closed file, both sealed."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    recorder = probes.attach(
        model,
        optimizer,
        folder / "run",
        batch_size=8,
        schedule=range(20),
        flush_seconds=0.0,
        probes=("distance", "noise", "path", "trajectory"),
        seed=3,
    )
    segment = b""
    for iteration in range(20):
        for _ in range(2):
            (model(torch.randn(4, 5)).square().mean() / 2).backward()
        optimizer.step()
        optimizer.zero_grad()
        if iteration == 10:
            segment = max((folder / "run").glob("segment-*.nc")).read_bytes()
    return [segment, recorder.close().read_bytes()]


def damaged(content, kind, rng):
    """The content with a damage of a kind, of a size and at a place of chance."""
    new, size = bytearray(content), len(content)
    if kind == "bits":
        for at in rng.integers(size, size=int(rng.choice([1, 1, 2, 4, 16, 64, 256]))):
            new[at] ^= 1 << int(rng.integers(8))
    elif kind == "bytes":
        at, length = int(rng.integers(size)), int(rng.choice([1, 2, 4, 8, 64]))
        new[at : at + length] = rng.bytes(len(new[at : at + length]))
    elif kind == "aimed":  # at numbers of structures
        found = [match.end() for match in UNGUARDED.finditer(content)]
        at, length = int(rng.choice(found) + rng.integers(200)), int(rng.choice([1, 2, 4, 8]))
        filled = [bytes(length), b"\xff" * length, rng.bytes(length)]
        new[at : at + length] = filled[int(rng.integers(3))][: len(new[at : at + length])]
    elif kind == "cut":
        del new[int(rng.integers(size)) :]
    else:
        length = int(rng.choice([8, 64, 512, 4096]))
        first, second = (int(at) // length * length for at in rng.integers(size, size=2))
        if kind == "zeros":
            new[first : first + length] = bytes(len(new[first : first + length]))
        elif max(first, second) + length <= size:
            new[first : first + length] = content[second : second + length]
            new[second : second + length] = content[first : first + length]
    return bytes(new)


def file_of(trial, seed, sound):
    """The file of a trial, whether it was sealed, and which recording it was made of."""
    rng = np.random.default_rng((seed, trial))
    sealed, which = bool(trial % 2), int(rng.integers(len(sound)))
    content = sound[which] if sealed else sound[which][: -netcdf.LENGTH]
    return damaged(content, KINDS[trial // 2 % len(KINDS)], rng), sealed, which


def peak():
    """Bytes of memory that this process has used at once since the last call."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def read_on(path, told, *, trials, seed, sound):
    """Read files until all are done, or one ends this process; `told` knows which it was."""
    space = 4096 * int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (space + GUARD, space + GUARD))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    originals = [netcdf.from_bytes(content, "sound") for content in sound]
    peak()
    before = peak()
    while (trial := int.from_bytes(told[:8], "little")) < trials:
        content, _, which = file_of(trial, seed, sound)
        path.write_bytes(content)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, WALL)
        try:
            found = read_file(path)[0]
            outcome = "same" if found.identical(originals[which]) else "other"
        except RecordError:
            outcome = "refused"
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if peak() - before > MEMORY:
            outcome = "large"
        told[8 + trial] = CODES[outcome]
        told[:8] = (trial + 1).to_bytes(8, "little")


def outcomes(folder, *, trials, seed):
    """What became of each file: a word of `CODES`, `hung` or `crashed`."""
    sound = recordings(folder)
    told = mmap.mmap(-1, 8 + trials)
    ended = {}
    while (trial := int.from_bytes(told[:8], "little")) < trials:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            try:
                read_on(folder / "file.nc", told, trials=trials, seed=seed, sound=sound)
                os._exit(0)
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        trial = int.from_bytes(told[:8], "little")
        if code:
            hung = code in (-signal.SIGPROF, -signal.SIGALRM)
            ended[trial] = "hung" if hung else f"crashed ({code})"
            told[:8] = (trial + 1).to_bytes(8, "little")
    words = {number: word for word, number in CODES.items()}
    return [ended.get(trial) or words[told[8 + trial]] for trial in range(trials)]


def summary(found):
    """Counts of sealed and unsealed files, and the numbers of the faulty ones."""
    sealed = ("unsealed", "sealed")
    counts = Counter(f"{sealed[trial % 2]} {word}" for trial, word in enumerate(found))
    faulty = {
        trial: word
        for trial, word in enumerate(found)
        if word not in ("refused", "same", "other") or (word == "other" and trial % 2)
    }
    return {"counts": dict(counts), "faulty": faulty}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = outcomes(Path(folder), trials=int(sys.argv[1]), seed=int(sys.argv[2]))
    print(json.dumps(summary(found)))
