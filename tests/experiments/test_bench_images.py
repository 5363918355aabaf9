"""The cost of training on sprites."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal

from latentbook.experiments import _bench_images as images
from latentbook.experiments import bench
from latentbook.objectives import ELBO, TCVAE, minibatch_total_correlation
from latentbook.random import Generator

SMALL = bench.Config("tiny", hidden=(16, 8))


def test_blocks_are_more_than_twice_as_fast_and_products_bound_a_step(capsys):
    config = bench.Config(sections=("mlp", "tcvae"), batch_size=384, hidden=(128, 128), compiled=False, device="cpu")
    table = bench.run(config)
    with capsys.disabled():
        print("\n" + table.to_string())
    ways = table.set_index(["what", "way"])
    assert ways.times_as_fast["total correlation and gradient", "in blocks"] > 2.2
    assert 0.1 < ways.of_roof["dSprites MLP", "fit"] < 1.2


def test_both_ways_estimate_the_same():
    codes = [part.detach().double().requires_grad_() for part in images.some_codes(32, 3)]
    functions = images.broadcast_total_correlation, minibatch_total_correlation
    found = [function(codes[0], Normal(*codes[1:])) for function in functions]
    assert torch.allclose(*found)
    for one, other in zip(*(torch.autograd.grad(value, codes) for value in found), strict=True):
        assert torch.allclose(one, other)


@pytest.mark.parametrize(
    ("objective", "loss"),
    [(ELBO(), images._negative_elbo), (TCVAE(images.BETA), images._negative_elbo_and_tc)],
)
def test_the_loop_trains_the_same_model(objective, loss):
    model, plain = images.an_mlp(SMALL), images.plain_mlp(SMALL)
    x, noise = images._rows(SMALL, 8), Generator(3).normal(8, images.LATENTS)[0]
    value = objective(model, x, Generator(3)).value.sum()
    other = loss(plain, x, noise)
    assert torch.allclose(other, value, rtol=1e-4)
    value.backward()
    other.backward()
    assert torch.allclose(plain.encoder[0].weight.grad, model.encoder.network[0].weight.grad[0].T, atol=1e-4)


def test_the_convolutional_loop_has_as_many_weights():
    numbers = [sum(p.numel() for p in build(SMALL).parameters()) for build in (images.plain_conv, images.a_conv)]
    assert numbers[0] == numbers[1]
    x = images._rows(SMALL, 4)
    assert images.plain_conv(SMALL)(x, torch.zeros(4, images.LATENTS)).isfinite()


def test_operations_of_the_published_pair_are_those_counted_by_hand():
    published = bench.Config()
    assert images.flops(published) == pytest.approx(75.5e6, rel=2e-3)
    layers = ((4096, 1200), (1200, 1200), (1200, 40), (20, 1200), (1200, 1200), (1200, 1200), (1200, 4096))
    assert images.flops(published) == sum(6 * i * o for i, o in layers) - 2 * 4096 * 1200
