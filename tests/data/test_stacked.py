"""Data of its own for every member."""

from __future__ import annotations

import pytest
import torch

from latentbook.data import Stacked
from latentbook.models import VAE
from latentbook.objectives import ELBO
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit
from latentbook.training.batches import signature

X = Generator([0, 1]).normal(10, 3)
U = Generator([0, 1]).integers(4, 10)


def test_a_batch_holds_rows_of_the_member_alone():
    data = Stacked(X, U)
    index = torch.tensor([[0, 9, 3], [7, 7, 1]])
    x, u = data.batch(index)
    assert (len(data), data.members) == (10, 2)
    for member in range(2):
        assert torch.equal(x[member], X[member, index[member]]) and torch.equal(u[member], U[member, index[member]])
    assert torch.equal(Stacked(X).batch(index), x)
    assert data.to("cpu").tensors[1].equal(U)


def test_members_train_on_their_own_rows():
    config = TrainConfig(seeds=(0, 1), steps=5, batch_size=4)
    stack = VAE.mlp(3, 2, hidden=(8,), generator=Generator([0, 1]))
    alone = VAE.mlp(3, 2, hidden=(8,), generator=Generator([1]))
    fit(stack, ELBO(), Stacked(X), config, progress=False)
    fit(alone, ELBO(), X[1], TrainConfig(seeds=(1,), steps=5, batch_size=4), progress=False)
    assert torch.allclose(stack.codes(X)[1], alone.codes(X[1])[0], atol=1e-5)


def test_the_fingerprint_sees_all_tensors():
    assert signature(Stacked(X, U)) == signature(Stacked(X.clone(), U.clone()))
    assert signature(Stacked(X, U)) != signature(Stacked(X, U.flip(1)))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Stacked(), ValueError, "tensors begins with no tensor"),
        (lambda: Stacked(X[0]), ValueError, r"tensors begins with \(10, 3\); expected x \(members, n, features\)"),
        (lambda: Stacked(X, U[:, :5]), ValueError, r"tensors has the shape \(2, 5\); expected \(2, 10\) first"),
        (lambda: Stacked(X / 0), ValueError, "x has 60 value"),
        (lambda: Stacked(X, [0]), TypeError, "tensors holds a list"),
        (lambda: Stacked(X).batch(torch.zeros(3, 4, dtype=torch.int64)), ValueError, r"index has shape \(3, 4\)"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
