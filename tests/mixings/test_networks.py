"""Random networks: well-conditioned matrices of unit rows, and the layers they are asked for."""

from __future__ import annotations

import pytest
import torch

from latentbook.mixings import LeakyTanh, Linear, SmoothLeakyReLU, random_network, well_conditioned
from latentbook.random import Generator


@pytest.mark.parametrize("size", [1, 3, 5, 20])
def test_matrices_have_unit_rows_and_are_in_the_best_quarter(size):
    matrices = well_conditioned(Generator(range(40)), size, 3)
    assert matrices.shape == (40, 3, size, size) and matrices.dtype == torch.float64
    assert (matrices.norm(dim=-1) - 1).abs().max() < 1e-6
    others = 2 * Generator(range(40), stream="others").uniform(200, size, size, dtype=torch.float64) - 1
    others = torch.linalg.cond(others / others.norm(dim=-1, keepdim=True)).flatten()
    condition = torch.linalg.cond(matrices)
    assert condition.max() <= others.quantile(0.35) + 1e-9  # a quarter, with the spread of each member's own sample
    if size > 1:
        assert condition.std() > 0.01 and not torch.allclose(matrices[0, 0], matrices[0, 1])


def test_layers_activations_and_reuse():
    network = random_network(Generator([1, 2]), 3, layers=3)
    assert [type(part) for part in network.parts] == [Linear, LeakyTanh, Linear, LeakyTanh, Linear]
    matrices = [part.matrix for part in network.parts[::2]]
    assert not torch.equal(matrices[0], matrices[1]) and network.members == 2
    again = [part.matrix for part in random_network(Generator([1, 2]), 3, layers=3, reuse=True).parts[::2]]
    assert torch.equal(again[0], matrices[0]) and torch.equal(again[0], again[2])
    leaky = random_network(Generator(0), 3, layers=2, activation="leaky_relu", slope=0.2)
    assert [type(part) for part in leaky.parts] == [Linear, SmoothLeakyReLU, Linear] and leaky.parts[1].slope == 0.2
    alone = random_network(Generator([2]), 3, layers=3)
    assert torch.equal(alone.parts[2].matrix[0], matrices[1][1])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: random_network(Generator(0), 3, layers=0), "layers is 0"),
        (lambda: random_network(Generator(0), 0), "size is 0"),
        (lambda: random_network(Generator(0), 3, activation="tanh"), "activation is 'tanh'; expected one of"),
        (lambda: random_network(Generator(0), 3, slope=0.0), "slope is 0.0"),
        (lambda: well_conditioned(Generator(0), 3, 0), "count is 0"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
