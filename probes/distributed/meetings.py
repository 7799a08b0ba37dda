"""Meetings: before a collective of the probes, all processes agree that all have come to it.

A collective that one process begins and another does not is the worst that the probes could do to
a training: it waits for ever, or it takes the numbers of another collective, which ends the
process (Gloo), or goes on with wrong ones. It happens where `close` or `state_dict` is called on
rank 0 alone, where processes make unequal numbers of updates, as with DDP's `join`, or where one
has met an exception. So before each, every process says, in the key-value store by which they met,
what it comes for. When all have said the same the collective begins; when one says something else,
has left, or does not come in time, none does, and all are told why.

What a process holds at the end it can also post there, without waiting for anybody.
"""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress

import torch.distributed as dist

from .processes import Processes
from .sigterm import Agreement

# Seconds that the others are waited for where a run begins, and where it ends.
_ATTACH, PATIENCE = 25.0, 20.0
# The same in the midst of training, where one of them may do something of its own for long, and
# the collectives of the training itself wait as well.
LONG = 1800.0
# Seconds after which it is said that one waits.
_NOTICE = 20.0
_GO = "go"
# Seconds between two looks: the first, and at most.
_POLL, _RARELY = 0.0005, 0.02
_PIECE = 1 << 20  # bytes of a value in the store; it refuses some that are larger than 8 MiB


class MissingError(RuntimeError):
    """Not all processes have come, or not for the same thing."""


class StoreGoneError(MissingError):
    """Nobody can be met: the store is gone, as where torchrun was killed and its processes go on.

    It is gone for all of them, so that they still do the same.
    """


