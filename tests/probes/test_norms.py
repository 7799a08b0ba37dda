import pytest
import torch

from ultraslow.probes.norms import (
    _DIRECT,
    _FEW,
    _KEPT,
    _MINOR,
    _SHORT_ROW,
    BLOCK,
    ROW,
    SquaresAgain,
    _flatten,
    short_squares,
    square,
    squared_distances,
    squared_steps,
    squares,
)


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


def test_tensors_of_all_sizes_at_once_are_each_in_their_place():
    """Those that are worked on together, those of one block or many, and empty ones."""
    sizes = [3, 0, ROW + 1, _MINOR, 2 * BLOCK + 5, _MINOR + 1, 1, ROW]
    initial = [torch.randn(size) for size in sizes]
    weights = [w0 + 0.01 * (1 + index) for index, w0 in enumerate(initial)]
    expected = torch.tensor(reference(weights, initial), dtype=torch.float64)
    found = squared_distances(weights, initial)
    torch.testing.assert_close(found, expected, rtol=3e-7, atol=0)
    for index, pair in enumerate(zip(weights, initial, strict=True)):
        assert torch.equal(squared_distances(*([t] for t in pair))[:, 0], found[:, index])


def test_weights_of_another_shape_are_refused():
    """Also where the number of all values is the same."""
    with pytest.raises(ValueError, match="another shape"):
        squared_distances([torch.ones(2), torch.ones(3)], [torch.ones(3), torch.ones(2)])


@pytest.mark.parametrize("odd", [None, "bfloat16", "float64", "sparse", "strided", "grad"])
def test_squares_at_once_equal_those_one_by_one(odd):
    tensors = [torch.randn(size) for size in (5, 0, _FEW, _FEW + 3, 2 * BLOCK + 1)]
    others = {
        "bfloat16": torch.randn(7).bfloat16(),
        "float64": torch.randn(7).double(),
        "sparse": torch.eye(4).to_sparse(),
        "strided": torch.randn(6, 8)[:, ::3],
        "grad": torch.randn(9, requires_grad=True),
    }
    tensors += [others[odd]] if odd else []
    found = squares(tensors)
    assert found.dtype == torch.float64
    assert torch.equal(found, torch.stack([square(values) for values in tensors]))
    exact = [float(values.detach().double().to_dense().square().sum()) for values in tensors]
    assert found.tolist() == pytest.approx(exact, rel=3e-7)
    assert squares([]).shape == (0,)


@pytest.mark.parametrize("scale", [1e-30, 1e-21, 1e18, 1e30, 0.0])
def test_squares_beyond_the_range_of_float32(scale):
    for size in (100, _FEW + 1, 2 * BLOCK):
        values = scale * torch.randn(size)
        exact = float(values.double().square().sum())
        assert float(square(values)) == pytest.approx(exact, rel=1e-6, abs=0)


def test_values_with_a_lazy_minus_sign():
    values = torch.complex(torch.randn(_FEW + 3), torch.randn(_FEW + 3)).conj().imag
    assert values.is_neg()
    exact = float(values.double().square().sum())
    assert float(square(values)) == pytest.approx(exact, rel=1e-6)
    found = squared_distances([values], [torch.zeros(_FEW + 3)])
    assert found.flatten().tolist() == pytest.approx([exact, exact], rel=1e-6)


def test_equal_weights_and_weights_that_diverged():
    # Equal values round alike, so errors add up; 0.1² has the largest of the values tried.
    constant = torch.full((3_000_000,), 0.1)
    squares = squared_distances([constant], [torch.zeros_like(constant)])
    exact = float(constant.double().square().sum())
    assert squares.flatten().tolist() == pytest.approx([exact, exact], rel=2e-7)
    lost = constant.clone()
    lost[5], lost[7] = float("inf"), float("nan")
    assert squared_distances([lost], [lost.clone()]).isnan().all()


def test_precisions_may_be_mixed():
    initial = [torch.zeros(5), torch.zeros(7, dtype=torch.float64), torch.zeros(9).bfloat16()]
    weights = [torch.full_like(w0, 2.0) for w0 in initial]
    found = squared_distances(weights, initial).tolist()
    assert found == [pytest.approx([20.0, 28.0, 36.0])] * 2


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


def test_sparse_values_are_added_up():
    sparse = torch.sparse_coo_tensor(
        [[1, 1, 2]], [[1.0, 0.0], [2.0, 0.0], [0.0, 4.0]], (5, 2), check_invariants=True
    )
    assert float(square(sparse)) == 25.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_steps_are_squared_and_the_weights_kept(dtype):
    """Small, empty and large tensors, against float64 arithmetic, in other layouts as well."""
    generator = torch.Generator().manual_seed(3)
    shapes = [(5,), (64, 3, 3, 3), (0,), (1 << 17,), (16,), (70, 1000)]
    weights = [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]
    weights[1] = weights[1].to(memory_format=torch.channels_last)
    previous = [w + (1e-2 * torch.randn(w.shape, generator=generator)).to(dtype) for w in weights]
    steps = [w.double() - before.double() for w, before in zip(weights, previous, strict=True)]
    expected = torch.stack([step.square().sum() for step in steps])
    found = squared_steps(weights, previous)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    assert all(torch.equal(w, before) for w, before in zip(weights, previous, strict=True))
    assert squared_steps(weights, previous).tolist() == [0.0] * len(shapes)


