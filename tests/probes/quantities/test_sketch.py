import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ultraslow.diffusion.sketch import buckets_and_signs, distance_between, two_time
from ultraslow.probes.quantities.sketch import Sketcher, offsets

SHAPES = [(16, 3, 3, 3), (16,), (7, 11), (1,), (129, 1031), (5, 5)]
SIZES = [int(np.prod(shape)) for shape in SHAPES]


def tensors(seed=0, shapes=SHAPES, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def twin(flat, k, seed):
    buckets, signs = buckets_and_signs(np.arange(len(flat)), components=k, seed=seed)
    return np.bincount(buckets, weights=signs * flat, minlength=k)


def flatten(weights, initial):
    pairs = zip(weights, initial, strict=True)
    return np.concatenate([(w - w0).double().numpy().ravel() for w, w0 in pairs])


def sketcher(k=1024, seed=0, sizes=SIZES):
    return Sketcher(sizes, offsets(sizes), components=k, seed=seed)


def assert_same(found, expected, tolerance=1e-12):
    expected = np.asarray(expected)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), expected, atol=tolerance * np.linalg.norm(expected))


@pytest.mark.parametrize("k", [1, 10, 1000, 1024])
@pytest.mark.parametrize("seed", [0, 12345])
def test_equal_to_the_definition(k, seed):
    # The largest tensor crosses a block boundary of 131072 weights.
    weights, initial = tensors(1), tensors(2)
    found = sketcher(k, seed).measure(weights, initial)
    assert_same(found, twin(flatten(weights, initial), k, seed))


def test_small_example_by_a_double_loop():
    weights = [torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), torch.tensor([7.0, 8.0])]
    expected = [0.0] * 3
    index = 0
    for tensor in weights:
        for value in tensor.flatten().tolist():
            bucket, sign = buckets_and_signs(index, components=3, seed=9)
            expected[int(bucket)] += float(sign) * value
            index += 1
    assert_same(Sketcher([6, 2], [0, 6], components=3, seed=9).measure(weights), expected)


@pytest.mark.parametrize("parts", [2, 3, 5])
@pytest.mark.parametrize("k", [100, 1024])
def test_shards_add_up(parts, k):
    weights, initial = tensors(1), tensors(2)
    whole = sketcher(k).measure(weights, initial)
    total = torch.zeros(k, dtype=torch.float64)
    for rank in range(parts):
        # torch.chunk cuts the first dimension as FSDP2 does; late ranks may hold nothing.
        local, local_initial, starts = [], [], []
        for w, w0, offset in zip(weights, initial, offsets(SIZES), strict=True):
            chunks = [*w.chunk(parts), *[w[:0]] * parts]
            starts.append(offset + sum(chunk.numel() for chunk in chunks[:rank]))
            local.append(chunks[rank])
            local_initial.append([*w0.chunk(parts), *[w0[:0]] * parts][rank])
        shard = Sketcher([w.numel() for w in local], starts, components=k)
        total += shard.measure(local, local_initial)
    assert_same(total, whole)


def test_memory_layout_does_not_show():
    shapes = [(7,), (300, 50, 3, 3), (11, 2, 5, 4)]  # the second one crosses a block boundary
    sizes = [int(np.prod(shape)) for shape in shapes]
    weights, initial = tensors(1, shapes), tensors(2, shapes)
    expected = sketcher(sizes=sizes).measure(weights, initial)
    for changed in (weights, initial):
        for index in (1, 2):
            changed[index] = changed[index].to(memory_format=torch.channels_last)
            assert not changed[index].is_contiguous()
        assert_same(sketcher(sizes=sizes).measure(weights, initial), expected)
    strided = [torch.stack([w, w + 1], dim=-1)[..., 0] for w in weights]
    assert_same(sketcher(sizes=sizes).measure(strided, initial), expected)


def test_order_of_the_tensors_does_not_show():
    weights, initial = tensors(1), tensors(2)
    back = Sketcher(SIZES[::-1], offsets(SIZES)[::-1])
    assert_same(back.measure(weights[::-1], initial[::-1]), sketcher().measure(weights, initial))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions(dtype):
    weights, initial = tensors(1, dtype=dtype), tensors(2, dtype=dtype)
    exact = [w.double() for w in weights], [w0.double() for w0 in initial]
    # Differences of low-precision weights are formed in float32, whose rounding is 6e-8.
    assert_same(sketcher().measure(weights, initial), twin(flatten(*exact), 1024, 0), 1e-7)


