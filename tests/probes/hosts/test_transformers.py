import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from launches import torchrun

transformers = pytest.importorskip("transformers")

import loops  # noqa: E402
import texts  # noqa: E402
from transformers import TrainerCallback  # noqa: E402

from ultraslow.probes.hosts.transformers import TransformersRecorder  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (".*pin_memory. argument is set as true",)
]


def recorder(trainer, path, *, updates=loops.UPDATES, **more):
    return TransformersRecorder(trainer, path, **{**loops.options(updates), **more})


def fit(model, folder, path=None, *, callbacks=(), resumes=None, updates=loops.UPDATES, **more):
    torch.manual_seed(7)
    trainer = texts.trainer(model, folder, callbacks=[*callbacks], **more)
    if path:
        trainer.add_callback(recorder(trainer, path, updates=updates))
    trainer.train(resume_from_checkpoint=resumes)
    return trainer


@pytest.mark.parametrize("kind", [texts.Classifier, texts.language_model])
def test_a_training_by_transformers_is_recorded_as_a_plain_one(tmp_path, kind):
    recorded, plain = kind(), kind()
    fit(recorded, tmp_path, tmp_path / "host")
    texts.train(plain, tmp_path / "plain")
    loops.assert_same(tmp_path / "host", tmp_path / "plain")
    assert all(map(torch.equal, recorded.parameters(), plain.parameters()))


def test_a_training_is_bit_for_bit_what_it_is_without_probes(tmp_path):
    bare, recorded = (texts.language_model(dropout=0.1) for _ in range(2))
    fit(bare, tmp_path)
    fit(recorded, tmp_path, tmp_path / "host")
    assert all(map(torch.equal, bare.parameters(), recorded.parameters()))


def test_the_noise_of_an_update_whose_tokens_are_weighted_is_that_of_its_gradient(tmp_path):
    model = texts.language_model()
    each = 3
    batches = texts.dealt(texts.data(model), 0, 1)[:each]
    total = sum(map(texts.tokens, batches))
    weights = [*model.parameters()]
    parts = [
        torch.autograd.grad(model(**b, num_items_in_batch=torch.tensor(total))[0], weights)
        for b in batches
    ]
    shares = [texts.tokens(batch) / total for batch in batches]
    u = sum(share**2 for share in shares)
    single = sum(part.double().square().sum() for parts_of in parts for part in parts_of)
    whole = sum(sum(of).double().square().sum() for of in zip(*parts, strict=True))
    fit(model, tmp_path, tmp_path / "run")
    run = xr.load_dataset(tmp_path / "run.nc").isel(iteration=1)
    trace = float((single - u * whole) / (1 - u)) * 24
    assert float(run["noise_trace"].sum()) == pytest.approx(trace, rel=1e-5)
    gradient = float((whole - single) / (1 - u))
    assert float(run["gradient_sq"].sum()) == pytest.approx(gradient, rel=1e-5)


class Fails(TrainerCallback):
    """The training ends in an error at an update."""

    def __init__(self, at):
        self.at = at

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.at:
            raise OSError("gone")


def test_it_goes_on_from_the_checkpoint_of_transformers_bit_for_bit(tmp_path):
    whole, broken, resumed = (texts.language_model() for _ in range(3))
    fit(whole, tmp_path / "whole", tmp_path / "whole")
    saves = {"save_strategy": "epoch"}
    with pytest.raises(OSError, match="gone"):
        fit(broken, tmp_path, tmp_path / "broken", callbacks=[Fails(10)], **saves)
    assert not (tmp_path / "broken.nc").exists()
    checkpoint = tmp_path / "saved" / "checkpoint-7"
    assert (
        "ultraslow"
        in json.loads((checkpoint / "trainer_state.json").read_text())["stateful_callbacks"]
    )
    trainer = fit(resumed, tmp_path, tmp_path / "broken", resumes=str(checkpoint))
    assert all(map(torch.equal, whole.parameters(), resumed.parameters()))
    loops.assert_same(tmp_path / "broken", tmp_path / "whole", tolerance=0.0)
    assert not trainer.optimizer.optimizer._optimizer_step_post_hooks
    assert {"training_step", "_save_checkpoint"}.isdisjoint(vars(trainer))


def test_weights_of_the_best_checkpoint_are_none_of_the_trainings(tmp_path):
    class Worsens(transformers.Trainer):
        def evaluate(self, *_, **__):
            self.control = self.callback_handler.on_evaluate(
                self.args, self.state, self.control, {"eval_loss": self.state.global_step}
            )
            return {"eval_loss": float(self.state.global_step)}

    best = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
    model, last = texts.language_model(), texts.language_model()
    torch.manual_seed(7)
    trainer = texts.trainer(model, tmp_path, kind=Worsens, **best)
    trainer.add_callback(recorder(trainer, tmp_path / "best", schedule=[0, 3]))
    trainer.train()
    trainer = texts.trainer(last, tmp_path / "last")
    trainer.add_callback(recorder(trainer, tmp_path / "last", schedule=[0, 3]))
    trainer.train()
    assert not all(map(torch.equal, model.parameters(), last.parameters()))
    loops.assert_same(tmp_path / "best", tmp_path / "last", tolerance=0.0)


