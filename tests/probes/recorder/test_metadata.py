import json
import subprocess
import sys

import pytest
import torch

from ultraslow.probes.recorder.metadata import attributes, coordinates, described


def test_metadata_overrules_the_optimizer():
    optimizer = torch.optim.Adam(torch.nn.Linear(1, 1).parameters(), lr=0.01)
    found = coordinates([optimizer], {"optimizer": "mine", "seed": 1, "note": "not a coordinate"})
    expected = {"optimizer": "mine", "base_learning_rate": 0.01, "weight_decay": 0, "seed": 1}
    assert found == expected


def test_attributes_are_texts_whatever_the_metadata_holds():
    found = attributes({"device": torch.device("cpu"), "seed": 1})
    assert json.loads(found["config"]) == {"device": "device(type='cpu')"}
    assert all(isinstance(text, str) for text in found.values())
    assert json.loads(found["versions"])["torch"] == torch.__version__


def test_the_commit_is_that_of_the_folder_or_else_of_the_program(tmp_path):
    """A program's folder counts only where git knows the program."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    for folder in (outside, inside):
        folder.mkdir()
    told = (
        "from ultraslow.probes.recorder import metadata; print(metadata.attributes({})['commit'])"
    )
    git = ["git", "-C", str(inside), "-c", "user.name=a", "-c", "user.email=a@b"]
    for name in ("known.py", "other.py"):
        (inside / name).write_text(told)
    for words in (["init"], ["add", "known.py"], ["commit", "-m", "one"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)

    def commit(program, where):
        command = [sys.executable, str(inside / program)]
        done = subprocess.run(command, cwd=where, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    assert commit("known.py", inside) == commit("other.py", inside) == head.stdout.strip()
    assert commit("known.py", outside) == head.stdout.strip()
    assert commit("other.py", outside) == ""


@pytest.mark.filterwarnings("error")
def test_other_keys_and_those_beside_the_label_are_not():
    described({"seeds": [1, 2], "note": 1, "data_dir": "d", "git": "a"}, {"seed": 1})
