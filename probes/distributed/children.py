r"""Processes under torchrun that end with whoever started them, and are not waited for for ever.

The starter holds one end of a pipe, the standard input of torchrun. However the starter ends, by
SIGKILL too, its end is closed and torchrun reads the end of the file: it tells its processes to
end, and kills those that have not after half a minute. Run as a module this file is that torchrun:

    python -m ultraslow.probes.distributed.children --nproc-per-node 2 \
        -m ultraslow.probes.runs.training.train runs.json
"""

import faulthandler
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

# Seconds without a word after which processes count as hung. They say something after every
# update; what may take longest is the landscape of a large network on the host.
SILENCE = 3600.0
# Seconds that processes have to keep their state and end after they were asked to: an update of a
# large batch must end first. torchrun itself waits for 30 before it kills them.
PATIENCE = 40.0
# Seconds that a process whose torchrun was killed has to end by itself.
_ORPHANED = 30.0
# Seconds to wait for the end of the output after torchrun ended: what is left of its processes may
# hold the pipe.
_LINGERING = 10.0
_LOOK = 0.5  # seconds


class SilenceError(TimeoutError):
    """Processes that said nothing for too long."""


@contextmanager
def torchrun(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    stderr: IO[str] | int | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """A torchrun on this machine, which is gone when the context is left.

    Arguments:
        arguments: of torchrun: number of processes, module and its arguments.
        environment: of the processes.
        stderr: where their standard error goes.
    """
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "ultraslow.probes.distributed.children",
            "--standalone",
            *arguments,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
        # Ctrl-C in a terminal reaches every process of the session. It is for this one alone,
        # which asks the others to end in good order.
        start_new_session=True,
    )
    try:
        yield process
    except BaseException:
        process.send_signal(signal.SIGTERM)
        raise
    finally:
        _wait(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def lines(process: "subprocess.Popen[bytes]", *, silence: float = SILENCE) -> Iterator[str]:
    """The lines that processes write, as they come, until all have ended.

    Arguments:
        process: of `torchrun`.
        silence: seconds to wait for the next one.

    Raises:
        SilenceError: when nothing came in that time and torchrun is still there.
    """
    assert process.stdout is not None
    pipe, rest, since, ended = process.stdout.fileno(), b"", time.monotonic(), False
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if selector.select(_LOOK):
                read = os.read(pipe, 2**16)
                if not read:
                    break
                *whole, rest = (rest + read).split(b"\n")
                yield from (line.decode(errors="replace") + "\n" for line in whole)
                since = time.monotonic()
            elif process.poll() is None:
                _refuse_silence(time.monotonic() - since, silence)
            elif not ended:
                ended, since = True, time.monotonic()
            elif time.monotonic() - since > _LINGERING:
                break
    if rest:
        yield rest.decode(errors="replace")


def _refuse_silence(passed: float, silence: float) -> None:
    if passed > silence:
        raise SilenceError(
            f"the processes under torchrun said nothing for {silence:g} s, so one hangs or waits "
            "for another; where each stood is in the stacks that they wrote when they were ended"
        )


def _wait(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(PATIENCE)


def end_with_torchrun() -> None:
    """Have this process, one of torchrun's, end when torchrun does.

    Who is told to end by SIGTERM writes the stacks of all threads on standard error first, and
    then does what it does in any case. Where torchrun itself was killed there is nobody to kill a
    process that hangs, so it does that itself after half a minute.
    """
    # Called from C, also where the main thread hangs in a library and runs no handler of Python.
    faulthandler.register(signal.SIGTERM, chain=True)
    threading.Thread(target=_outlive_no_parent, args=(os.getppid(),), daemon=True).start()


def _outlive_no_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    faulthandler.dump_traceback_later(_ORPHANED, exit=True)


def _end_with_starter() -> None:
    """Read the pipe to its end, which comes with the end of the starter; then end."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os.kill(os.getpid(), signal.SIGKILL)


def be_torchrun() -> None:
    """Be a torchrun that ends with its starter.

    Slurm's warning that a job is about to end, SIGUSR1 or SIGUSR2, reaches every process of it. It
    is for the starter alone; from here it is ignored by all that are started.
    """
    for warning in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(warning, signal.SIG_IGN)
    threading.Thread(target=_end_with_starter, daemon=True).start()
    from torch.distributed.run import main as run

    run(sys.argv[1:])


if __name__ == "__main__":
    be_torchrun()
