"""The interface of every data set."""

from __future__ import annotations

import pytest
import torch

from latentbook.data import Dataset


@pytest.fixture
def data() -> Dataset:
    x = torch.arange(40.0).reshape(10, 4)
    factors = torch.stack([torch.arange(10) % 2, torch.arange(10)], dim=1)
    return Dataset(x, factors, (2, 10), ("parity", "row"), "toy", (2, 2))


def test_batch_takes_an_index_of_any_shape(data):
    index = torch.tensor([[3, 1, 1], [0, 9, 2]])
    batch = data.batch(index)
    assert batch.shape == (2, 3, 4)
    assert torch.equal(batch[0, 0], data.x[3])
    assert torch.equal(batch[1, 1], data.x[9])
    assert data.batch(torch.tensor(5)).shape == (4,)


def test_length_images_and_words(data):
    assert len(data) == 10
    assert torch.equal(data.images[2], torch.tensor([[8.0, 9.0], [10.0, 11.0]]))
    assert "toy: 10 rows, 4 features, factors: parity, row" in repr(data)
    assert "unnamed" in repr(Dataset(torch.ones(2, 3)))
    with pytest.raises(ValueError, match="image_shape is None"):
        _ = Dataset(torch.ones(2, 3)).images


def test_rows_of_a_model_become_pictures(data):
    rows = torch.rand(3, 2, 4)
    assert data.features == 4 and data.pictures(rows).shape == (3, 2, 2, 2)
    assert torch.equal(data.pictures(rows).flatten(-2), rows)
    with pytest.raises(ValueError, match=r"rows has shape \(3, 2\); expected \(..., 4\)"):
        data.pictures(rows[..., 0])


def test_split_keeps_every_row_once_and_its_factors_beside_it(data):
    train, test = data.split(0.7, seed=3)
    assert (len(train), len(test)) == (7, 3)
    rows = torch.cat([train.x, test.x])[:, 0]
    assert torch.equal(rows.sort().values, data.x[:, 0])
    for part in (train, test):
        assert torch.equal(part.factors[:, 1] * 4.0, part.x[:, 0])
        assert part.factor_names == data.factor_names and part.image_shape == (2, 2)


def test_split_is_fixed_by_its_seed(data):
    assert torch.equal(data.split(0.5, 1)[0].x, data.split(0.5, 1)[0].x)
    assert not torch.equal(data.split(0.5, 1)[0].x, data.split(0.5, 2)[0].x)


def test_split_leaves_neither_part_empty(data):
    assert len(data.split(0.001, 0)[0]) == 1
    assert len(data.split(0.999, 0)[1]) == 1


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, 80, float("nan")])
def test_split_refuses_a_fraction_outside_0_1(data, fraction):
    with pytest.raises(ValueError, match="fraction is"):
        data.split(fraction, 0)


def test_split_needs_two_rows():
    with pytest.raises(ValueError, match="at least 2"):
        Dataset(torch.ones(1, 3)).split(0.5, 0)


def test_to_the_same_device_copies_nothing(data):
    assert data.to("cpu") is data


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_to_moves_rows_and_factors_to_cuda(data):
    moved = data.to("cuda")
    assert moved.x.is_cuda and moved.factors.is_cuda and moved.split(0.5, 0)[0].x.is_cuda


def test_a_data_set_does_not_change(data):
    with pytest.raises(AttributeError):
        data.x = torch.zeros(1, 1)


ones = torch.ones(4, 2)
classes = torch.zeros(4, 1, dtype=torch.int64)


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"x": [[1.0]]}, TypeError, "x is a list"),
        ({"x": torch.ones(4, 2, dtype=torch.int64)}, TypeError, "x has dtype torch.int64"),
        ({"x": torch.ones(4)}, ValueError, r"x has shape \(4,\)"),
        ({"x": torch.ones(0, 2)}, ValueError, "at least one row"),
        ({"x": torch.ones(2, 0)}, ValueError, "at least one row"),
        ({"x": torch.tensor([[1.0, float("nan")]])}, ValueError, "1 values that are NaN or infinite"),
        ({"x": torch.tensor([[float("inf"), float("-inf")]])}, ValueError, "2 values that are NaN or infinite"),
        ({"x": ones, "image_shape": (2, 2)}, ValueError, r"image_shape is \(2, 2\); expected 2 pixels"),
        ({"x": ones, "factor_sizes": (3,)}, ValueError, "factors is None"),
        ({"x": ones, "factors": classes.float(), "factor_sizes": (1,)}, TypeError, "factors is torch.float32"),
        ({"x": ones, "factors": [0, 0, 0, 0], "factor_sizes": (1,)}, TypeError, "factors is list"),
        ({"x": ones, "factors": classes[:3], "factor_sizes": (1,)}, ValueError, r"n = 4 rows"),
        ({"x": ones, "factors": classes[:, 0], "factor_sizes": (1,)}, ValueError, r"factors has shape \(4,\)"),
        ({"x": ones, "factors": classes}, ValueError, r"factor_sizes is \(\); expected 1"),
        ({"x": ones, "factors": classes, "factor_sizes": (1,), "factor_names": ("a", "b")}, ValueError, "1 names"),
        ({"x": ones, "factors": classes + 3, "factor_sizes": (3,)}, ValueError, "runs from 3 to 3; expected 0 to 2"),
        ({"x": ones, "factors": classes - 1, "factor_sizes": (3,)}, ValueError, "runs from -1 to -1"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, error, words):
    with pytest.raises(error, match=words):
        Dataset(**arguments)
