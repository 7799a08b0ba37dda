"""Distances between records of a real training run, estimated from sketches, beside exact ones."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

from ultraslow.diffusion.sketch import two_time, two_time_refined
from ultraslow.probes.quantities.sketch import Sketcher, offsets
from ultraslow.probes.runs.models.names import architecture
from ultraslow.probes.runs.models.resnet import ResNet

pytestmark = pytest.mark.slow

SEEDS = 600


def training_path():
    """Weights of a ResNet-20 on the digits, at eight iterations up to 150."""
    torch.manual_seed(0)
    images, classes = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 8 - 1
    targets = torch.tensor(classes)
    model = ResNet(architecture("resnet20"), channels=1, classes=10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    path = []
    for iteration in range(151):
        if iteration in (0, 1, 3, 10, 30, 60, 100, 150):
            path.append([p.detach().clone() for p in model.parameters()])
        batch = torch.randint(len(inputs), (64,))
        cross_entropy(model(inputs[batch]), targets[batch]).backward()
        optimizer.step()
        optimizer.zero_grad()
    return path


def test_coverage_of_both_estimates_over_seeds_of_the_hash():
    path = training_path()
    initial = path[0]
    flat = np.array(
        [
            np.concatenate(
                [(w - w0).double().numpy().ravel() for w, w0 in zip(at, initial, strict=True)]
            )
            for at in path
        ]
    )
    truth = np.sum((flat[:, None] - flat) ** 2, axis=-1)
    pairs = tuple(index[len(path) - 1 :] for index in np.triu_indices(len(path), 1))
    sizes = [w0.numel() for w0 in initial]
    scores = {"direct": [], "refined": []}
    for seed in range(SEEDS):
        sketcher = Sketcher(sizes, offsets(sizes), seed=seed)
        y = np.array([sketcher.measure(at, initial).numpy() for at in path])
        for name, found in (("direct", two_time(y)), ("refined", two_time_refined(y, truth[0]))):
            scores[name].append((found.value - truth)[pairs] / found.standard_error[pairs])
    for name, found in scores.items():
        # The standard error of the coverage is below 0.9 %, that of one pair over 600 seeds.
        assert np.mean(np.abs(found) < 1.96) == pytest.approx(0.95, abs=0.02), name
        # The standard error follows the estimate, so scores lean to the low side by about √(2/k).
        assert np.all(np.abs(np.mean(found, axis=0)) < np.sqrt(2 / 1024) * 2 + 4 / SEEDS**0.5), (
            name
        )
