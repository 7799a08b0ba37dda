import pytest

from ultraslow.probes.checkpoints.steps import UnclearError, natural, steps_of


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["checkpoint-500", "checkpoint-1000"], [500, 1000]),
        (["global_step100", "global_step20", "latest"], [100, 20, None]),
        (["iter_0000100", "iter_0000200"], [100, 200]),
        (["epoch=1-step=780-val_loss=0.31", "epoch=2-step=1170-val_loss=0.29"], [780, 1170]),
        (["resnet50-lr0.1-5", "resnet50-lr0.1-10"], [5, 10]),
        (["llama-7b-step50k", "llama-7b-step1m"], [50_000, 1_000_000]),
        (["0", "1000"], [0, 1000]),
        (["7"], [7]),
        (["vit_b_16_step3", "vit_b_16_last"], [3, None]),
        (["model_0", "model_5", "best"], [0, 5, None]),
    ],
)
def test_steps_in_names(names, expected):
    assert steps_of(names) == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["checkpoint_3_5000", "checkpoint_4_6000"], "several numbers, 3 and 5000, expected one"),
        (["epoch_3", "epoch_4"], "counts epochs, expected updates"),
        (["snapshot-kimg200", "snapshot-kimg400"], "counts samples, expected updates"),
    ],
)
def test_names_that_are_not_clear(names, message):
    with pytest.raises(UnclearError, match=message):
        steps_of(names)


def test_what_is_asked_for_decides():
    names = ["checkpoint_3_5000", "checkpoint_4_6000", "last"]
    assert steps_of(names, r"_(\d+)$") == [5000, 6000, None]
    assert steps_of(names[:2], "7, 8") == [7, 8]
    assert steps_of(["e10", "e9"], "90, 100") == [100, 90]
    assert steps_of(["epoch_1", "epoch_2"], updates=391) == [391, 782]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("1,2,3", "found 3 numbers for 2 checkpoints"),
        ("(", "no regular expression"),
        (r"\d+", "expected a group"),
        (r"x(\d+)", "is in none of the names"),
        (r"_(\w+)", "expected a whole number"),
    ],
)
def test_patterns_that_do_not_fit(pattern, message):
    with pytest.raises(UnclearError, match=message):
        steps_of(["a_b1", "a_b2"], pattern)


def test_nine_comes_before_ten():
    assert sorted(["a10", "a9", "b1"], key=natural) == ["a9", "a10", "b1"]
