"""What of a checkpoint counts as weights, by its names alone."""

import pytest
import torch

from ultraslow.diffusion.recording import RecordError
from ultraslow.probes.checkpoints.stored import Piece, Stored
from ultraslow.probes.checkpoints.tensors import Choice, same_names, weights_in

PLACES = iter(range(10**6))


def stored(*shape):
    return Stored(shape, torch.float32, (Piece("x.pt", next(PLACES), (0,) * len(shape), shape),))


def model(prefix=""):
    return {f"{prefix}layer.weight": stored(3, 2), f"{prefix}layer.bias": stored(3)}


def names(tree, **choice):
    return list(weights_in(tree, Choice(**choice), "x.pt").tensors)


PLAIN = ["layer.weight", "layer.bias"]


@pytest.mark.parametrize(
    "tree",
    [
        model(),
        {"state_dict": model(), "epoch_losses": stored(5)},
        {"model": {"state_dict": model("module.")}, "optimizer": {"state": {"0": model()}}},
        {"model": model("_orig_mod."), "model_ema": model(), "lr_scheduler": {"w": stored(2)}},
        {"module": model(), "rng_states": {"cpu": stored(9)}, "opt": {"m": stored(9)}},
        {"anything": model()},
        {"ema": model()},  # where averages are all there is
        {"state_dict": {**model(), "ema_model.layer.weight": stored(3, 2)}},
        {"state_dict": {**model(), "bn.running_mean": stored(3), "rope.inv_freq": stored(8)}},
        {"net": {**model("_fsdp_wrapped_module."), "empty": stored(0, 4)}},
    ],
)
def test_state_dictionaries_in_their_usual_places(tree):
    assert names(tree) == PLAIN


def test_what_is_left_out_is_told():
    tree = {"model": {**model(), "bn.running_var": stored(3)}, "optimizer": {"m": stored(2)}}
    found = weights_in(tree, Choice(exclude=("*.bias",)), "x.pt")
    assert list(found.tensors) == ["layer.weight"]
    assert found.left_out == {
        "states of optimizers": ["optimizer.m"],
        "excluded": ["layer.bias"],
        "buffers": ["bn.running_var"],
    }
    assert names(tree, include=("bn.*", "*.bias")) == ["layer.bias", "bn.running_var"]


def test_a_key_says_where():
    tree = {"generator": model(), "critic": {"model.v1": model()}}
    with pytest.raises(RecordError, match="several sets of weights: generator"):
        names(tree)
    assert names(tree, key="generator") == PLAIN
    assert names(tree, key="critic.model.v1") == PLAIN
    with pytest.raises(RecordError, match="expected one of critic, generator"):
        names(tree, key="other")


@pytest.mark.parametrize("tree", [{}, {"step": stored()}, {"optimizer": {"m": stored(3)}}])
def test_no_weights_at_all(tree):
    with pytest.raises(RecordError, match="found no weights"):
        names(tree)


def test_many_differences_are_counted():
    one = weights_in({f"w{k}": stored(2) for k in range(9)}, Choice(), "a.pt")
    other = weights_in({f"w{k}": stored(3) for k in range(9)}, Choice(), "b.pt")
    with pytest.raises(RecordError) as error:
        same_names(["a.pt", "b.pt"], [one, other])
    assert "w0: found 3, expected 2 as in a.pt" in str(error.value)
    assert "and 4 more" in str(error.value)
