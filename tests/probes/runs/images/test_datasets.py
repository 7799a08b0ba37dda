import numpy as np
import pytest

from ultraslow.probes.runs.images.datasets import facts, load_images, split


def test_digits_are_what_their_facts_say():
    known, arrays = facts("digits"), load_images("digits")
    shape = (known.channels, known.height, known.width)
    assert arrays.train_images.shape == (known.train_size, *shape)
    assert arrays.test_images.shape == (known.test_size, *shape)
    assert set(arrays.train_labels) == set(arrays.test_labels) == set(range(known.classes))
    assert arrays.train_images.dtype == np.uint8
    assert arrays.train_images.max() == 16  # grey levels of the source


def test_digits_are_those_of_scikit_learn_each_once():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    arrays = load_images("digits")
    ours = np.concatenate([arrays.train_images, arrays.test_images]).reshape(-1, 64)
    our_labels = np.concatenate([arrays.train_labels, arrays.test_labels])
    expected = sorted(map(tuple, np.column_stack([images, labels]).astype(int).tolist()))
    assert sorted(map(tuple, np.column_stack([ours, our_labels]).astype(int).tolist())) == expected


def test_split_is_a_partition_and_the_same_every_time():
    images = np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1)
    labels = np.arange(50, dtype=np.int64)
    first, second = (split(images, labels, train_size=40) for _ in range(2))
    assert np.array_equal(first.train_images, second.train_images)
    assert sorted(np.concatenate([first.train_labels, first.test_labels])) == list(range(50))
    assert np.array_equal(first.test_images.ravel(), first.test_labels)
    assert first.train_labels.tolist() != list(range(40))


def test_unknown_set():
    with pytest.raises(ValueError, match="data: found 'mnist', expected one of digits"):
        facts("mnist")
