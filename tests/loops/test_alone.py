"""Programs in the style of real ones, on one process: what is recorded is right, and nothing else
changes."""

import numpy as np
import pytest
import torch
from independent import Independent
from programs import (
    added,
    assert_right,
    both,
    in_steps,
    recording,
    run,
    source,
    weights,
    without_probes,
)

import ultraslow as us

# Programs, and what their recorders warn of.
ALONE = {
    "gan": "",
    "sam": "",
    "lora": "",
    "ema": "",
    "checkpointing": "",
    "compiled": "",
    "curriculum": "",
    "early_stopping": "the schedule of evaluation goes beyond the last iteration",
    "mixed_precision": "",
}


@pytest.mark.parametrize("name", ALONE)
def test_a_program_is_recorded_rightly_and_trains_as_before(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    truth = Independent()
    names, same, told = both(f"alone/{name}", truth)
    assert len(truth.updates) == names["updates"]
    assert_right(truth.compare(recording(truth.path)))
    assert same
    assert len(told) == bool(ALONE[name]), told
    assert all(ALONE[name] in one for one in told)


@pytest.mark.parametrize("name", ALONE)
def test_a_program_verifies_itself(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    step, given, options = in_steps(source(f"alone/{name}"), f"alone/{name}")
    before = [value.clone() for value in given[0].state_dict().values()]
    found = us.verify(step, *given, **options)
    assert found.passed, found
    digits = {row.quantity: row.digits for row in found.rows}
    assert digits["‖w − w₀‖²"] >= 6
    assert digits["tr Σ"] >= 5
    assert all(map(torch.equal, before, given[0].state_dict().values()))


@pytest.mark.parametrize("clips", [True, False])
def test_gradients_divided_by_their_tokens_are_right_or_left_out(clips, tmp_path, monkeypatch):
    """The first few show that they are divided, and by how much."""
    monkeypatch.chdir(tmp_path)
    truth = Independent()
    changes = {} if clips else {"largest_norm = 1.0": "largest_norm = 0.0"}
    names, same, told = both("alone/tokens", truth, **changes)
    for one, scale in zip(truth.updates, names["scales"], strict=True):
        for key in ("mean_sq", "gradient_sq", "noise_trace"):
            one[key] = one[key] * scale**2
    run = recording(truth.path)
    assert_right(truth.compare(run, largest=np.nanmax))
    left_out = run["noise_left_out"].values[1:].astype(int).tolist()
    assert 0 < sum(left_out) <= 8
    assert sum(left_out) == sum(left_out[:8])
    assert same
    assert sum("by another number at each update" in one for one in told) == 1
    assert not any("Earlier updates" in one for one in told)


def test_gradients_of_an_optimizer_that_has_not_stepped_are_none_of_the_updates(
    tmp_path, monkeypatch
):
    """Those that the actor has left from its last step."""
    monkeypatch.chdir(tmp_path)
    truth = Independent()
    names, same, told = both("alone/actor_critic", truth)
    assert len(truth.updates) == names["updates"]
    run = recording(truth.path)
    errors = truth.compare(run, largest=np.nanmax)
    assert errors["distance"] < 1e-6
    assert errors["mean_sq"] < 1e-5
    known = np.isfinite(run["mean_sq"].values[1:]).all(axis=1).tolist()
    assert known == [update % 2 == 0 for update in range(20)]  # the others follow two losses
    assert same
    assert len(told) == 1
    assert "step after backward passes of their own" in told[0]


def test_an_optimizer_within_the_backward_pass_leaves_distance_and_gradient(tmp_path, monkeypatch):
    """Of one unit an update nothing is known of the noise."""
    monkeypatch.chdir(tmp_path)
    truth = Independent()
    names, same, told = both("alone/backward_step", truth)
    assert len(truth.updates) == names["updates"]
    run = recording(truth.path)
    assert_right(truth.compare(run), noise=False)
    assert same
    assert told == []
    assert "noise_trace" not in run
    assert "one" in run.attrs["noise_absent"]


def test_reentrant_checkpointing_is_refused_with_the_remedy(tmp_path, monkeypatch):
    """The gradient within another pass is not seen: noise is unknown, the rest is right."""
    monkeypatch.chdir(tmp_path)
    truth = Independent()
    truth.alone = lambda loss: [torch.zeros(1)]  # such a pass has no gradients to return
    changes = {"REENTRANT = False": "REENTRANT = True"}
    changes |= {"inputs = torch.randn(12, 6)": "inputs = torch.randn(12, 6, requires_grad=True)"}
    names, same, told = both("alone/checkpointing", truth, **changes)
    assert len(truth.updates) == names["updates"]
    run = recording(truth.path)
    distance = run["distance_sq"].values[-1] ** 0.5
    assert distance == pytest.approx(truth.distances[-1] ** 0.5, rel=1e-6)
    assert same
    assert len(told) == 1
    assert "set use_reentrant=False" in told[0]
    if "noise_trace" in run:
        assert not run["noise_trace"].notnull().any()


def test_cells_of_a_notebook_run_again_begin_anew(tmp_path, monkeypatch):
    """The training's cell twice, then all of them: the last run is recorded, each time."""
    monkeypatch.chdir(tmp_path)
    text = source("alone/notebook")
    cells = text.split("# %%\n")
    names = {"__name__": "__main__"}
    truth = Independent()
    with truth:
        for cell in (1, 2, 3, 3, 2, 3, 4):
            exec(compile(cells[cell], "notebook", "exec"), names)
    assert len(truth.updates) == names["updates"]
    assert_right(truth.compare(recording(truth.path)))
    probed = weights(names)
    bare = weights(run(without_probes(text), "alone/notebook"))
    assert all(torch.equal(one, other) for one, other in zip(probed, bare, strict=True))


@pytest.mark.parametrize("name", [*ALONE, "notebook", "backward_step", "tokens", "actor_critic"])
def test_a_user_adds_four_lines_at_most(name):
    assert 1 < len(added(source(f"alone/{name}"))) <= 4