def test_a_tensor_that_shrank_is_refused():
    with pytest.raises(ValueError, match="another shape"):
        squared_steps([torch.ones(1)], [torch.ones(3)])


def test_a_step_that_diverged_is_not_finite_for_its_tensor_alone():
    weights = [torch.ones(4), torch.ones(3)]
    previous = [w.clone() for w in weights]
    weights[0][1] = torch.inf
    assert squared_steps(weights, previous).tolist() == [torch.inf, 0.0]
    assert torch.isnan(squared_steps(weights, previous)[0])  # from one infinity to the next


def test_squares_in_memory_that_is_kept_are_those_of_the_tensors():
    """Also where the values are laid out otherwise, are others, or of another shape or type."""
    shapes = [(40, 30), (7,), (_SHORT_ROW,), (3, 2, _SHORT_ROW + 1), (1,)]
    kept = SquaresAgain([torch.empty(shape) for shape in shapes])
    for scale in (1.0, 1e-25, 1e25, 0.0):
        tensors = [scale * torch.randn(shape) for shape in shapes]
        tensors[0] = tensors[0].T.contiguous().T
        expected = torch.stack([t.double().square().sum() for t in tensors])
        torch.testing.assert_close(kept(tensors), expected, rtol=1e-13, atol=0)
        others = [tensors[3], tensors[1].bfloat16()]
        torch.testing.assert_close(kept(others), squares(others), rtol=0, atol=0)
    assert torch.isnan(kept([torch.full(shape, torch.nan) for shape in shapes])).all()
    assert kept([]).shape == (0,)


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
def test_large_tensors_are_squared_where_they_are(scale):
    """In their places among others, whatever their layout, and with a row that is not full."""
    shapes = [(7,), (64, 70), (3,), (_DIRECT,), (5, 1001), (16, 8, 6, 6), (2,)]
    kept = SquaresAgain([torch.empty(shape) for shape in shapes])
    tensors = [scale * torch.randn(shape) for shape in shapes]
    tensors[1] = tensors[1].T.contiguous().T
    tensors[5] = tensors[5].to(memory_format=torch.channels_last)
    tensors[4] = torch.complex(tensors[4], tensors[4]).conj().imag
    assert tensors[4].is_neg()
    expected = torch.stack([t.double().square().sum() for t in tensors])
    torch.testing.assert_close(kept(tensors), expected, rtol=3e-8, atol=0)
    found = kept(tensors)
    assert torch.equal(found, kept([t.clone() for t in tensors]))
    small = [i for i, t in enumerate(tensors) if t.numel() < _DIRECT]
    torch.testing.assert_close(found[small], expected[small], rtol=1e-13, atol=0)
    tensors[3] = tensors[3].clone().requires_grad_()
    torch.testing.assert_close(kept(tensors), expected, rtol=3e-7, atol=0)
    tensors[3] = tensors[3].detach().double()
    torch.testing.assert_close(kept(tensors), expected, rtol=3e-7, atol=0)


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25, 0.0])
def test_short_tensors_are_squared_one_by_one(scale):
    """As numbers, of any magnitude; those of another kind or length as all others are."""
    tensors = [scale * torch.randn(shape) for shape in ((40, 16), (7,), (_DIRECT,))]
    tensors[0] = torch.complex(tensors[0], tensors[0]).conj().imag
    exact = [float(t.double().square().sum()) for t in tensors]
    found = short_squares(tensors)
    assert isinstance(found, tuple)
    assert found == pytest.approx(exact, rel=1e-13, abs=0)
    for other in (torch.randn(_DIRECT + 1), torch.randn(5).bfloat16()):
        mixed = [*tensors, other]
        torch.testing.assert_close(short_squares(mixed), squares(mixed), rtol=0, atol=0)
    assert short_squares([torch.tensor([1.0, torch.nan])])[0] != 1.0
    assert short_squares([]) == ()


def test_equal_values_that_are_squared_where_they_are():
    """They round alike, so that errors add up; of the constants tried 0.1 is among the worst."""
    generator = torch.Generator().manual_seed(0)
    kept = SquaresAgain([torch.empty(_DIRECT + 5)])
    for value in [0.1, *torch.randn(300, generator=generator).exp().tolist()]:
        constant = torch.full((_DIRECT + 5,), value)
        exact = float(constant.double().square().sum())
        assert float(kept([constant])) == pytest.approx(exact, rel=1e-7, abs=0)


def test_what_one_tensor_has_lost_is_not_lost_for_others():
    kept = SquaresAgain([torch.empty(_DIRECT), torch.empty(3), torch.empty(_DIRECT)])
    tensors = [torch.full((_DIRECT,), torch.nan), torch.ones(3), torch.ones(_DIRECT)]
    found = kept(tensors).tolist()
    assert found[1:] == [3.0, float(_DIRECT)]
    assert found[0] != found[0]
    tensors[0] = torch.zeros(_DIRECT)
    assert kept(tensors).tolist() == [0.0, 3.0, float(_DIRECT)]


def test_no_memory_is_kept_for_a_network_whose_arithmetic_takes_longer():
    tensors = [torch.randn(_KEPT), torch.randn(3)]
    assert torch.equal(SquaresAgain(tensors)(tensors), squares(tensors))
