import json

import torch

from probes.description import attributes, coordinates


def test_metadata_overrules_the_optimizer():
    optimizer = torch.optim.Adam(torch.nn.Linear(1, 1).parameters(), lr=0.01)
    found = coordinates(optimizer, {"optimizer": "mine", "seed": 1, "note": "not a coordinate"})
    expected = {"optimizer": "mine", "base_learning_rate": 0.01, "weight_decay": 0, "seed": 1}
    assert found == expected


def test_attributes_are_texts_whatever_the_metadata_holds():
    found = attributes({"device": torch.device("cpu"), "seed": 1})
    assert json.loads(found["config"]) == {"device": "device(type='cpu')"}
    assert all(isinstance(text, str) for text in found.values())
    assert json.loads(found["versions"])["torch"] == torch.__version__
