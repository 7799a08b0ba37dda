import importlib
import sys
from pathlib import Path

import pytest
import torch
import xarray as xr
from launches import torchrun

pl = pytest.importorskip("lightning.pytorch")

import loops  # noqa: E402
from lightning.pytorch.callbacks import Callback, ModelCheckpoint  # noqa: E402

from ultraslow.probes.hosts.lightning import LightningRecorder  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        ".*isinstance.treespec, LeafSpec.:FutureWarning",
        ".*isinstance.treespec, LeafSpec.:DeprecationWarning",
        ".*does not have many workers",
        ".*You called `self.log",
        "Checkpoint directory .* exists and is not empty",
        "Starting from v1.9.0, .tensorboardX",
        "The number of training batches",
        "Be aware that when using .ckpt_path.",
    )
]


class Module(pl.LightningModule):
    """The network of the plain loop; at a batch of all it may fail."""

    def __init__(self, *, dropout=0.1, fails_at=None):
        super().__init__()
        self.net = loops.network(dropout)
        self.left = fails_at

    def training_step(self, batch, index):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise OSError("gone")
        return loops.loss_of(self.net, batch)

    def configure_optimizers(self):
        return loops.optimizer_of(self)


class Plain(torch.nn.Module):
    """Parameters with the names that they have in the module of Lightning."""

    def __init__(self, dropout=0.1):
        super().__init__()
        self.net = loops.network(dropout)

    def forward(self, inputs):
        return self.net(inputs)


