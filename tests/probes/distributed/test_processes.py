import pytest
import torch
from launches import torchrun

from ultraslow.probes.distributed.processes import (
    Processes,
    fail_together,
    parameter_names,
    processes_of,
    unwrapped,
    was_wrapped,
    within_wrapper,
)


def test_a_plain_module_trains_alone():
    assert processes_of(torch.nn.Linear(1, 1)) == Processes(1, 0, (), 1)
    assert Processes().add(torch.ones(2)).tolist() == [1, 1]


def test_names_are_those_of_the_unwrapped_model():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model[1].weight = model[0].weight  # shared: named and counted once
    plain = list(parameter_names(model))
    assert plain == ["0.weight", "0.bias", "1.bias"]
    assert list(parameter_names(torch.compile(model))) == plain


@pytest.fixture
def process_group(tmp_path):
    store = f"file://{tmp_path}/store"
    torch.distributed.init_process_group("gloo", store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_a_wrapper_is_found_within_torch_compile():
    plain = torch.nn.Linear(2, 1)
    wrapper = torch.nn.parallel.DistributedDataParallel(plain)
    compiled = torch.compile(wrapper)
    assert len(processes_of(compiled).groups) == 1
    assert list(parameter_names(compiled)) == ["weight", "bias"]
    assert unwrapped(compiled) is plain
    assert within_wrapper(plain)
    assert not within_wrapper(wrapper)
    assert not within_wrapper(compiled)


def test_freezing_is_no_wrapping():
    model = torch.nn.Linear(2, 1)
    known = list(model.parameters())
    model.bias.requires_grad_(False)
    assert not was_wrapped(model, known)
    model.weight = torch.nn.Parameter(torch.ones(1, 2))
    assert was_wrapped(model, known)


def test_a_process_that_leaves_does_not_shut_its_interpreter_down(tmp_path):
    script = tmp_path / "leave_run.py"
    script.write_text(
        "import atexit, os, sys\n"
        "import torch.distributed as dist\n"
        "from ultraslow.probes.distributed.processes import leave\n"
        "dist.init_process_group('gloo')\n"
        "atexit.register(os.abort)  # as a thread of Gloo's that drops a tensor too late\n"
        "sys.stdout.write(f'{dist.get_rank()} leaves\\n')\n"
        "leave()\n"
        "print('not reached')\n"
    )
    assert sorted(torchrun(script).split("\n")) == ["", "0 leaves", "1 leaves"]


class Others:
    """Processes of which others have failed, as a sum over them tells."""

    def __init__(self, failures):
        self._failures = failures

    def add(self, values):
        return values + self._failures


@pytest.mark.parametrize("failures", [0, 3])
def test_where_one_process_fails_all_do(failures):
    def fail():
        raise KeyError("here")

    options = {"device": torch.device("cpu"), "elsewhere": lambda: OSError("elsewhere")}
    with pytest.raises(KeyError, match="here"):
        fail_together(Others(failures), fail, **options)
    if failures:
        with pytest.raises(OSError, match="elsewhere"):
            fail_together(Others(failures), lambda: 1, **options)
    else:
        assert fail_together(Others(failures), lambda: 1, **options) == 1
