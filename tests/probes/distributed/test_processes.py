import pytest
import torch
import xarray as xr
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


def test_an_evaluation_before_attaching_leaves_no_trace(tmp_path):
    """A forward pass of `fully_shard` leaves gathered parameters, which no optimizer has."""
    script = tmp_path / "evaluated_run.py"
    script.write_text(EVALUATED)
    torchrun(script, tmp_path)
    (moved,) = torch.load(tmp_path / "moved.pt")
    found = xr.load_dataset(tmp_path / "trained.nc")["distance_sq"].sum("tensor")
    assert float(found[-1]) == pytest.approx(moved, rel=1e-5)
    assert float(found[0]) == 0.0
    assert xr.load_dataset(tmp_path / "untrained.nc")["iteration"].values.tolist() == [0]


EVALUATED = """
import sys
import warnings
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
import ultraslow as us
from ultraslow.probes.distributed.processes import leave

warnings.filterwarnings("error", category=RuntimeWarning)
dist.init_process_group("gloo")
torch.manual_seed(5)
mesh = init_device_mesh("cpu", (2,))
model = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.Linear(3, 1))
fully_shard(model[0], mesh=mesh)
fully_shard(model, mesh=mesh)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

def evaluate():
    with torch.no_grad():
        model(torch.randn(4, 5))

def step():
    model(torch.randn(4, 5)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()

def step_and_evaluate():
    step()
    evaluate()

evaluate()
found = us.verify(step_and_evaluate, model, optimizer, batch_size=8, quiet=True)
assert found.passed and "outside" not in found.sentence, found
before = [p.detach().full_tensor() for p in model.parameters()]
evaluate()
with us.attach(model, optimizer, f"{sys.argv[1]}/untrained", batch_size=8):
    evaluate()
with us.attach(model, optimizer, f"{sys.argv[1]}/trained", batch_size=8):
    for _ in range(3):
        step()
        evaluate()
model[0].reshard(), model.reshard()
after = [p.detach().full_tensor() for p in model.parameters()]
if dist.get_rank() == 0:
    squares = [float((x - y).square().sum()) for x, y in zip(before, after)]
    torch.save([sum(squares)], f"{sys.argv[1]}/moved.pt")
leave()
"""


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