def trainer(folder, callbacks, *, epochs=2, kind=pl.Trainer, **more):
    given = {
        "accelerator": "cpu",
        "max_epochs": epochs,
        "accumulate_grad_batches": loops.ACCUMULATED,
        "gradient_clip_val": loops.CLIP,
        "enable_checkpointing": any(isinstance(one, ModelCheckpoint) for one in callbacks),
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return kind(callbacks=callbacks, default_root_dir=folder, **{**given, **more})


def fit(module, folder, callbacks=(), *, checkpoint=None, **more):
    torch.manual_seed(7)
    trains = trainer(folder, [*callbacks], **more)
    trains.fit(module, loops.loader(), ckpt_path=checkpoint)
    return trains


def recorder(path, *, updates=loops.UPDATES, **more):
    return LightningRecorder(path, **{**loops.options(updates), **more})


def test_a_training_by_lightning_is_recorded_as_a_plain_one(tmp_path):
    bare, recorded = Module(), Module()
    fit(bare, tmp_path)
    fit(recorded, tmp_path, [recorder(tmp_path / "host")])
    plain = loops.train(Plain(), tmp_path / "plain")
    loops.assert_same(tmp_path / "host", tmp_path / "plain")
    for model in (recorded, plain):
        assert all(map(torch.equal, bare.parameters(), model.parameters()))


def test_it_goes_on_from_the_checkpoint_of_lightning_bit_for_bit(tmp_path):
    whole, broken, resumed = (Module(dropout=0.0, fails_at=at) for at in (None, 30, None))
    fit(whole, tmp_path, [recorder(tmp_path / "whole")])
    saves = ModelCheckpoint(tmp_path, filename="saved")
    with pytest.raises(OSError, match="gone"):
        fit(broken, tmp_path, [recorder(tmp_path / "broken"), saves])
    assert not broken.optimizers(use_pl_optimizer=False)._optimizer_step_post_hooks
    assert not (tmp_path / "broken.nc").exists()
    going = recorder(tmp_path / "broken")
    fit(resumed, tmp_path, [going], checkpoint=tmp_path / "saved.ckpt")
    assert all(map(torch.equal, whole.parameters(), resumed.parameters()))
    loops.assert_same(tmp_path / "broken", tmp_path / "whole", tolerance=0.0)
    assert "resumed" in xr.load_dataset(tmp_path / "broken.nc").attrs


def test_a_checkpoint_saved_after_the_training_goes_on(tmp_path):
    whole, part = Module(dropout=0.0), Module(dropout=0.0)
    fit(whole, tmp_path, [recorder(tmp_path / "whole")])
    trained = fit(part, tmp_path, [recorder(tmp_path / "part", updates=7)], epochs=1)
    trained.save_checkpoint(tmp_path / "end.ckpt")
    fit(part, tmp_path, [recorder(tmp_path / "part")], checkpoint=tmp_path / "end.ckpt")
    loops.assert_same(tmp_path / "part", tmp_path / "whole", tolerance=0.0)


def test_weights_that_a_callback_changes_at_the_end_are_none_of_the_trainings(tmp_path):
    class Averages(Callback):
        def on_train_end(self, trainer, pl_module):
            for parameter in pl_module.parameters():
                parameter.data.zero_()

    averaged = Module(dropout=0.0)
    last = {"schedule": [0, 3]}
    fit(averaged, tmp_path, [Averages(), recorder(tmp_path / "averaged", **last)])
    fit(Module(dropout=0.0), tmp_path, [recorder(tmp_path / "plain", **last)])
    loops.assert_same(tmp_path / "averaged", tmp_path / "plain", tolerance=0.0)


def test_a_short_last_batch_and_what_is_known_of_the_run(tmp_path):
    data = torch.utils.data.Subset(loops.data(), range(20))
    shuffled = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
    pl.seed_everything(4, verbose=False)
    one = recorder(tmp_path / "run", updates=2, metadata={"data": "toy"})
    with pytest.warns(RuntimeWarning, match="is 24, but no update held more than 20 samples"):
        trainer(tmp_path, [one]).fit(Module(), shuffled)
    run = xr.load_dataset(tmp_path / "run.nc")
    assert run["samples"].values.tolist() == [0, 20, 40]
    assert run["batch_size"] == 24
    assert (run["seed"], run["data_size"], run["data"]) == (4, 20, "toy")


def test_the_trainer_of_the_older_package_serves(tmp_path):
    older = pytest.importorskip("pytorch_lightning")

    class Old(older.LightningModule):
        __init__ = Module.__init__
        training_step = Module.training_step
        configure_optimizers = Module.configure_optimizers

    Old.__init__ = lambda self: (older.LightningModule.__init__(self), None)[1]
    module = Old()
    module.net, module.left = loops.network(), None
    fit(module, tmp_path, [recorder(tmp_path / "host")], kind=older.Trainer)
    loops.train(Plain(), tmp_path / "plain")
    loops.assert_same(tmp_path / "host", tmp_path / "plain")


def test_manual_optimization_is_recorded_with_the_loss_that_the_step_returns(tmp_path):
    class Manual(Module):
        automatic_optimization = False

        def training_step(self, batch, index):
            halves = [tuple(part[start::2] for part in batch) for start in range(2)]
            losses = [loops.loss_of(self.net, half) for half in halves]
            for loss in losses:
                self.manual_backward(loss / 2)
            self.optimizers().step()
            self.optimizers().zero_grad()
            return sum(losses) / 2

    manual = {"accumulate_grad_batches": 1, "gradient_clip_val": None}
    data = torch.utils.data.Subset(loops.data(), range(32))
    one = recorder(tmp_path / "run", updates=4)
    module = Manual(dropout=0.0)
    start = module.net
    whole = loops.loss_of(start, data[:8]).item()
    trainer(tmp_path, [one], epochs=1, **manual).fit(
        module, torch.utils.data.DataLoader(data, batch_size=8)
    )
    run = xr.load_dataset(tmp_path / "run.nc")
    assert run["units"].values[1:].tolist() == [2] * 4
    assert run["loss"].values[1] == pytest.approx(whole)
    assert run["samples"].values.tolist() == [0, 8, 16, 24, 32]


def test_scaled_losses_are_unscaled(tmp_path):
    from lightning.pytorch.plugins import MixedPrecision

    scaled = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))
    fit(Module(), tmp_path, [recorder(tmp_path / "run")], plugins=[scaled])
    fit(Module(), tmp_path, [recorder(tmp_path / "plain")])
    run, plain = (xr.load_dataset(tmp_path / f"{name}.nc") for name in ("run", "plain"))
    assert (run["loss_scale"].values[1:] == 1024).all()
    traces = [one["noise_trace"].sum("tensor").values[1:] for one in (run, plain)]
    assert traces[0] == pytest.approx(traces[1], rel=0.05)


