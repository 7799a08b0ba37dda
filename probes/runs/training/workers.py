"""Processes that load images: forked where there is one thread only, started once and kept.

A fork copies one thread and every lock, also those that another thread holds at that moment; the
copy then waits for them for ever. A training process has many threads (gloo, autograd, queues), so
workers are forked by a server: a process of its own that only imports and forks. Workers leave the
process group of the training, which torchrun tells to end as a whole: images are needed until all
processes have kept the run.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

# Seconds to wait for a microbatch. Decoding takes a second at most; a network file system that
# comes back may take minutes.
PATIENCE = 600.0

Loader = DataLoader[tuple[Tensor, int]]


def loader(
    files: Dataset[tuple[Tensor, int]], keys: object, *, workers: int, pinned: bool
) -> Loader:
    """A loader of microbatches whose workers start with the first one and stay.

    Arguments:
        files: that are read.
        keys: of each microbatch; its iterable.
        workers: processes that read; 0: this one.
        pinned: whether batches are put where a GPU can fetch them.
    """
    return DataLoader(
        files,
        batch_sampler=keys,  # type: ignore[arg-type]
        num_workers=workers,
        pin_memory=pinned,
        worker_init_fn=_apart,
        multiprocessing_context=_context() if workers else None,
        persistent_workers=workers > 0,
        timeout=PATIENCE if workers else 0,
    )


def loaded(batches: Loader) -> Iterator[tuple[Tensor, Tensor]]:
    """All microbatches of a loader.

    Raises:
        TimeoutError: when none came in time.
    """
    found = iter(batches)
    while True:
        try:
            batch = next(found)
        except StopIteration:
            return
        except RuntimeError as error:
            if "timed out" not in str(error):
                raise
            raise TimeoutError(
                f"images: none came from {batches.num_workers} workers in {batches.timeout:g} s; "
                "look whether their files can be read and whether the workers still run"
            ) from error
        yield batch


def _context() -> ForkServerContext:
    """What starts workers, with their server running."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_imported())
    # The server is in the process group that torchrun tells to end, and must outlast the workers:
    # what is blocked here stays so in the server.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def _imported() -> list[str]:
    """Modules that the server imports once, so that its workers need not: they take seconds."""
    spec = sys.modules["__main__"].__spec__
    return [__name__, "ultraslow.probes.runs.training.streaming", *([spec.name] if spec else [])]


def _apart(worker: int) -> None:
    """Workers end when they are told to themselves, or when their training process has ended."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_training, daemon=True).start()


def _end_with_training() -> None:
    """End this worker when its training process has ended, however it did.

    The worker's parent is the server, which lives as long as its workers do: a training that was
    killed would leave both behind.
    """
    training = multiprocessing.parent_process()
    if training is not None:
        training.join()
        os._exit(1)
