"""The cost of training on sprites."""

from __future__ import annotations

import torch
from torch.distributions import Normal

from latentbook.experiments import bench_sprites
from latentbook.objectives import minibatch_total_correlation

SMALL = {"hidden": (64,), "decoder_hidden": (64,), "pictures": 512, "steps": 1}


def test_blocks_are_more_than_twice_as_fast_and_bits_cost_little(capsys):
    table = bench_sprites.run(bench_sprites.Config(batch_size=512, latent_size=10, **SMALL))
    with capsys.disabled():
        print("\n" + table.to_string())
    faster = table.set_index("way")["times as fast"]
    assert faster["in blocks"] > 2.2
    assert faster["packed bits"] > 0.5


def test_both_ways_estimate_the_same():
    codes = bench_sprites._codes(bench_sprites.Config(batch_size=32, latent_size=3))
    codes = [part.detach().double().requires_grad_() for part in codes]
    functions = bench_sprites.broadcast_total_correlation, minibatch_total_correlation
    found = [function(codes[0], Normal(*codes[1:])) for function in functions]
    assert torch.allclose(*found)
    for one, other in zip(*(torch.autograd.grad(value, codes) for value in found), strict=True):
        assert torch.allclose(one, other)


def test_it_is_an_experiment_like_the_others():
    tiny = bench_sprites.Config(batch_size=4, latent_size=2, repetitions=1, **SMALL | {"pictures": 8, "hidden": (2,)})
    table = bench_sprites.run(tiny)
    assert list(table.columns) == ["what", "way", "ms", "times as fast"]
    assert len(table) == 4 and bool((table["ms"] >= 0).all())