class Meetings:
    """One process's part in the meetings of those that record one run."""

    def __init__(
        self,
        store: dist.Store,
        *,
        size: int,
        rank: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Have had no meeting yet.

        Arguments:
            store: seen by all processes, and used for nothing else.
            size: number of processes.
            rank: of this one among them.
            clock: tells seconds.
        """
        self.ended = ""  # why there are no more
        self.gone = ""  # why nobody can be met
        self._store = store
        self._size = size
        self._rank = rank
        self._clock = clock
        self._number = 0

    def agreement(self) -> Agreement:
        """The agreement of the same processes on an update to end after."""
        return Agreement(dist.PrefixStore("sigterm", self._store), size=self._size)

    def meet(
        self,
        what: str,
        *,
        patience: float = LONG,
        notice: Callable[[str], None] = lambda _: None,
        before_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Return when all processes have come to this.

        Arguments:
            what: they come for, in words that are the same on all.
            patience: seconds to wait for the others.
            notice: is told when that takes long.
            before_end: called by those that may end the meeting, before they do.

        Raises:
            StoreGoneError: where the store cannot be reached, now or at a meeting before.
            MissingError: on all processes, where one comes for something else, has left, or does
                not come in time; there are no more meetings then.
        """
        if self.gone:
            raise StoreGoneError(self.gone)
        end = self.ended
        if not end:
            try:
                end = self._end_of(what, patience, notice, before_end)
            except RuntimeError as error:
                self.gone = f"the store by which the processes met cannot be reached ({error})"
                raise StoreGoneError(self.gone) from None
        if end != _GO:
            self.ended = end
            raise MissingError(end)
        self._number += 1

    def leave(self, why: str) -> None:
        """Come to no more meetings; the others are told when they come to the next.

        Arguments:
            why: in words that follow "process 1".
        """
        if not self.ended:
            self.ended = f"process {self._rank} {why}"
            with suppress(RuntimeError):  # the store is gone
                self._decide(self.ended)

    def post(self, content: bytes) -> None:
        """Leave something for the others, at the end."""
        with suppress(RuntimeError):  # the store is gone, and the process that would read it
            pieces = range(0, len(content), _PIECE)
            for number, start in enumerate(pieces):
                name = f"part/{self._rank}/{number}"
                self._store.set(name, content[start : start + _PIECE])  # type: ignore[arg-type]
            self._store.set(f"part/{self._rank}", str(len(pieces)))

    def posted(self, *, patience: float) -> list[bytes | None]:
        """What all have left, in the order of their ranks; None of those that did not in time.

        Arguments:
            patience: seconds to wait for all together.
        """
        until = self._clock() + patience
        found: list[bytes | None] = []
        with suppress(RuntimeError):  # the store is gone
            for rank in range(self._size):
                found.append(self._part(rank, until))
        return found + [None] * (self._size - len(found))

    def _part(self, rank: int, until: float) -> bytes | None:
        while not self._store.check([f"part/{rank}"]):
            if self._clock() >= until:
                return None
            time.sleep(_RARELY)
        pieces = int(self._store.get(f"part/{rank}"))
        return b"".join(self._store.get(f"part/{rank}/{number}") for number in range(pieces))

    def _end_of(
        self,
        what: str,
        patience: float,
        notice: Callable[[str], None],
        before_end: Callable[[], None],
    ) -> str:
        """How the next meeting ends."""
        came = f"process {self._rank} came to {what}"
        first = self._value("first", came)
        if first.partition(" came to ")[2] != what:
            before_end()
            return self._decide(f"{came}, {first}")
        if self._store.add(self._key("count"), 1) == self._size:
            before_end()
            self._decide(_GO)
            self._forget(self._number - 1)  # nobody looks there any more
        began, pause = self._clock(), _POLL
        while not self._store.check([self._key("end")]):
            waited = self._clock() - began
            if waited >= patience:
                before_end()
                return self._decide(f"{self._came_to(what)} within {patience:g} s")
            if waited >= _NOTICE and notice is not _silence:
                notice(f"waits for others: {self._came_to(what)}, which all of them have to")
                notice = _silence
            time.sleep(pause)
            pause = min(2 * pause, _RARELY)
        return self._value("end", "")

    def _came_to(self, what: str) -> str:
        count = self._store.add(self._key("count"), 0)
        return f"{count} of {self._size} processes came to {what}"

    def _decide(self, end: str) -> str:
        """How the meeting ends: so, or as another process has decided a moment before."""
        return self._value("end", end)

    def _value(self, name: str, proposed: str) -> str:
        return bytes(self._store.compare_set(self._key(name), "", proposed)).decode()

    def _key(self, name: str) -> str:
        return f"{self._number}/{name}"

    def _forget(self, number: int) -> None:
        for name in ("first", "count", "end"):
            self._store.delete_key(f"{number}/{name}")


def _silence(_: str) -> None:
    """Say nothing more."""


def gather(processes: Processes, what: str, *, patience: float = _ATTACH) -> Meetings | None:
    """The meetings of processes that begin to record together, when all have come.

    Arguments:
        processes: this one among them.
        what: they are about to record, the same on all of them.
        patience: seconds to wait for the others.

    Returns:
        None for a process that trains alone.

    Raises:
        TimeoutError: where not all come to record the same; any of them may try again.
    """
    if processes.size == 1:
        return None
    named = hashlib.sha256(str(processes.ranks).encode()).hexdigest()[:16]
    store, next_turn = _turn(named)
    meetings = Meetings(store, size=processes.size, rank=processes.rank)
    try:
        meetings.meet(what, patience=patience, before_end=next_turn)
    except MissingError as error:
        raise TimeoutError(
            f"attach: {error}; attach on every process, at the same place of the program. Where "
            "one of them takes long to come there, call torch.distributed.barrier() before"
        ) from None
    return meetings


def said_by_all(
    what: str,
    words: str,
    *,
    patience: float = _ATTACH,
    notice: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """What all processes of the program say of one thing; of those that come to it in time.

    Arguments:
        what: they come for, the same on all.
        words: of this one.
        patience: seconds to wait for the others.
        notice: is told when that takes long.
    """
    size, rank = dist.get_world_size(), dist.get_rank()
    try:
        store, next_turn = _turn(what)
        store.set(f"words/{rank}", words)
        with suppress(MissingError):
            meetings = Meetings(store, size=size, rank=rank)
            meetings.meet(what, patience=patience, notice=notice, before_end=next_turn)
        keys = [f"words/{other}" for other in range(size)]
        return [bytes(store.get(key)).decode() for key in keys if store.check([key])]
    except RuntimeError:  # the store is gone
        return [words]


def _turn(name: str) -> tuple[dist.Store, Callable[[], None]]:
    """A store for one meeting of this name, and what has the next one begin anew.

    A process that comes when others have given up begins anew, as they do when they try again.
    """
    store = dist.PrefixStore(f"ultraslow {name}", dist.distributed_c10d._get_default_store())
    turn = bytes(store.compare_set("turn", "", "0")).decode()

    def next_turn() -> None:
        store.compare_set("turn", turn, str(int(turn) + 1))

    return dist.PrefixStore(turn, store), next_turn
