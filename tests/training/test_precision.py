"""Products in bfloat16: what is rounded, what is not, and that a run comes out alike."""

from __future__ import annotations

import pytest
import torch

from latentbook.models import VAE, BernoulliLikelihood, GaussianLikelihood
from latentbook.nn import MLP, Linear, keep_exact, products_in
from latentbook.objectives import ELBO
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit

HALF, SEEDS = torch.bfloat16, (1, 2)
X = (Generator(5).uniform(512, 64)[0] < 0.2).float()


def vae(likelihood=None, conv: bool = False) -> VAE:
    options = {"likelihood": likelihood or BernoulliLikelihood(), "generator": Generator(SEEDS)}
    if conv:
        return VAE.conv((1, 8, 8), 2, channels=(4, 4), hidden=(8,), **options)
    return VAE.mlp(64, 2, hidden=(32,), separate=False, **options)


def rounds(values: torch.Tensor) -> bool:
    """Whether all values are numbers of bfloat16."""
    return torch.equal(values, values.to(HALF).to(values.dtype))


def test_a_layer_multiplies_in_the_type_around_it():
    layer, x = Linear(64, 5, generator=Generator(SEEDS)), X[:8]
    with products_in(HALF):
        inside = layer(x)
    rounded = torch.baddbmm(layer.bias.to(HALF), x.to(HALF).expand(2, 8, 64), layer.weight.to(HALF))
    assert inside.dtype == HALF and torch.equal(inside, rounded)
    assert layer(x).dtype == torch.float32, "outside the block nothing is rounded"
    with products_in(None):
        assert torch.equal(layer(x), layer(x[None].expand(2, 8, 64)))


def test_what_members_share_is_rounded_to_the_same():
    layer, x = Linear(64, 5, generator=Generator(SEEDS)), X[:8]
    with products_in(HALF):
        assert torch.equal(layer(x.expand(2, 8, 64)), layer(x.repeat(2, 1, 1)))


def test_the_block_ends_with_an_error_too():
    layer = Linear(64, 5, generator=Generator(SEEDS))
    with pytest.raises(KeyError), products_in(HALF):
        raise KeyError
    assert layer(X).dtype == torch.float32


def test_a_network_gives_out_its_own_type_and_keeps_an_exact_layer():
    net = MLP((64, 16, 3), generator=Generator(SEEDS))
    with products_in(HALF):
        assert net(X).dtype == torch.float32 and rounds(net(X))
        keep_exact(net)
        assert net(X).dtype == torch.float32 and not rounds(net(X))
    assert [layer.exact for layer in net if isinstance(layer, Linear)] == [False, True]


@pytest.mark.parametrize("conv", [False, True])
def test_means_and_scales_are_not_rounded_and_logits_are(conv):
    """The posterior and a Gaussian's means are exact in their last layer; all that networks give out is float32."""
    logits, means = vae(conv=conv), vae(GaussianLikelihood(10.0), conv)
    with products_in(HALF):
        posterior = logits.encode(X)
        assert posterior.mean.dtype == posterior.stddev.dtype == torch.float32
        assert not rounds(posterior.mean)
        decoded = logits.decode(posterior.mean), means.decode(posterior.mean)
    assert decoded[0].dtype == decoded[1].dtype == torch.float32
    assert rounds(decoded[0]) and not rounds(decoded[1])
    assert torch.allclose(posterior.mean, logits.encode(X).mean, atol=0.02)


@pytest.mark.parametrize("conv", [False, True])
def test_a_run_comes_out_alike(conv):
    """The same batches and noise, so that losses differ by rounding alone: under 1 % after 200 steps, and not by 0."""
    histories = {}
    for precision in ("float32", "bfloat16"):
        model = vae(conv=conv)
        usual = {"seeds": SEEDS, "steps": 200, "batch_size": 64, "learning_rate": 3e-3, "device": "cpu"}
        seen = []

        def objective(model, batch, generator, seen=seen):
            loss = ELBO()(model, batch, generator)
            seen.append({loss.value.dtype, *(term.dtype for term in loss.terms.values())})
            return loss

        histories[precision] = fit(model, objective, X, TrainConfig(**usual, precision=precision))
        assert all(types == {torch.float32} for types in seen)
        assert {p.dtype for p in model.parameters()} == {torch.float32}
    one, other = (history.loss[-1] for history in histories.values())
    assert torch.allclose(one, other, rtol=0.01) and not torch.equal(one, other)


def test_another_type_of_model_is_refused():
    model = vae().double()
    with pytest.raises(ValueError, match=r"precision is 'bfloat16' and the model's type torch.float64"):
        fit(model, ELBO(), X.double(), TrainConfig(seeds=SEEDS, precision="bfloat16", device="cpu"))


def test_wrong_type_of_input():
    layer = Linear(64, 5, generator=Generator(SEEDS))
    with products_in(HALF), pytest.raises(TypeError, match=r"float64; expected torch.float32"):
        layer(X.double())
