"""Soft sprites: each factor does what its name says, and nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from scipy.special import spence
from torch import Tensor

from latentbook.data.soft_sprites import FACTORS, render, soft_sprites
from latentbook.jacobian import column_norms, jacobian
from latentbook.metrics import ima_contrast
from latentbook.models import VAE, BetaPrior
from latentbook.objectives import ELBO
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit


def factors(**changed: float) -> Tensor:
    """Five settings with all factors in the middle, but for one that runs from 0 to 1."""
    values = {name: torch.full((5,), 0.5, dtype=torch.float64) for name in FACTORS}
    values |= {name: torch.linspace(0, 1, 5, dtype=torch.float64) for name in changed}
    return torch.stack([values[name] for name in FACTORS], dim=-1)


def centroid(images: Tensor) -> tuple[Tensor, Tensor]:
    """Where the light is, in shares of the side: from left to right, and from top to bottom."""
    light, pixel = images.sum(-3), (torch.arange(images.shape[-1]) + 0.5) / images.shape[-1]
    total = light.sum((-2, -1))
    return (light.sum(-2) * pixel).sum(-1) / total, (light.sum(-1) * pixel).sum(-1) / total


@pytest.mark.parametrize("size", [16, 32])
def test_the_centroid_follows_the_position_alone(size):
    moved, still = centroid(render(factors(x=True), size))
    assert torch.allclose(moved.diff(), moved.diff().mean().expand(4), rtol=0.02)
    assert moved.diff().mean() > 0.05
    assert torch.allclose(still, torch.full_like(still, 0.5), atol=1e-6)
    still, moved = centroid(render(factors(y=True), size))
    assert moved.diff().min() > 0.05
    assert torch.allclose(still, torch.full_like(still, 0.5), atol=1e-6)
    for name in ("scale", "hue"):
        for part in centroid(render(factors(**{name: True}), size)):
            assert torch.allclose(part, torch.full_like(part, 0.5), atol=1e-6)


def test_the_area_follows_the_scale_alone():
    radius, softness = torch.linspace(0.1, 0.25, 5, dtype=torch.float64), 0.06
    disc = -2 * math.pi * softness**2 * torch.as_tensor(spence(1 + (radius / softness).exp().numpy()))
    area = render(factors(scale=True), 64).sum((-3, -2, -1)) / 64**2
    assert torch.allclose(area, 1.5 * disc, rtol=0.02)  # the integral of the mask, times the sum of the colours
    for name in ("x", "y", "hue"):
        area = render(factors(**{name: True}), 64).sum((-3, -2, -1))
        assert torch.allclose(area, area[0].expand(5), rtol=0.03)


def test_the_colour_follows_the_hue_alone():
    red, green, blue = render(factors(hue=True), 32).amax((-2, -1)).T
    assert [int(v.argmax()) for v in (red, green, blue)] == [0, 2, 4]
    strength = torch.stack([red, green, blue]).square().sum(0)
    assert torch.allclose(strength, strength[0].expand(5))
    for name in ("x", "y", "scale"):
        colour = render(factors(**{name: True}), 32).sum((-2, -1))
        colour = colour / colour.sum(-1, keepdim=True)
        assert torch.allclose(colour, colour[:1].expand(5, 3))


def test_pictures_lie_in_the_unit_interval_and_inside_their_frame():
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4)
    images = render(corners, 32)
    assert images.shape == (16, 3, 32, 32)
    assert images.min() >= 0 and images.max() <= 1 and images.amax((-3, -2, -1)).min() > 0.7
    border = torch.cat([images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]], dim=-1)
    assert border.max() < 0.5


@pytest.mark.parametrize("size", [16, 32])
def test_factors_move_pictures_in_orthogonal_directions(size):
    z = Generator(1).uniform(200, 4, dtype=torch.float64)[0]
    J = jacobian(lambda z: render(z, size).flatten(-3), z)
    assert ima_contrast(J).mean() < 1e-4 and ima_contrast(J).max() < 5e-3
    assert column_norms(J).min() > 0.1


def test_the_renderer_is_smooth():
    z = Generator(2).uniform(3, 4, dtype=torch.float64)[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda z: render(z, 8), z)
    centred = torch.tensor([[0.5, 0.5, 0.5, 0.5]], requires_grad=True)  # a pixel in the very centre
    render(centred, 9).sum().backward()
    assert centred.grad.isfinite().all()


def test_leading_axes_and_determinism():
    z = Generator([1, 2]).uniform(6, 4)
    images = render(z)
    assert images.shape == (2, 6, 3, 32, 32) and torch.equal(images, render(z.clone()))
    assert torch.equal(images[1, 3], render(z[1, 3]))


def test_samples_have_beta_factors_and_a_member_of_its_own():
    alpha, beta = (1.0, 2.0, 3.0, 0.5), 2.0
    x, s = soft_sprites(Generator([1, 2]), 3000, size=8, alpha=alpha, beta=beta)
    assert x.shape == (2, 3000, 3 * 8 * 8) and s.shape == (2, 3000, 4)
    assert torch.equal(x.view(2, 3000, 3, 8, 8), render(s, 8))
    for k in range(4):
        assert stats.kstest(s[0, :, k].numpy(), stats.beta(alpha[k], beta).cdf).pvalue > 0.001
    assert (torch.corrcoef(s[0].T) - torch.eye(4)).abs().max() < 5 / math.sqrt(3000)
    alone = soft_sprites(Generator([2]), 3000, size=8, alpha=alpha, beta=beta)
    assert torch.equal(alone.x[0], x[1])


@pytest.mark.parametrize("conv", [False, True])
def test_they_feed_a_vae(conv):
    seeds = (0, 1)
    options = {"data": soft_sprites(Generator([9]), 50, size=8).x[0], "generator": Generator(seeds)}
    options |= {"prior": BetaPrior(4, 2.0, 2.0, learned=True, members=2), "hidden": (8,)}
    if conv:
        model = VAE.conv((3, 8, 8), 4, channels=(4,), **options)
    else:
        model = VAE.mlp(192, 4, **options)
    config = TrainConfig(seeds=seeds, steps=5, batch_size=8)
    fit(model, ELBO(), lambda generator, n: soft_sprites(generator, n, size=8).x, config, progress=False)
    assert model.codes(options["data"]).shape == (2, 50, 4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: render(torch.zeros(5, 3)), r"factors is torch.float32 \(5, 3\)"),
        (lambda: render(torch.zeros(5, 4, dtype=torch.int64)), "factors is torch.int64"),
        (lambda: render([[0.5] * 4]), "factors is list"),
        (lambda: render(torch.tensor([0.5, 0.5, 1.5, 0.5])), "factors runs from 0.5 to 1.5"),
        (lambda: render(torch.full((4,), math.nan)), "factors runs from nan"),
        (lambda: render(torch.zeros(4), size=7), "size is 7"),
        (lambda: soft_sprites(Generator(0), 0), "n is 0"),
        (lambda: soft_sprites(Generator(0), 5, alpha=0.0), "alpha is 0.0; expected one positive number"),
        (lambda: soft_sprites(Generator(0), 5, beta=(1.0, 2.0)), r"beta is \[1.0, 2.0\]"),
    ],
)
def test_bad_input_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
