"""The VAE, its likelihoods and its prior, against torch.distributions."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from latentbook.models import VAE, BernoulliLikelihood, GaussianLikelihood, NormalPrior
from latentbook.models import priors as prior_functions
from latentbook.nn import select
from latentbook.random import Generator

SEEDS = (0, 1, 2)


def data(*shape: int) -> torch.Tensor:
    return Generator(99).normal(*shape)[0]


def mlp(**options) -> VAE:
    return VAE.mlp(6, 2, **{"generator": Generator(SEEDS)} | options)


def test_gaussian_likelihood_is_a_normal_density_with_precision_gamma2():
    gamma2 = torch.tensor([0.5, 2.0, 30.0])
    likelihood, decoded, x = GaussianLikelihood(gamma2), data(3, 4, 6, 5), data(6, 5)
    expected = Normal(decoded, gamma2.rsqrt().view(3, 1, 1, 1)).log_prob(x).sum(-1)
    assert torch.allclose(likelihood.log_prob(decoded, x), expected, atol=1e-4)
    assert torch.allclose(likelihood.entropy(5), Normal(0.0, gamma2.rsqrt()).entropy() * 5, atol=1e-5)


def test_bernoulli_likelihood():
    likelihood, logits, x = BernoulliLikelihood(), data(3, 6, 5), (data(6, 5) > 0).float()
    expected = Bernoulli(logits=logits).log_prob(x.expand_as(logits)).sum(-1)
    assert torch.allclose(likelihood.log_prob(logits, x), expected, atol=1e-5)


def test_samples_of_the_likelihoods_have_their_moments():
    decoded, generator = torch.zeros(2, 40_000, 1) + 0.7, Generator([0, 1])
    gaussian = GaussianLikelihood(torch.tensor([4.0, 0.25])).sample(decoded, generator)
    assert gaussian.std(1).flatten().tolist() == pytest.approx([0.5, 2.0], rel=0.02)
    bernoulli = BernoulliLikelihood().sample(decoded, generator)
    assert bernoulli.mean(1).flatten().tolist() == pytest.approx([torch.tensor(0.7).sigmoid().item()] * 2, abs=0.01)


def test_prior_and_closed_form_kl():
    prior, posterior = NormalPrior(2, torch.tensor([1.0, 4.0])), Normal(data(3, 5, 2), data(3, 5, 2).exp())
    expected = kl_divergence(posterior, Normal(torch.zeros(2), torch.tensor([1.0, 2.0]))).sum(-1)
    assert torch.allclose(prior_functions.kl_divergence(posterior, prior()), expected)
    z = prior.sample((50_000,), Generator([0, 1]))
    assert z.shape == (2, 50_000, 2)
    assert z.var(1)[0].tolist() == pytest.approx([1.0, 4.0], rel=0.05)
    joint = torch.distributions.MultivariateNormal(torch.zeros(2), torch.diag(torch.tensor([1.0, 4.0])))
    points = data(3, 5, 2)
    assert torch.allclose(prior_functions.log_prob(joint, points), prior_functions.log_prob(prior(), points), atol=1e-5)
    assert prior_functions.kl_divergence(posterior, torch.distributions.Laplace(0.0, 1.0).expand((2,))) is not None
    assert prior_functions.kl_divergence(posterior, torch.distributions.StudentT(3.0).expand((2,))) is None


@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("likelihood", [GaussianLikelihood(9.0), BernoulliLikelihood()])
def test_shapes_and_a_member_alone(separate, likelihood):
    x = data(20, 6).sigmoid()
    options = {"hidden": (8,), "separate": separate, "likelihood": likelihood, "data": x}
    stack = VAE.mlp(6, 2, **options, generator=Generator(SEEDS))
    alone = VAE.mlp(6, 2, **options, generator=Generator(SEEDS[1]))
    assert stack.members == 3
    assert stack.encode(x).mean.shape == (3, 20, 2)
    assert stack.reconstruct(x).shape == (3, 20, 6)
    assert stack.sample(4, Generator(SEEDS), noise=True).shape == (3, 4, 6)
    assert torch.allclose(stack.reconstruct(x)[1], alone.reconstruct(x)[0], atol=1e-5)
    assert torch.allclose(select(stack, [1]).reconstruct(x), alone.reconstruct(x), atol=1e-5)


def test_log_variance_starts_where_training_ends():
    x, gamma2 = data(100, 6) * 2, torch.tensor([1.0, 100.0, 1e4])
    model = VAE.mlp(6, 2, hidden=(8,), likelihood=GaussianLikelihood(gamma2), data=x, generator=Generator(SEEDS))
    expected = 1 / (1 + gamma2 * x.var(0, correction=0).sum() / 2)
    assert torch.allclose(model.encode(x).variance.mean((1, 2)).log(), expected.log(), atol=1.0)
    other = VAE.mlp(6, 2, initial_log_variance=-3.0, generator=Generator(SEEDS))
    assert torch.allclose(other.encode(x).variance.log().mean(), torch.tensor(-3.0), atol=0.5)


def test_annealed_precision_moves_the_posterior_variance_with_it():
    x = data(50, 6)
    model = VAE.mlp(6, 2, likelihood=GaussianLikelihood(1e4, members=3), data=x, generator=Generator(SEEDS))
    full = model.encode(x).variance
    model.likelihood.gamma2.set_multiplier(1e-4)
    ratio = model.encode(x).variance / full
    c = model.column_norm2
    assert torch.allclose(ratio, torch.full_like(ratio, (1 + c * 1e4) / (1 + c)), rtol=1e-3)


def test_the_prior_variance_enters_start_and_annealing():
    x, variance, gamma2 = data(50, 6), torch.tensor([0.01, 4.0]), torch.tensor([1e-6, 1.0, 100.0])
    options = {"likelihood": GaussianLikelihood(gamma2), "prior": NormalPrior(2, variance), "data": x}
    model = VAE.mlp(6, 2, **options, generator=Generator(SEEDS))
    bias = model.encoder.log_variance.last.bias[:, 0]
    expected = variance / (1 + gamma2[:, None] * model.column_norm2)
    assert torch.allclose(bias, expected.log())
    full = model.encode(x).variance
    model.likelihood.gamma2.set_multiplier(0.1)
    annealed = variance / (1 + 0.1 * gamma2[:, None] * model.column_norm2)
    ratio = (annealed / expected)[:, None].expand_as(full)
    assert torch.allclose(model.encode(x).variance / full, ratio, rtol=1e-4)
    bernoulli = VAE.mlp(6, 2, prior=NormalPrior(2, 4.0), likelihood=BernoulliLikelihood(), generator=Generator(SEEDS))
    assert torch.allclose(bernoulli.encoder.log_variance.last.bias, torch.tensor(4.0).log())


def test_no_annealing_changes_nothing_at_all():
    x = data(50, 6)
    model = VAE.mlp(6, 2, likelihood=GaussianLikelihood([0.3, 7.0, 1e4]), data=x, generator=Generator(SEEDS))
    assert torch.equal(model.encode(x).stddev, model.encoder(x).stddev)
    model.likelihood.gamma2.set_multiplier(torch.ones(3))
    assert torch.equal(model.encode(x).stddev, model.encoder(x).stddev)


def test_a_column_norm_without_a_precision_is_no_matter():
    parts = mlp(likelihood=BernoulliLikelihood())
    model = VAE(parts.encoder, parts.decoder, parts.prior, parts.likelihood, column_norm2=2.0)
    assert torch.equal(model.encode(data(5, 6)).stddev, parts.encode(data(5, 6)).stddev)


def test_annealing_survives_saving():
    x = data(50, 6)
    model, other = (VAE.mlp(6, 2, likelihood=GaussianLikelihood(9.0), generator=Generator(SEEDS)) for _ in range(2))
    model.likelihood.gamma2.set_multiplier(0.01)
    assert not torch.allclose(model.encode(x).variance, other.encode(x).variance)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.encode(x).variance, other.encode(x).variance)
    for copied in (copy.deepcopy(model), select(model, [0, 1, 2])):
        assert torch.equal(model.encode(x).variance, copied.encode(x).variance)
    model.likelihood.gamma2.set_multiplier(1.0)
    assert not torch.equal(model.encode(x).variance, other.encode(x).variance)


def test_select_after_a_knob_was_expanded():
    x = data(50, 6)
    model = VAE.mlp(6, 2, likelihood=GaussianLikelihood(9.0), generator=Generator(SEEDS))
    model.likelihood.gamma2.set_multiplier(torch.tensor([1.0, 0.5, 0.1]))
    chosen = select(model, [2, 0])
    assert chosen.likelihood.gamma2().tolist() == pytest.approx([0.9, 9.0])
    assert torch.allclose(chosen.encode(x).variance, model.encode(x).variance[[2, 0]])


def layers(network: nn.Module) -> list[tuple[int, int] | str]:
    """Sizes of the affine maps, and the names of what stands between them."""
    parts = [part for part in network.modules() if not list(part.children())]
    return [part.weight.shape[1:] if hasattr(part, "weight") else type(part).__name__ for part in parts]


def test_the_decoder_may_differ_from_the_encoder():
    """The shape of the pair that is used for sprites, in small."""
    options = {"hidden": (5, 4), "activation": "relu", "separate": False, "likelihood": BernoulliLikelihood()}
    model = mlp(**options, decoder_hidden=(3, 4, 5), decoder_activation="tanh")
    assert layers(model.encoder) == [(6, 5), "ReLU", (5, 4), "ReLU", (4, 4)]
    assert layers(model.decoder) == [(2, 3), "Tanh", (3, 4), "Tanh", (4, 5), "Tanh", (5, 6)]
    assert model.reconstruct(data(7, 6).sigmoid()).shape == (3, 7, 6)
    assert layers(mlp(**options).decoder) == [(2, 4), "ReLU", (4, 5), "ReLU", (5, 6)]
    assert layers(mlp(**options, decoder_hidden=()).decoder) == [(2, 6)]
    assert layers(mlp(**options, decoder_activation="tanh").decoder) == [(2, 4), "Tanh", (4, 5), "Tanh", (5, 6)]


def test_the_convolutional_pair_for_sprites_is_the_default():
    model = VAE.conv((1, 64, 64), 10, likelihood=BernoulliLikelihood(), generator=Generator(0))
    convolution, hidden = 3 * (32 * 32 * 16 + 32) + 32 * 16, 512 * 256 + 256 * 256 + 2 * 256
    encoder = convolution + 32 + hidden + 256 * 20 + 20
    decoder = convolution + 1 + hidden + 512 + 256 * 10
    for part, expected in ((model.encoder, encoder), (model.decoder, decoder)):
        assert sum(p.numel() for p in part.parameters()) == expected
    assert model.decoder.feature_shape == (32, 4, 4)


@pytest.mark.parametrize("likelihood", [None, BernoulliLikelihood()])
def test_a_convolutional_vae(likelihood):
    x, options = data(5, 64).sigmoid(), {"channels": (4, 6), "hidden": (8,), "likelihood": likelihood}
    model = VAE.conv((1, 8, 8), 2, **options, data=x, generator=Generator(SEEDS))
    alone = VAE.conv((1, 8, 8), 2, **options, data=x, generator=Generator(SEEDS[1]))
    assert model.encode(x).mean.shape == (3, 5, 2)
    assert model.reconstruct(x).shape == (3, 5, 64)
    assert torch.allclose(model.reconstruct(x)[1], alone.reconstruct(x)[0], atol=1e-5)
    start = 0.0 if likelihood else -(1 + model.column_norm2).log()
    assert torch.allclose(model.encode(x).variance.log().mean(), torch.as_tensor(start), atol=0.5)


@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("whiten", ["zca", "standardise"])
def test_each_member_may_have_data_of_its_own(conv, whiten):
    x = torch.stack([data(30, 16), 5 * data(30, 16) + 2, 0.1 * data(30, 16)])
    gamma2 = torch.tensor([1.0, 10.0, 100.0])

    def make(seeds: tuple[int, ...], x: torch.Tensor, gamma2: torch.Tensor) -> VAE:
        options = {"likelihood": GaussianLikelihood(gamma2), "data": x, "generator": Generator(seeds)}
        if conv:
            return VAE.conv((1, 4, 4), 2, channels=(4,), hidden=(8,), **options)
        return VAE.mlp(16, 2, hidden=(8,), whiten=whiten, **options)

    stack = make(SEEDS, x, gamma2)
    assert stack.column_norm2.shape == (3,)
    for k in range(3):
        alone = make(SEEDS[k : k + 1], x[k], gamma2[k])
        for model, rows in ((stack, x), (select(stack, [k]), x[k : k + 1])):
            member = k if model is stack else 0
            assert torch.allclose(model.reconstruct(rows)[member], alone.reconstruct(x[k])[0], rtol=1e-3, atol=1e-4)
            assert torch.allclose(model.encode(rows).stddev[member], alone.encode(x[k]).stddev[0], rtol=1e-3)
    full = stack.encode(x).variance
    stack.likelihood.gamma2.set_multiplier(0.1)
    c = gamma2 * stack.column_norm2
    expected = ((1 + c) / (1 + 0.1 * c))[:, None, None].expand_as(full)
    assert torch.allclose(stack.encode(x).variance / full, expected, rtol=1e-4)


def test_codes_are_posterior_means_or_samples():
    x, model = data(2000, 6), mlp(initial_log_variance=-2.0)
    posterior = model.encode(x)
    assert torch.equal(model.codes(x), posterior.mean)
    noise = (model.codes(x, generator=Generator(SEEDS)) - posterior.mean) / posterior.stddev
    assert noise.shape == (3, 2000, 2)
    assert abs(noise.mean().item()) < 5 / math.sqrt(noise.numel())
    assert abs(noise.square().mean().item() - 1) < 5 * math.sqrt(2 / noise.numel())
    alone = select(model, [1]).codes(x, generator=Generator(SEEDS[1]))
    assert torch.allclose(alone[0], model.codes(x, generator=Generator(SEEDS))[1], atol=1e-5)


def models():
    yield VAE.mlp(16, 2, hidden=(8,), data=data(9, 16), generator=Generator(SEEDS))
    yield VAE.conv((1, 4, 4), 2, channels=(4,), hidden=(8,), generator=Generator(SEEDS))


def test_a_traversal_moves_one_latent_and_leaves_the_others():
    model, z = mlp(), torch.tensor([0.3, -0.4])
    pictures = model.traverse(z, [-1.0, 0.0, 2.0], latents=[1])
    assert pictures.shape == (3, 1, 3, 6)
    codes = torch.tensor([[0.3, -1.0], [0.3, 0.0], [0.3, 2.0]])
    assert torch.equal(pictures[:, 0], model.likelihood.mean(model.decode(codes.expand(3, 3, 2))))
    each = model.traverse(torch.stack([z, z, z]), [z[0].item()])
    assert torch.allclose(each[:, 0, 0], model.decode(z.expand(3, 1, 2))[:, 0])


@pytest.mark.parametrize(
    "z, values, latents, words",
    [
        (torch.zeros(3), [0.0], None, r"z has shape \(3,\); expected \(2,\) or \(3, 2\)"),
        (torch.zeros(2), [], None, "values has shape"),
        (torch.zeros(2), [0.0], [2], r"latents is \[2\]; expected indices from 0 to 1"),
    ],
)
def test_a_traversal_refuses_bad_input(z, values, latents, words):
    with pytest.raises(ValueError, match=words):
        mlp().traverse(z, values, latents)


def test_everything_moves_to_the_device_of_the_model():
    x, z, generator = data(5, 16), data(3, 5, 2), Generator(SEEDS)
    for model in models():
        model = model.to("meta")
        assert model.sample(4, generator, noise=True).shape == (3, 4, 16)
        for value in (model.encode(x).mean, model.decode(z), model.reconstruct(x), model.sample(4, generator)):
            assert value.device.type == "meta"


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu():
    x, z = data(5, 16), data(3, 5, 2)
    for cpu, cuda in zip(models(), models(), strict=True):
        cuda = cuda.cuda()
        for function in (
            lambda m: m.encode(x).mean,
            lambda m: m.decode(z),
            lambda m: m.reconstruct(x),
            lambda m: m.sample(4, Generator(SEEDS), noise=True),
        ):
            assert function(cuda).device.type == "cuda"
            assert torch.allclose(function(cuda).cpu(), function(cpu), atol=1e-3)
    made = VAE.mlp(
        16, 2, data=data(9, 16), likelihood=GaussianLikelihood(2.0), generator=Generator(SEEDS, device="cuda")
    )
    assert {value.device.type for value in made.state_dict().values()} == {"cuda"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GaussianLikelihood(-1.0), "precision is -1"),
        (lambda: GaussianLikelihood(0.0), "precision is 0"),
        (lambda: GaussianLikelihood(1.0, learned=True), "members is None"),
        (lambda: NormalPrior(2, -1.0), "variance is -1"),
        (lambda: NormalPrior(2, torch.ones(3)), "variance has shape"),
        (lambda: NormalPrior(0), "size is 0"),
        (lambda: VAE.mlp(6, 2, data=data(5, 4), generator=Generator(0)), r"data has shape \(5, 4\)"),
        (lambda: mlp(data=data(5, 6)[:0]), r"data has shape \(0, 6\)"),
        (lambda: mlp(data=data(5, 6) * math.nan, whiten=None), "data has 30 value"),
        (lambda: mlp(data=data(5, 6) / 0), "data has 30 value"),
        (lambda: mlp(data=3 * data(5, 6), likelihood=BernoulliLikelihood()), "expected 0 to 1, since"),
        (lambda: mlp(data=data(2, 5, 6)), r"data has shape \(2, 5, 6\); expected \(n, 6\) or \(3, n, 6\)"),
        (lambda: mlp(prior=NormalPrior(3)), "prior has 3 latents; expected latent_size = 2"),
        (lambda: mlp(hidden=(8, 0)), "hidden has the size 0"),
        (lambda: mlp(decoder_hidden=(8, 0)), "decoder_hidden has the size 0"),
        (lambda: mlp(decoder_activation="sine"), "activation is 'sine'"),
        (lambda: VAE.mlp(0, 2, generator=Generator(0)), "data_size has the size 0"),
        (lambda: mlp(initial_log_variance=torch.zeros(2)), r"shape \(2,\); expected one number or \(3,\)"),
        (lambda: VAE.conv((1, 8), 2, generator=Generator(0)), "image_shape"),
        (lambda: VAE.conv((1, 16, 16), 2, data=data(5, 64), generator=Generator(0)), r"data has shape \(5, 64\)"),
        (lambda: mlp().sample(3, Generator(0)), "generator has 1 seeds; expected 3"),
        (lambda: mlp().codes(data(5, 6), generator=Generator(0)), "generator has 1 seeds; expected 3"),
        (
            lambda: VAE.mlp(6, 2, likelihood=GaussianLikelihood(1.0, members=4), generator=Generator(SEEDS)),
            "likelihood is made for 4 members; expected 3",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mlp(data=data(5, 6).double()), "data has dtype torch.float64; expected a tensor of torch.float32"),
        (lambda: mlp(data=torch.ones(5, 6, dtype=torch.uint8)), "data has dtype torch.uint8"),
        (lambda: mlp(data=[[0.0]]), "data has type list"),
        (lambda: mlp(hidden=64), "hidden is 64; expected a sequence"),
        (lambda: mlp(decoder_hidden=64), "decoder_hidden is 64; expected a sequence"),
        (lambda: mlp(hidden=(64.0,)), "hidden has the size 64.0"),
        (lambda: mlp(generator=0), "generator is a int"),
        (lambda: mlp(data=data(5, 6)).encode(data(5, 6).double()), r"x has dtype torch\.float64"),
        (lambda: VAE.conv(8, 2, generator=Generator(0)), "image_shape is 8"),
    ],
)
def test_bad_types(call, message):
    with pytest.raises(TypeError, match=message):
        call()
