"""Ways to train in parallel that the probes cannot follow are refused by name."""

import numpy as np
import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.pipelining import PipelineStage
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.nn.parallel import DataParallel, DistributedDataParallel

from ultraslow import probes
from ultraslow.diffusion.recording import read_file
from ultraslow.probes.distributed.processes import parameter_names


@pytest.fixture
def process_group(tmp_path):
    store = f"file://{tmp_path}/store"
    torch.distributed.init_process_group("gloo", store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def network():
    torch.manual_seed(2)
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))


def attach(model, path, optimizer=None, **options):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
    return probes.attach(model, optimizer, path, batch_size=4, quiet=True, **options)


@pytest.mark.usefixtures("process_group")
@pytest.mark.filterwarnings("ignore:FSDP is switching to use")
@pytest.mark.parametrize("given", ["whole", "inner", "part"])
def test_fsdp1(tmp_path, given):
    inner = network()
    wrapped = FullyShardedDataParallel(inner, device_id=torch.device("cpu"), use_orig_params=True)
    model = {"whole": wrapped, "inner": inner, "part": torch.nn.Sequential(wrapped)}[given]
    with pytest.raises(ValueError, match=r"FSDP1.*with torch.distributed.fsdp.fully_shard \(FSDP"):
        attach(model, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("process_group")
def test_tensor_parallelism(tmp_path):
    mesh = init_device_mesh("cpu", (1,), mesh_dim_names=("tp",))
    model = parallelize_module(network(), mesh, {"0": ColwiseParallel()})
    with pytest.raises(
        ValueError, match=r"tensor parallelism: 0.weight .* over the mesh .*'tp': 1"
    ):
        attach(model, tmp_path / "run")


@pytest.mark.usefixtures("process_group")
def test_tensor_parallelism_beside_fully_shard(tmp_path):
    mesh = init_device_mesh("cpu", (1, 1), mesh_dim_names=("dp", "tp"))
    model = parallelize_module(network(), mesh["tp"], {"0": ColwiseParallel()})
    fully_shard(model, mesh=mesh["dp"])
    with pytest.raises(ValueError, match=r"tensor parallelism: 0.weight .*'tp': 1"):
        attach(model, tmp_path / "run")


@pytest.mark.usefixtures("process_group")
def test_weights_distributed_by_hand(tmp_path):
    mesh = init_device_mesh("cpu", (1,))
    model = torch.nn.Linear(4, 1)
    for name in ("weight", "bias"):
        part = DTensor.from_local(getattr(model, name).detach(), mesh, [Replicate()])
        setattr(model, name, torch.nn.Parameter(part))
    with pytest.raises(ValueError, match="and not by fully_shard alone"):
        attach(model, tmp_path / "run")


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_fully_shard_alone_is_followed(tmp_path, shape):
    names = ("replicate", "shard")[-len(shape) :]
    model = fully_shard(network(), mesh=init_device_mesh("cpu", shape, mesh_dim_names=names))
    assert any(isinstance(place, Shard) for place in next(model.parameters()).placements)
    attach(model, tmp_path / "run").close()


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("wrap", [lambda model: model, DistributedDataParallel])
def test_a_stage_of_a_pipeline(tmp_path, wrap):
    model = wrap(network())
    stage = PipelineStage(model, 0, 1, torch.device("cpu"))
    with pytest.raises(ValueError, match="a stage of a pipeline"):
        attach(model, tmp_path / "run")
    del stage


def kind(name, module, base):
    return type(name, (base,), {"__module__": module})


@pytest.mark.parametrize(
    ("module", "name", "library"),
    [
        ("deepspeed.runtime.zero.stage_1_and_2", "DeepSpeedZeroOptimizer", "DeepSpeed"),
        ("megatron.core.optimizer.distrib_optimizer", "DistributedOptimizer", "Megatron"),
        ("horovod.torch.optimizer", "SGD", "Horovod"),
        ("apex.contrib.optimizers.distributed_fused_adam", "DistributedFusedAdam", "Apex"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_optimizers_of_other_libraries(tmp_path, module, name, library, wrapped):
    model = network()
    optimizer = kind(name, module, torch.optim.SGD)(model.parameters(), lr=0.1)
    if wrapped:  # as Accelerate and Lightning do
        outer = kind("Wrapper", "accelerate.utils.deepspeed", object)()
        outer.optimizer = optimizer
        optimizer = outer
    with pytest.raises(ValueError, match=f"optimizer: found {name} of {library}, .*fully_shard"):
        attach(model, tmp_path / "run", optimizer)


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("deepspeed.runtime.engine", "DeepSpeed"),
        ("megatron.core.distributed.distributed_data_parallel", "Megatron"),
        ("apex.parallel.distributed", "Apex"),
        ("fairscale.nn.data_parallel.fully_sharded_data_parallel", "FairScale"),
    ],
)
def test_models_of_other_libraries(tmp_path, module, library):
    model = kind("Wrapper", module, torch.nn.Sequential)(network())
    with pytest.raises(ValueError, match=f"model: found Wrapper of {library}, "):
        attach(torch.nn.Sequential(model), tmp_path / "run")


def test_weights_that_megatron_has_cut(tmp_path):
    model = network()
    model[0].weight.tensor_model_parallel = True
    with pytest.raises(ValueError, match="tensor parallelism as Megatron makes it"):
        attach(model, tmp_path / "run")


def trained(model, optimizer, recorder, updates=6):
    generator = torch.Generator().manual_seed(4)
    with recorder:
        for _ in range(updates):
            for _ in range(2):
                (model(torch.randn(2, 4, generator=generator)).square().mean() / 2).backward()
            optimizer.step()
            optimizer.zero_grad()
    return read_file(recorder.close())[0]


def test_data_parallel_records_what_the_bare_model_does_under_the_same_names(tmp_path):
    """A pass over all its devices is one unit, as its gradients arrive in one place."""
    found = []
    for name, wrap in (("bare", lambda model: model), ("wrapped", DataParallel)):
        model = wrap(network())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        found.append(trained(model, optimizer, attach(model, tmp_path / name, optimizer)))
    assert list(parameter_names(DataParallel(network()))) == list(parameter_names(network()))
    for field in ("distance_sq", "noise_trace", "tensor"):
        np.testing.assert_array_equal(found[0][field], found[1][field])
    assert found[1]["units"].values[-1] == 2


@pytest.mark.usefixtures("process_group")
def test_zero_redundancy_optimizer_is_followed(tmp_path):
    found = []
    for name in ("plain", "zero"):
        model = DistributedDataParallel(network())
        if name == "zero":
            optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.SGD, lr=0.1)
        else:
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        found.append(trained(model, optimizer, attach(model, tmp_path / name, optimizer)))
    assert found[0].sizes["iteration"] == found[1].sizes["iteration"] == 7
    for field in ("distance_sq", "noise_trace", "learning_rate_sum"):
        np.testing.assert_array_equal(found[0][field], found[1][field])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (True, "before torch.distributed.init_process_group"),
        ("world", "before torch.distributed.init_process_group"),
    ],
)
def test_processes_that_have_not_met(tmp_path, given, why):
    with pytest.raises(ValueError, match=f"processes: found {given} {why}"):
        attach(network(), tmp_path / "run", processes=given)


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize(
    ("wrap", "given", "why"),
    [
        (DistributedDataParallel, True, "leave processes out"),
        (fully_shard, True, "leave processes out"),
        (lambda model: model, "world", "expected a process group"),
    ],
)
def test_processes_that_cannot_be_meant(tmp_path, wrap, given, why):
    with pytest.raises(ValueError, match=f"processes: found .*{why}"):
        attach(wrap(network()), tmp_path / "run", processes=given)
