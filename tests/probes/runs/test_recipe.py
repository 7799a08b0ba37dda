import re

import pytest

from probes.runs.architectures import architecture
from probes.runs.config import Config, ConfigError
from probes.runs.recipe import find, planned, read, shipped
from probes.runs.resnet import ResNet

STUDY = """
about = "a study"
[settings]
width = 2
iterations = 6
[[arms]]
arm = "sqrt"
batch_size = [160, 320]
seed = [0, 1]
[[arms]]
arm = "with decay"
weight_decay = 1e-4
seed = [3]
"""


@pytest.fixture
def file(tmp_path):
    def written(text):
        path = tmp_path / "study.toml"
        path.write_text(text)
        return path

    return written


def test_runs_are_the_grids_of_the_arms_ordered_by_seed(file):
    recipe = read(file(STUDY))
    names = [config.run for config in recipe.runs]
    assert names == [
        "sqrt-b160-s0",
        "sqrt-b320-s0",
        "with-decay-s3",
        "sqrt-b160-s1",
        "sqrt-b320-s1",
    ]
    assert recipe.runs[1] == Config(
        width=2, iterations=6, batch_size=320, seed=0, name="sqrt-b320-s0"
    )
    assert recipe.runs[2].weight_decay == 1e-4


def test_a_recording_will_tell_its_recipe(file):
    path = file(STUDY)
    study = read(path, scale=0.5).study["with-decay-s3"]
    assert study == {
        "recipe": "study",
        "recipe_text": path.read_text(),
        "scale": 0.5,
        "arm": "with decay",
    }


def test_a_rung_adds_to_those_below(file):
    text = """
[settings]
seed = [0, 1]
[[rungs]]
rung = "baseline"
base_learning_rate = 0.1
[[rungs]]
rung = "clipping"
clip = 5.0
[[rungs]]
rung = "tuned rate"
base_learning_rate = 0.2
"""
    recipe = read(file(text))
    first, second, third, again, *_ = recipe.runs
    assert (first.clip, second.clip, third.clip) == (0.0, 5.0, 5.0)
    assert (second.base_learning_rate, third.base_learning_rate) == (0.1, 0.2)
    assert third.run == "02-tuned-rate-s0"
    assert again.run == "00-baseline-s1"
    place = {key: recipe.study[third.run][key] for key in ("ladder", "rung", "rung_name")}
    assert place == {"ladder": "study", "rung": 2, "rung_name": "tuned rate"}


def test_settings_of_the_command_go_before_those_of_the_file(file):
    overrides = {"width": 3, "folder": "elsewhere"}
    assert {(c.width, c.folder) for c in read(file(STUDY), overrides=overrides).runs} == {
        (3, "elsewhere")
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[arms]", "not a TOML file"),
        ("", "arms: expected tables [[arms]] or tables [[rungs]], one of the two"),
        ('[[arms]]\narm="a"\n[[rungs]]\nrung="b"', "arms: expected tables [[arms]] or tables"),
        ('seeds = 3\n[[arms]]\narm="a"', "seeds: unknown key, expected one of about, settings"),
        ('settings = 3\n[[arms]]\narm="a"', "settings: found 3, expected a table"),
        ('[settings]\nbatchsize = 3\n[[arms]]\narm="a"', "settings: batchsize: unknown key, exp"),
        ("[[arms]]\nseed = 1", "arms 1: arm: found None, expected its name"),
        ('arms = "a"', "arms: found 'a', expected tables [[arms]]"),
        ('[[arms]]\narm="a"\nfolder = "x"', "arms 1: folder: found it, expected it on the comm"),
        ('[[arms]]\narm="a"\nseed = []', "arms 1: seed: found an empty list, expected values"),
        ('[[arms]]\narm="a"\nseed = ["x"]', "a: seed: found 'x', expected a value of type int"),
        ('[[arms]]\narm="a"\n[[arms]]\narm="a"', "a: found two runs named a, expected names"),
    ],
)
def test_faults_of_a_file_name_file_key_and_what_was_expected(file, text, message):
    path = file(text)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_what_cannot_be_trained_is_found_before_anything_starts(file):
    path = file(STUDY.replace("[160, 320]", "[160, 2000, 81]"))
    with pytest.raises(ConfigError) as caught:
        planned(read(path), str(path), processes=2)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "sqrt-b2000-s0: batch_size: found 2000, expected at most the 1440 training" in text
    assert "sqrt-b81-s1: batch_size: found 81, expected a multiple of the 2 processes" in text


def test_a_missing_folder_of_images_is_told_for_the_run(file, tmp_path):
    path = file(f'[[arms]]\narm="a"\ndata="folder"\ndata_folder="{tmp_path}/none"')
    with pytest.raises(ConfigError, match="a: data_folder: found no folder .*none, expected"):
        planned(read(path), str(path), processes=2)


def test_plans_are_scaled_and_counted_in_iterations(file):
    text = STUDY.replace("iterations = 6", "epochs = 4")
    recipe = planned(read(file(text)), "study", processes=2, scale=0.5)
    assert [config.batch_size for config in recipe.runs] == [80, 160, 80, 80, 160]
    # 4 epochs of 1440/160 updates at full size, half as many here.
    assert recipe.runs[0].iterations == 18


def test_recipes_are_found_by_name_or_path(file):
    assert find("cifar10-small") == shipped()["cifar10-small"]
    path = file(STUDY)
    assert find(str(path)) == path
    with pytest.raises(FileNotFoundError, match="found no file nowhere, expected one or a recipe"):
        find("nowhere")


def test_every_shipped_recipe_says_what_it_is_about():
    for name, path in shipped().items():
        assert 'about = "' in path.read_text(), name
        assert read(path).runs, name


def test_hoffers_network_has_as_many_weights_as_theirs():
    """661,338, which their released code counts for ResNet-44."""
    runs = read(find("hoffer2017-cifar10")).runs
    shapes = {(run.model, run.width, run.shortcut) for run in runs}
    for model, width, shortcut in shapes:
        network = ResNet(
            architecture(model, width=width, shortcut=shortcut), channels=3, classes=10
        )
        assert sum(p.numel() for p in network.parameters()) == 661_338


@pytest.mark.parametrize("kind", ["arms", "rungs"])
def test_a_recipe_has_runs(file, kind):
    with pytest.raises(ConfigError, match=f"{kind}: found none, expected one or more tables"):
        read(file(f"{kind} = []"))