def test_linear_and_additive_to_initial_weights():
    weights, initial = tensors(1, dtype=torch.float64), tensors(2, dtype=torch.float64)
    sketch = sketcher()
    expected = sketch.measure(weights) - sketch.measure(initial)
    assert_same(sketch.measure(weights, initial), expected)


def test_small_distances_keep_their_digits():
    initial = [torch.full((100_000,), 1.0)]
    step = torch.randn(100_000, generator=torch.Generator().manual_seed(0)) * 1e-5
    weights = [initial[0] + step]
    moved = (weights[0].double() - 1).numpy()
    found = sketcher(sizes=[100_000]).measure(weights, initial)
    assert_same(found, twin(moved, 1024, 0))


def test_distances_of_a_walk_lie_within_their_stated_error():
    # Recorded times of one walk, 400 seeds of the hash: the standardized error of each pair has
    # mean 0 and variance 1 up to the 2/k of the squares; standard errors over 400 seeds.
    generator = torch.Generator().manual_seed(3)
    path = torch.randn(4, 20_000, generator=generator).cumsum(0)
    truth = ((path[:, None] - path).double() ** 2).sum(-1).numpy()
    pairs = np.triu_indices(4, 1)
    scores = []
    for seed in range(400):
        sketch = Sketcher([20_000], [0], components=256, seed=seed)
        found = two_time(np.array([sketch.measure([w], [path[0]]).numpy() for w in path]))
        error = (found.value - truth)[pairs]
        scores.append(error / (np.sqrt(2 / 256) * truth[pairs]))
    scores = np.array(scores)
    assert np.all(np.abs(scores.mean(0)) < 4 / np.sqrt(400))
    assert np.all(np.abs(scores.var(0) - 1) < 4 * np.sqrt(2 / 400))
    assert np.mean(np.abs(scores) < 1.96) == pytest.approx(0.95, abs=0.03)


def test_distance_between_two_runs():
    # Both runs are sketched against their own initial weights, whose sketches are added back.
    runs = [(tensors(seed), tensors(seed + 10)) for seed in (1, 2)]
    sketch = sketcher(k=4096)
    totals = [(sketch.measure(w, w0) + sketch.measure(w0)).numpy() for w, w0 in runs]
    truth = np.sum(flatten(runs[0][0], runs[1][0]) ** 2)
    found = distance_between(*totals)
    assert abs(found.value - truth) < 4 * found.standard_error


class ScalarReads(TorchDispatchMode):
    """Counts what makes the host wait for a device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        waits = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        self.count += function in waits
        return function(*args, **(kwargs or {}))


def test_nothing_waits_for_the_device():
    sketch, weights, initial = sketcher(), tensors(1), tensors(2)
    with ScalarReads() as reads:
        sketch.measure(weights, initial)
    assert reads.count == 0


def test_weights_are_left_alone():
    weights = [torch.nn.Parameter(w) for w in tensors(1)]
    before = [w.detach().clone() for w in weights]
    found = sketcher().measure(weights, tensors(2))
    assert not found.requires_grad
    for w, saved in zip(weights, before, strict=True):
        assert torch.equal(w, saved)
        assert w._version == 0


def test_nothing_local():
    assert Sketcher([0, 0], [3, 8]).measure([torch.empty(0)] * 2).tolist() == [0.0] * 1024


def test_messages():
    with pytest.raises(ValueError, match="starts: found 1 indices, expected 2"):
        Sketcher([1, 2], [0])
    with pytest.raises(ValueError, match="6 weights from 0 overlap with those from 5"):
        Sketcher([6, 2], [0, 5])
    with pytest.raises(ValueError, match="expected no negative numbers"):
        Sketcher([6], [-1])
    with pytest.raises(ValueError, match="components: found 0"):
        Sketcher([6], [0], components=0)
    with pytest.raises(ValueError, match=r"weights: found tensors of sizes \[5\], expected \[6\]"):
        Sketcher([6], [0]).measure([torch.zeros(5)])
    with pytest.raises(ValueError, match="initial: found"):
        Sketcher([6], [0]).measure([torch.zeros(6)], [torch.zeros(7)])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_on_an_accelerator():
    weights, initial = tensors(1), tensors(2)
    there = Sketcher(SIZES, offsets(SIZES), device="cuda")
    found = there.measure([w.cuda() for w in weights], [w.cuda() for w in initial])
    assert_same(found.cpu(), sketcher().measure(weights, initial))