def test_nothing_is_recorded_of_a_trial(tmp_path):
    fit(Module(), tmp_path, [LightningRecorder(tmp_path / "run")], fast_dev_run=True)
    assert not list(tmp_path.glob("run*"))


def test_options_are_refused_before_the_training(tmp_path):
    with pytest.raises(TypeError, match="sede: not an option of us.attach here"):
        LightningRecorder(tmp_path / "run", sede=3)
    with pytest.raises(TypeError, match="scaler: not an option"):
        LightningRecorder(tmp_path / "run", scaler=None)


def test_batches_whose_samples_are_not_their_first_dimension_are_asked_for(tmp_path):
    class Columns(Module):
        def training_step(self, batch, index):
            return loops.loss_of(self.net, (batch["x"].T, batch["y"]))

    def columns(rows):
        inputs, targets = zip(*rows, strict=True)
        return {"x": torch.stack(inputs, 1), "y": torch.stack(targets)}

    loader = torch.utils.data.DataLoader(loops.data(), batch_size=8, collate_fn=columns)
    with pytest.raises(ValueError, match="samples: .* has 6 rows, but the loader makes .* 8"):
        trainer(tmp_path, [LightningRecorder(tmp_path / "run")]).fit(Columns(), loader)
    one = recorder(tmp_path / "run", updates=7, samples=lambda batch: len(batch["y"]))
    trainer(tmp_path, [one], epochs=1).fit(Columns(), loader)
    assert xr.load_dataset(tmp_path / "run.nc")["samples"][-1] == loops.SAMPLES


def test_a_checkpoint_without_a_recording_begins_one_and_says_so(tmp_path):
    fit(Module(), tmp_path, [ModelCheckpoint(tmp_path, filename="saved")], epochs=1)
    with pytest.warns(RuntimeWarning, match="holds no state of it, so it begins at step 7"):
        later = recorder(tmp_path / "r", updates=7)
        fit(Module(), tmp_path, [later], checkpoint=tmp_path / "saved.ckpt")
    assert xr.load_dataset(tmp_path / "r.nc")["iteration"][-1] == 7


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "ultraslow.probes.hosts.lightning")
    for name in ("lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'ultraslow\[lightning\]'"):
        importlib.import_module("ultraslow.probes.hosts.lightning")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lightning")
    torchrun(Path(__file__).with_name("lightning_run.py"), folder)
    return folder


def test_two_processes_are_recorded_as_by_plain_loops(two):
    for kind in ("ddp", "sharded"):
        loops.assert_same(two / kind, two / f"{kind}-plain")
    assert xr.load_dataset(two / "ddp.nc")["batch_size"] == 2 * loops.EACH * loops.ACCUMULATED


def test_two_processes_train_as_without_probes_and_go_on_bit_for_bit(two):
    whole, bare = (torch.load(two / f"{name}.pt") for name in ("ddp", "ddp-bare"))
    assert whole.keys() == bare.keys()
    assert all(torch.equal(whole[name], bare[name]) for name in whole)
    loops.assert_same(two / "ddp-broken", two / "ddp", tolerance=0.0)


def test_the_page_on_hosts_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loader = torch.utils.data.DataLoader(loops.data(), batch_size=8)
    exec(loops.example("lightning"), {"module": Module(), "loader": loader})
    run = xr.load_dataset("runs/r50-b256-s0.nc")
    assert (run["batch_size"], run["samples"][-1]) == (32, 2 * loops.SAMPLES)