def test_a_training_that_begins_anew_with_smaller_batches_is_recorded_anew(tmp_path):
    class Large(texts.Classifier):
        def forward(self, inputs, labels):
            if len(inputs) > 7:
                raise RuntimeError("CUDA out of memory.")
            return super().forward(inputs, labels)

    fit(Large(), tmp_path, tmp_path / "run", auto_find_batch_size=True, max_steps=3, updates=3)
    run = xr.load_dataset(tmp_path / "run.nc")
    each = int(run["batch_size"]) // loops.ACCUMULATED
    assert each <= 7
    assert run["samples"].values.tolist() == [each * 3 * k for k in range(4)]


def test_a_loss_that_is_a_mean_of_its_own_is_declared_as_such(tmp_path):
    means = texts.language_model()

    def mean_loss(outputs, labels, num_items_in_batch=None):
        logits, targets = outputs.logits[:, :-1], labels[:, 1:]
        return torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets)

    def trainer_of(model, folder):
        trainer = texts.trainer(model, folder, average_tokens_across_devices=False)
        trainer.compute_loss_func = mean_loss
        trainer.loss_is_scaled_for_ga = False
        return trainer

    trainer = trainer_of(means, tmp_path)
    trainer.add_callback(recorder(trainer, tmp_path / "run"))
    trainer.train()
    run = xr.load_dataset(tmp_path / "run.nc")
    assert run["samples"].values[[1, 7]].tolist() == [24, loops.SAMPLES]
    assert float(run["loss"][1]) == pytest.approx(2.4, abs=0.2)


@pytest.mark.parametrize("told", [None, False])
def test_a_model_that_leaves_the_number_of_tokens_alone_is_found_out(tmp_path, told):
    trainer = texts.trainer(texts.Takes(), tmp_path, max_grad_norm=0.0)
    trainer.loss_is_scaled_for_ga = told
    trainer.add_callback(recorder(trainer, tmp_path / "run"))
    if told is None:
        with pytest.warns(RuntimeWarning, match="gradients are 3 times those of the mean loss"):
            trainer.train()
    else:
        trainer.train()
    fit(texts.Classifier(), tmp_path, tmp_path / "plain", max_grad_norm=0.0)
    assert_same_first_update(tmp_path / "run.nc", tmp_path / "plain.nc")


def assert_same_first_update(*paths):
    run, plain = map(xr.load_dataset, paths)
    for name in ("noise_trace", "gradient_sq", "loss", "samples"):
        np.testing.assert_allclose(run[name][1], plain[name][1], rtol=1e-5, err_msg=name)


def test_options_are_refused_before_the_training(tmp_path):
    trainer = texts.trainer(texts.Classifier(), tmp_path)
    with pytest.raises(TypeError, match="sede: not an option of us.attach here"):
        TransformersRecorder(trainer, tmp_path / "run", sede=3)


def test_a_checkpoint_without_a_recording_begins_one_and_says_so(tmp_path):
    fit(texts.Classifier(), tmp_path, save_strategy="epoch")
    checkpoint = str(tmp_path / "saved" / "checkpoint-7")
    with pytest.warns(RuntimeWarning, match="holds no state of it, so it begins at step 7"):
        fit(texts.Classifier(), tmp_path, tmp_path / "run", resumes=checkpoint, updates=7)
    assert xr.load_dataset(tmp_path / "run.nc")["iteration"][-1] == 7


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "ultraslow.probes.hosts.transformers")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'ultraslow\[transformers\]'"):
        importlib.import_module("ultraslow.probes.hosts.transformers")


def test_the_page_on_hosts_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = texts.trainer(texts.language_model(), tmp_path)
    exec(loops.example("huggingface"), {"trainer": trainer})
    run = xr.load_dataset("runs/llama-b24-s42.nc")
    assert (run["batch_size"], run["samples"][-1]) == (24, 2 * loops.SAMPLES)
    assert (run["seed"], run["data_size"]) == (42, loops.SAMPLES)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transformers")
    torchrun(Path(__file__).with_name("transformers_run.py"), folder)
    return folder


def test_two_processes_are_recorded_as_by_plain_loops(two):
    for kind in ("texts", "classes"):
        loops.assert_same(two / kind, two / f"{kind}-plain")
    assert_same_first_update(two / "takes.nc", two / "classes.nc")
    groups = {"group_learning_rate", "tensor_group", "clip_factor"}
    loops.assert_same(two / "sharded", two / "sharded-plain", but=groups, tolerance=1e-5)
    assert xr.load_dataset(two / "texts.nc")["batch_size"] == 2 * loops.EACH * loops.ACCUMULATED


def test_two_processes_train_as_without_probes_and_go_on_bit_for_bit(two):
    whole, bare = (torch.load(two / f"{name}.pt") for name in ("texts", "bare"))
    assert all(torch.equal(whole[name], bare[name]) for name in whole)
    loops.assert_same(two / "broken", two / "texts", tolerance=0.0)
