import gc
import threading

import torch
from torch.optim import optimizer as torch_optimizer

from ultraslow.probes.steps.hearing import after_steps, before_steps, listening


class Listener:
    def __init__(self):
        self.heard = []

    def before(self, optimizer):
        self.heard.append(("before", optimizer))

    def after(self, optimizer):
        self.heard.append(("after", optimizer))


def problem():
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    return torch.optim.SGD([weight], lr=0.1)


def test_steps_of_any_optimizer_are_heard_until_told_otherwise():
    listener, optimizer = Listener(), problem()
    handles = [before_steps(listener.before), after_steps(listener.after)]
    assert listener in listening()
    optimizer.step()
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert listener.heard == [("before", optimizer), ("after", optimizer)]
    assert listener not in listening()


def test_torch_is_told_once():
    before_steps(Listener().before)
    count = len(torch_optimizer._global_optimizer_pre_hooks)
    for _ in range(3):
        before_steps(Listener().before)
    assert len(torch_optimizer._global_optimizer_pre_hooks) == count


def test_listeners_are_not_kept_alive():
    listener = Listener()
    before_steps(listener.before)
    del listener
    gc.collect()
    problem().step()
    assert not any(isinstance(one, Listener) for one in listening())


def test_who_begins_to_listen_stops_no_step_of_another_thread():
    """A hook added to the table that a step loops over would raise in that step."""
    optimizer, done, faults = problem(), threading.Event(), []

    def train():
        try:
            while not done.is_set():
                optimizer.step()
        except RuntimeError as error:
            faults.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    for _ in range(200):
        listener = Listener()
        before_steps(listener.before).remove()
        after_steps(listener.after).remove()
    done.set()
    thread.join(20)
    assert not faults
