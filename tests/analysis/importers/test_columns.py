import pytest

from ultraslow.analysis.importers.columns import long_form, mapped
from ultraslow.analysis.importers.sheet import Sheet
from ultraslow.diffusion.recording import RecordError


def sheet(*names, **columns):
    cells = {name: ["1", "2"] for name in names} | columns
    return Sheet("log.csv", "log", "0" * 64, "CSV", cells, [2, 3])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["it0", "it1", "euclidian_distance"], {"iteration": "it0", "lagged": "it1"}),
        (["Step", "L2 to init", "LR"], {"distance": "L2 to init", "learning_rate": "LR"}),
        (["trainer/global_step", "_step", "lr-AdamW"], {"iteration": "trainer/global_step"}),
        (["step", "lr-AdamW", "train/loss"], {"learning_rate": "lr-AdamW", "loss": "train/loss"}),
        (["step", "train_loss_step", "train_loss_epoch"], {"loss": "train_loss_step"}),
        (["step", "loss", "train_loss"], {"loss": "loss"}),
        (["epoch", "step", "loss"], {"iteration": "step", "epoch": "epoch"}),
        (["ultraslow/iteration", "ultraslow/distance"], {"distance": "ultraslow/distance"}),
        (["step", "wn", "cos_init"], {"norm": "wn", "cosine": "cos_init"}),
        (["step", "distance", "cosine_similarity"], {"cosine": None, "distance": "distance"}),
        (["step", "wn_total", "wn_hidden", "distance"], {"norm": None}),
    ],
)
def test_columns_are_known_by_name(names, expected):
    found = mapped(sheet(*names), {})
    assert {role: found.of.get(role) for role in expected} == expected


@pytest.mark.parametrize(
    ("names", "said", "message"),
    [
        (["a", "b"], {}, "found no column of iterations among 'a', 'b'; --iteration names it"),
        (["step", "iter", "d"], {}, "'step', 'iter' may each be the iteration; --iteration"),
        (["step", "dist", "l2_to_init"], {}, "may each be the distance; --distance names one"),
        (["step", "wn_total", "wn_hidden", "cos"], {}, "may each be the norm; --norm names one"),
        (["step", "cos", "cosine", "wn"], {}, "may each be the cosine; --cosine names one"),
        (["step", "speed"], {}, "found no distance, norm, loss, learning rate or held-out score"),
        (["step", "average_variance", "min_grad"], {}, "holds no curve of a run, but numbers on"),
        (["model", "64", "128", "256"], {}, "`ultraslow batch` reads tables of steps to a target"),
        (["step"], {"loss": "los"}, "--loss: there is no column 'los'; there are 'step'"),
    ],
)
def test_what_could_be_several_things_is_asked_for(names, said, message):
    with pytest.raises(RecordError, match=message):
        mapped(sheet(*names), said)


def test_what_is_said_comes_first_and_empty_columns_are_none():
    found = mapped(sheet("step", "x", "distance", lr=["", ""]), {"distance": "x"})
    assert found.of == {"iteration": "step", "distance": "x"}
    found = mapped(sheet("step", "wn", "cos", "distance"), {"norm": "wn", "cosine": "cos"})
    assert "distance" not in found.of


def test_held_out_scores_and_what_else_could_be_meant():
    found = mapped(sheet("step", "val_acc", "test_acc", "eval_loss"), {})
    assert found.held_out == {"accuracy": "val_acc", "loss": "eval_loss"}
    assert found.notes == ("held-out accuracy: 'val_acc' is taken, and not 'test_acc'",)


def test_rates_of_other_groups_are_told_where_they_differ():
    names = ["step", "distance", "lr-AdamW/pg1", "lr-AdamW/pg2", "lr-AdamW/pg1-momentum"]
    found = mapped(sheet(*names, **{"lr-AdamW/pg3": ["7", "8"]}), {})
    assert found.of["learning_rate"] == "lr-AdamW/pg1"
    assert found.notes == (
        "learning rate: 'lr-AdamW/pg1', of the optimizer's first group of weights, is taken for "
        "all, and not 'lr-AdamW/pg3', which differ; --learning-rate names another",
    )
    assert mapped(sheet(*names), {}).notes == ()
    assert mapped(sheet(*names), {"learning_rate": "lr-AdamW/pg2"}).notes == ()


def test_charts_of_weights_and_biases_become_a_column_of_runs():
    wide = sheet(
        "Step",
        **{
            "r50 - big - weights/distance": ["1", ""],
            "r50 - big - weights/distance__MIN": ["1", ""],
            "r50 - big - weights/distance__MAX": ["1", ""],
            "s1 - weights/distance": ["3", "4"],
            "s1 - weights/distance__MIN": ["2", "4"],
            "s1 - weights/distance__MAX": ["4", "4"],
        },
    )
    found = long_form(wide)
    assert found.columns == {
        "Step": ["1", "1", "2"],
        "run": ["r50 - big", "s1", "s1"],
        "weights/distance": ["1", "3", "4"],
    }
    assert found.lines == [2, 2, 3]
    assert "smoothed or thinned out" in found.notes[0]
    assert mapped(found, {}).of["by"] == "run"


def test_other_tables_stay_as_they_are():
    plain = sheet("Step", "a - b", "distance")
    assert long_form(plain) is plain
