import threading
import time
from itertools import count

import pytest
import torch.distributed as dist

from probes.agreement import Agreement


class Told:
    """Processes in lockstep, as threads: no update ends before all have begun it."""

    def __init__(self, told, *, stop_after=40, patience=1e9):
        """Tell process k in its update told[k]; never where that is None."""
        store = dist.HashStore()
        self.outcomes = [None] * len(told)
        self.barrier = threading.Barrier(len(told))
        self.threads = [
            threading.Thread(target=self.train, args=(rank, at, store, stop_after, patience))
            for rank, at in enumerate(told)
        ]
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join(60)

    def train(self, rank, at, store, stop_after, patience):
        ticks = count()
        agreement = Agreement(
            store, size=len(self.outcomes), patience=patience, clock=lambda: next(ticks)
        )
        try:
            for iteration in range(1, stop_after):
                self.barrier.wait(60)  # the gradients of all
                if iteration == at:
                    agreement.tell()
                closes = agreement.closes(iteration)
                if closes is not None:
                    self.outcomes[rank] = (closes, iteration)
                    return
        except threading.BrokenBarrierError:
            return
        finally:
            if self.outcomes[rank] != (True, iteration):
                self.barrier.abort()


@pytest.mark.parametrize("told", [[5, 5, 5], [3, 9, 4], [1, 1, 7], [8, 2, 2, 6, 2]])
def test_all_close_after_the_same_update_soon_after_the_last_was_told(told):
    for _ in range(20):  # threads race in another way each time
        outcomes = Told(told).outcomes
        assert len(set(outcomes)) == 1, outcomes
        closes, iteration = outcomes[0]
        assert closes
        assert max(told) <= iteration <= max(told) + 3


def test_when_one_is_never_told_none_closes():
    outcomes = Told([4, None, 4], patience=12).outcomes
    assert not any(outcome and outcome[0] for outcome in outcomes)
    assert any(outcome for outcome in outcomes)


def test_what_was_decided_stays_decided():
    """One gives up at the moment at which the last one is told."""
    store, now = dist.HashStore(), [0.0]
    first, second = (
        Agreement(store, size=2, patience=10.0, clock=lambda: now[0]) for _ in range(2)
    )
    first.tell()
    assert first.closes(7) is None
    now[0] = 10.0
    assert first.closes(8) is False
    second.tell()
    assert second.closes(8) is False


def test_nothing_is_asked_before_a_process_is_told():
    agreement = Agreement(None, size=2)
    assert agreement.closes(1) is None
    assert not agreement.overdue


def test_without_a_store_there_is_no_agreement(tmp_path):
    class Gone:
        def add(self, key, amount):
            raise dist.DistStoreError("connection was closed")

    agreement = Agreement(Gone(), size=2)
    agreement.tell()
    assert agreement.closes(1) is False


def test_none_parts_before_all_have_closed():
    store, closed = dist.HashStore(), []

    def close(seconds):
        time.sleep(seconds)
        closed.append(seconds)
        Agreement(store, size=3).part()
        assert len(closed) == 3
        parted.append(seconds)

    parted = []
    threads = [threading.Thread(target=close, args=(seconds,)) for seconds in (0.0, 0.05, 0.3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(parted) == 3


def test_patience_with_the_others_ends():
    ticks = count()
    Agreement(dist.HashStore(), size=2, patience=5, clock=lambda: next(ticks)).part()
    assert next(ticks) < 10
