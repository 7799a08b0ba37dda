import pytest
import torch

from probes.distance import BLOCK, _flatten, square, squared_distances


def reference(weights, initial):
    gap = [
        float((w.double() - w0.double()).square().sum())
        for w, w0 in zip(weights, initial, strict=True)
    ]
    return gap, [float(w.double().square().sum()) for w in weights]


@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3_000_000])
@pytest.mark.parametrize("drift", [1e-4, 1.0])
def test_equal_to_a_float64_reference(size, drift):
    initial = [torch.randn(size), torch.randn(7, 5)]
    weights = [w0 + drift * torch.randn_like(w0) for w0 in initial]
    distance_sq, weight_sq = squared_distances(weights, initial)
    gap, norm = reference(weights, initial)
    # 1e-6 in the distance is 2e-6 in its square.
    torch.testing.assert_close(
        distance_sq, torch.tensor(gap, dtype=torch.float64), rtol=2e-6, atol=0
    )
    torch.testing.assert_close(
        weight_sq, torch.tensor(norm, dtype=torch.float64), rtol=2e-6, atol=0
    )


def test_distance_from_itself_is_exactly_zero():
    weights = [torch.randn(BLOCK + 3)]
    assert float(squared_distances(weights, [weights[0].clone()])[0]) == 0.0


def test_memory_layouts():
    weight = torch.randn(8, 4, 3, 3)
    initial = torch.randn(8, 4, 3, 3)
    expected = squared_distances([weight], [initial])
    dense = weight.to(memory_format=torch.channels_last)
    assert _flatten(dense).data_ptr() == dense.data_ptr()
    found = squared_distances([dense], [initial])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    strided = torch.randn(4, 6)[:, ::2]
    assert float(square(strided)) == pytest.approx(float(strided.double().square().sum()))


def test_low_precision_is_widened_before_squaring():
    values = torch.full((10,), 300.0).half()
    assert float(square(values)) == pytest.approx(9e5)
    bfloat = torch.randn(1000).bfloat16()
    assert float(square(bfloat)) == pytest.approx(float(bfloat.double().square().sum()), rel=1e-6)
