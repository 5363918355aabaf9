"""The coupling flow: exact inverse, exact density, exact Jacobian, members that do not know of each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from latentbook.data import toys
from latentbook.jacobian import jacobian
from latentbook.metrics import mcc
from latentbook.models import CouplingFlow, NormalPrior
from latentbook.models.conditional_priors import ConditionalNormalPrior
from latentbook.nn import select
from latentbook.objectives import FlowLikelihood, IMALikelihood
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit

DOUBLE = torch.float64
SEEDS = (0, 1, 2)


def points(*shape: int) -> torch.Tensor:
    return Generator(99).normal(*shape, dtype=DOUBLE)[0]


def flow(size: int = 3, *, seeds: tuple[int, ...] = SEEDS, bend: float = 0.2, **options) -> CouplingFlow:
    """A flow in double precision whose layers do something."""
    data = points(50, size).float() * 3 + 1
    model = CouplingFlow(size, **{"data": data} | options, generator=Generator(seeds)).double()
    noise = Generator(seeds, stream="weights")
    with torch.no_grad():
        for network in model.networks:
            for parameter in (network.last.weight, network.last.bias):
                parameter.copy_(bend * noise.normal(*parameter.shape[1:], dtype=DOUBLE))
    return model


@pytest.mark.parametrize("size", [2, 3, 5])
def test_round_trip(size):
    model, z = flow(size), points(3, 200, size)
    x = model(z).detach()
    assert float((x - z).abs().mean()) > 0.5
    assert float((model.inverse(x).detach() - z).abs().max()) < 1e-10
    shared = model(z[0])
    assert shared.shape == (3, 200, size) and torch.allclose(shared[0], x[0])
    assert torch.allclose(model.inverse(x[0])[0], z[0])


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_jacobian_by_the_chain_rule_is_that_by_forward_mode(size, hidden):
    model, z = flow(size, hidden=hidden), points(3, 20, size)
    J = model.jacobian(z)
    assert J.shape == (3, 20, size, size)
    assert torch.allclose(J, jacobian(model.forward, z), atol=1e-10)
    assert torch.allclose(model.jacobian(z[1])[1], J[1])


@pytest.mark.parametrize("base", ["normal", "uniform"])
@pytest.mark.parametrize("size", [2, 3])
def test_density_is_change_of_variables(size, base):
    model, z = flow(size, base=base), points(3, 50, size) * 0.3
    if base == "normal":
        log_base = stats.norm.logpdf(z)
    else:
        edges = stats.logistic.cdf((z + 0.5) / 0.02) - stats.logistic.cdf((z - 0.5) / 0.02)
        log_base = torch.from_numpy(edges).log().numpy()
    expected = torch.from_numpy(log_base).sum(-1) - torch.linalg.slogdet(model.jacobian(z)).logabsdet
    assert torch.allclose(model.log_prob(model(z)), expected, atol=1e-9)


@pytest.mark.parametrize("base", ["normal", "uniform"])
def test_density_integrates_to_one(base):
    model, reach = flow(2, base=base, data=None, layers=2), 12 if base == "normal" else 3
    axis = torch.linspace(-reach, reach, 401, dtype=DOUBLE)
    with torch.no_grad():
        mass = model.log_prob(torch.cartesian_prod(axis, axis)).exp().sum(1) * (axis[1] - axis[0]) ** 2
    assert mass.tolist() == pytest.approx([1] * 3, abs=1e-3)


@pytest.mark.parametrize("base", ["normal", "uniform"])
def test_samples_follow_the_density(base):
    model = flow(2, base=base)
    x = model.sample(4000, Generator(SEEDS))
    law = stats.norm.cdf if base == "normal" else soft_uniform
    for code in model.inverse(x).detach().flatten(0, 1).mT:
        assert stats.kstest(code.numpy(), law).pvalue > 1e-3
    assert x.shape == (3, 4000, 2) and not x.requires_grad
    assert float(model.inverse(x).detach().abs().max()) > (3 if base == "normal" else 0.5)


def soft_uniform(z: np.ndarray) -> np.ndarray:
    """Distribution function of a uniform number between -1/2 and 1/2 plus logistic noise of scale 0.02."""
    return 0.02 * (np.logaddexp(0, (z + 0.5) / 0.02) - np.logaddexp(0, (z - 0.5) / 0.02))


def test_every_member_starts_as_its_own_rotation_of_the_standardised_data():
    data = Generator(SEEDS).normal(400, 3) * torch.tensor([1.0, 5.0, 0.1]) + 7
    model = CouplingFlow(3, data=data, generator=Generator(SEEDS))
    z = model.inverse(data)
    assert z.mean(1).abs().max() < 1e-4
    standard = (data - data.mean(1, keepdim=True)) / data.std(1, correction=0, keepdim=True)
    assert torch.allclose(z.norm(dim=-1), standard.norm(dim=-1), atol=1e-3)
    assert float(mcc(z, data).score.max()) < 0.99 and float((z[0] - z[1]).detach().abs().mean()) > 0.3


def test_a_member_is_the_same_alone_selected_and_in_the_stack():
    model, x = flow(seeds=SEEDS), points(3, 20, 3)
    for alone in (flow(seeds=SEEDS[1:2]), select(model, [1])):
        assert torch.allclose(model.log_prob(x)[1], alone.log_prob(x[1])[0])
        assert torch.allclose(model.jacobian(x)[1], alone.jacobian(x[1])[0])


def test_a_short_fit_finds_the_density_of_the_polar_map():
    def observations(generator: Generator, n: int) -> torch.Tensor:
        return toys.polar(generator, n).x

    test = toys.polar(Generator(SEEDS, stream="test"), 2000)
    model = CouplingFlow(2, data=test.x, generator=Generator(SEEDS))
    before = model.log_prob(test.x).mean(1)
    config = TrainConfig(seeds=SEEDS, steps=100, batch_size=64, learning_rate=2e-2)
    fit(model, IMALikelihood(0.0), observations, config, progress=False)
    after = model.log_prob(test.x).mean(1)
    source = -0.5 * (test.sources.square() + math.log(2 * math.pi)).sum(-1)
    truth = (source - (0.4 * 0.5 * (3 + 0.4 * test.sources[..., 0])).log()).mean(1)
    assert bool((truth - before > 0.15).all()) and bool(((truth - after).abs() < 0.06).all())


def known_prior() -> ConditionalNormalPrior:
    """Three members, four classes, two latents: everything depends on u."""
    location = Generator(SEEDS, stream="location").normal(4, 2)
    return ConditionalNormalPrior.known(location, 0.5 + Generator(SEEDS, stream="scale").uniform(4, 2))


def test_density_given_u_is_change_of_variables():
    model, z, u = flow(2, base=known_prior()), points(3, 20, 2), torch.arange(20) % 4
    law = model.prior(u)
    expected = law.log_prob(z).sum(-1) - torch.linalg.slogdet(model.jacobian(z)).logabsdet
    assert torch.allclose(model.log_prob(model(z), u), expected, atol=1e-9)
    each = u.expand(3, -1)
    assert torch.allclose(model.log_prob(model(z), each), expected, atol=1e-9)
    with pytest.raises(ValueError, match="u is None"):
        model.log_prob(model(z))


def test_a_prior_that_does_not_depend_on_u_is_the_normal_base():
    base, prior = flow(2), flow(2, base=NormalPrior(2))
    x = points(3, 20, 2)
    assert torch.allclose(prior.log_prob(x, torch.zeros(20, dtype=torch.int64)), base.log_prob(x))
    assert torch.allclose(prior.sample(5, Generator(SEEDS)), base.sample(5, Generator(SEEDS)))


def test_samples_follow_the_prior_of_their_class():
    model, u = flow(2, base=known_prior()), torch.tensor([0, 3]).repeat_interleave(4000)
    z = model.inverse(model.sample(8000, Generator(SEEDS), u=u)).detach()
    law = model.prior(u[[0, -1]])
    for k, rows in enumerate((slice(0, 4000), slice(4000, 8000))):
        error = law.stddev[:, k] / math.sqrt(4000)
        assert bool(((z[:, rows].mean(1) - law.mean[:, k]).abs() < 5 * error).all())
    with pytest.raises(ValueError, match="u has 2 rows"):
        model.sample(5, Generator(SEEDS), u=u[:2])


def test_likelihood_given_u_finds_what_likelihood_alone_does_not():
    scale = 0.2 * 15 ** Generator(5).uniform(10, 2)[0]
    u = torch.arange(10).repeat_interleave(200)
    s = Generator(5, stream="s").normal(2000, 2)[0] * scale[u]
    x = s @ torch.tensor([[1.0, 0.7], [-0.5, 1.0]])
    prior = ConditionalNormalPrior(2, classes=10, modulates="scale", generator=Generator(SEEDS))
    config = TrainConfig(seeds=SEEDS, steps=400, batch_size=256, learning_rate=1e-2)
    score = {}
    for base in (prior, "normal"):
        model = CouplingFlow(2, layers=4, hidden=(8,), base=base, data=x, generator=Generator(SEEDS))
        history = fit(model, FlowLikelihood(), (x, u), config, progress=False)
        assert history.terms["log_likelihood"].shape[1] == 3
        score[base == "normal"] = mcc(model.inverse(x).detach(), s).score
    assert float(score[False].min()) > 0.95
    assert float(score[True].mean()) < 0.9


def test_a_prior_that_does_not_fit():
    with pytest.raises(ValueError, match="base has 3 latents; expected size = 2"):
        CouplingFlow(2, base=NormalPrior(3), generator=Generator(SEEDS))
    with pytest.raises(ValueError, match="base is made for 3 members; expected 2"):
        CouplingFlow(2, base=known_prior(), generator=Generator((0, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 1}, "size is 1"),
        ({"layers": 0}, "layers is 0"),
        ({"base": "laplace"}, "base is 'laplace'"),
        ({"data": torch.ones(5, 3)}, "data is"),
        ({"data": torch.ones(5, 2)}, "constant or not finite"),
        ({"data": torch.randn(2, 5, 2)}, "data has 2 members; expected 3"),
        ({"hidden": (0,)}, "outputs is 0"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        CouplingFlow(**{"size": 2, "generator": Generator(SEEDS)} | options)


@pytest.mark.parametrize("method", ["forward", "inverse", "log_prob", "jacobian"])
def test_rows_that_do_not_fit(method):
    function, name = getattr(flow(), method), "x" if method in ("inverse", "log_prob") else "z"
    for shape in ((3,), (4, 2), (2, 4, 3), (3, 1, 4, 3)):
        with pytest.raises(ValueError, match=rf"{name} has shape .*expected \(n, 3\) or \(3, n, 3\)"):
            function(points(*shape))
    with pytest.raises(TypeError, match=f"{name} has dtype torch.float32; expected torch.float64"):
        function(points(4, 3).float())


@pytest.mark.gpu
def test_it_is_made_where_its_generator_is():
    model, x = CouplingFlow(3, generator=Generator(SEEDS, device="cuda")), points(20, 3).float()
    here = CouplingFlow(3, generator=Generator(SEEDS))
    assert model.sample(5, Generator(SEEDS)).is_cuda
    assert torch.allclose(model.log_prob(x.cuda()).cpu(), here.log_prob(x), atol=1e-4)
    assert torch.allclose(model.jacobian(x.cuda()).cpu(), here.jacobian(x), atol=1e-4)


def test_wrong_generators():
    with pytest.raises(TypeError, match="generator is a int"):
        CouplingFlow(2, generator=0)
    with pytest.raises(ValueError, match="generator has 1 seeds; expected 3"):
        flow().sample(5, Generator(0))
