"""What every mixing must do: one table, the same tests for all."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from latentbook.mixings import (
    Compose,
    Darmois,
    FromNormal,
    Inverse,
    InvertibleMLP,
    LeakyTanh,
    Linear,
    Moebius,
    Polar,
    RotatedGaussian,
    Rotation,
    SmoothLeakyReLU,
    random_network,
    random_orthogonal,
)
from latentbook.nn import select
from latentbook.random import Generator

SEEDS = [1, 2, 3]
ANGLES = {1: 0.3, 2: -1.0, 3: 2.0}


def angles(generator):
    return torch.tensor([ANGLES[seed] for seed in generator.seeds], dtype=torch.float64)


def covariance(generator):
    root = generator.normal(3, 3, dtype=torch.float64)
    return root @ root.mT + torch.eye(3, dtype=torch.float64)


def random_offset(generator):
    return Linear(generator.normal(3, 3, dtype=torch.float64), generator.normal(3, dtype=torch.float64))


# Name: the map made from a generator, with one map a seed, or the same for all; and the law of its sources.
STACKED = {
    "linear": (random_offset, "normal"),
    "orthogonal": (lambda g: Linear.random(g, 3, entries="orthogonal"), "normal"),
    "cosine": (lambda g: Linear.with_cosine(3, angles(g) / 5, g), "normal"),
    "rotation": (lambda g: Rotation(angles(g)), "normal"),
    "mlp": (lambda g: InvertibleMLP.random(g, 3), "normal"),
    "network": (lambda g: random_network(g, 3), "normal"),
    "moebius": (lambda g: Moebius.random(g, 3), "uniform"),
    "moebius with all": (
        lambda g: Moebius(Moebius.random(g, 2).pole, Moebius.random(g, 2).matrix, scale=0.3, offset=[1.0, -2.0]),
        "uniform",
    ),
    "rotated uniform": (lambda g: RotatedGaussian(angles(g)), "uniform"),
    "rotated laplace": (lambda g: RotatedGaussian(random_orthogonal(g, 3), "laplace"), "laplace"),
    "darmois gaussian": (lambda g: Darmois.gaussian(covariance(g), g.normal(3, dtype=torch.float64)), "uniform"),
    "darmois samples": (lambda g: Darmois.from_samples(g.normal(20, 2, dtype=torch.float64)), "uniform"),
    "family": (lambda g: Compose(Rotation(angles(g)), FromNormal("uniform"), Moebius.random(g, 2)), "normal"),
}
SINGLE = {
    "published": (lambda g: Moebius.published(), "uniform"),
    "one matrix": (lambda g: Linear([[2.0, 1.0], [0.0, -1.0]], [1.0, 5.0]), "normal"),
    "triangular": (lambda g: InvertibleMLP([[1.0, 0.0], [2.0, 1.0]], [[0.5, 0.0], [1.0, 1.0]], slope=0.5), "normal"),
    "polar": (lambda g: Polar(), "normal"),
    "leaky": (lambda g: SmoothLeakyReLU(0.2), "normal"),
    "leaky tanh": (lambda g: LeakyTanh(0.1), "normal"),
    "from normal": (lambda g: FromNormal("laplace"), "normal"),
    "to normal": (lambda g: Inverse(FromNormal("uniform")), "uniform"),
    "unmoebius": (lambda g: Inverse(Inverse(Moebius.published())), "uniform"),
    "darmois density": (lambda g: Darmois.from_density(Polar().log_prob, [-4, -5], [5, 5], nodes=12), "uniform"),
}
TABLE = STACKED | SINGLE
every = pytest.mark.parametrize("name", TABLE)


def draw(mixing, law, n=8, seeds=SEEDS):
    generator = Generator(list(seeds), stream="sources")
    shape = (n, mixing.size or 3)
    if law == "uniform":
        return 0.99 * (generator.uniform(*shape, dtype=torch.float64) - 0.5)
    return generator.normal(*shape, dtype=torch.float64)


def case(name, seeds=SEEDS):
    make, law = TABLE[name]
    mixing = make(Generator(list(seeds)))
    return mixing, draw(mixing, law, seeds=seeds)


@every
def test_inverse_is_the_way_back(name):
    mixing, s = case(name)
    x = mixing(s)
    assert x.shape == s.shape and x.isfinite().all() and not torch.allclose(x, s, atol=1e-3)
    assert (mixing.inverse(x) - s).abs().max() < 1e-10
    assert (mixing(mixing.inverse(x)) - x).abs().max() < 1e-10 * (1 + x.abs().max())


@every
def test_jacobian_agrees_with_finite_differences(name):
    mixing, s = case(name)
    step = 1e-5 * torch.eye(s.shape[-1], dtype=s.dtype)
    differences = torch.stack([(mixing(s + axis) - mixing(s - axis)) / 2e-5 for axis in step], -1)
    J = mixing.jacobian(s)
    assert J.shape == (*s.shape, s.shape[-1])
    assert (J - differences).abs().max() < 1e-6 * (1 + J.abs().max())


@every
def test_log_abs_det_agrees_with_the_jacobian(name):
    mixing, s = case(name)
    assert torch.allclose(mixing.log_abs_det(s), torch.linalg.slogdet(mixing.jacobian(s)).logabsdet, atol=1e-10)


@every
def test_density_follows_from_the_change_of_variables(name):
    mixing, s = case(name)
    law = torch.distributions.Normal(0.0, 1.0)
    expected = law.log_prob(s).sum(-1) - torch.linalg.slogdet(mixing.jacobian(s)).logabsdet
    assert torch.allclose(mixing.log_prob(mixing(s)), expected, atol=1e-7)


@pytest.mark.parametrize("name", STACKED)
def test_a_member_is_what_it_is_alone(name):
    (stack, s), (alone, same) = case(name), case(name, [2])
    assert stack.members == 3 and alone.members == 1
    assert torch.allclose(stack(s)[1], alone(same)[0], atol=1e-12)
    assert torch.allclose(stack.jacobian(s)[1], alone.jacobian(same)[0], atol=1e-12)


@pytest.mark.parametrize("name", STACKED)
def test_members_may_share_their_sources(name):
    mixing, s = case(name)
    repeated = s[:1].expand_as(s)
    methods = [mixing, mixing.jacobian, mixing.log_abs_det]
    if name != "family":  # whose members have different images
        methods += [mixing.inverse]
    for method in methods:
        expected = method(repeated)
        for shared in (s[0], s[:1]):
            assert method(shared).shape == expected.shape
            assert torch.allclose(method(shared), expected, atol=1e-10)


@pytest.mark.parametrize("name", STACKED)
def test_members_can_be_selected(name):
    mixing, s = case(name)
    chosen = select(mixing, [2, 0])
    assert chosen.members == 2 and mixing.members == 3
    assert torch.allclose(chosen(s[[2, 0]]), mixing(s)[[2, 0]], atol=1e-12)


def test_one_member_goes_with_any_number():
    moebius = Moebius.random(Generator(4), 2)
    family = Compose(Rotation(angles(Generator(SEEDS))), FromNormal("uniform"), moebius)
    v = draw(family, "normal")
    assert (moebius.members, family.members) == (1, 3)
    assert torch.equal(family(v)[2], moebius(FromNormal("uniform")(Rotation(2.0)(v[2])))[0])
    assert torch.equal(select(family, [2])(v[2]), family(v)[2:])


def test_what_only_one_part_has_for_each_member_all_results_have():
    poles = Moebius(torch.ones(2), random_orthogonal(Generator(SEEDS), 2))
    shifts = Linear(torch.eye(2), torch.arange(6.0).view(3, 2))
    s = draw(poles, "uniform")[0]
    for mixing in (poles, shifts):
        assert mixing(s).shape == (3, 8, 2)
        assert mixing.jacobian(s).shape == (3, 8, 2, 2) and mixing.log_abs_det(s).shape == (3, 8)


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_map_takes_one_point_or_any_batch(name):
    mixing, s = case(name)
    assert mixing.members is None
    point, x = s[0, 0], mixing(s)
    assert torch.allclose(mixing(point), x[0, 0]) and torch.allclose(mixing.inverse(x[0, 0]), point)
    assert torch.allclose(mixing.jacobian(point), mixing.jacobian(s)[0, 0])
    assert torch.allclose(mixing(s[:, None])[:, 0], x) and torch.allclose(mixing.inverse(x[:, None])[:, 0], s)


@every
def test_the_type_is_that_of_the_sources(name):
    mixing, s = case(name)
    x, z = mixing(s.float()), s.float()
    results = x, mixing.inverse(x), mixing.jacobian(z), mixing.log_abs_det(z), mixing.log_prob(x)
    assert {result.dtype for result in results} == {torch.float32}
    assert torch.allclose(x.double(), mixing(s), atol=1e-3, rtol=1e-3)


@pytest.mark.gpu
@every
def test_the_device_is_that_of_the_sources(name):
    mixing, s = case(name)
    z = s.cuda()
    for method in ("forward", "jacobian", "log_abs_det", "inverse", "log_prob"):
        function = getattr(mixing, method)
        here, there = function(s), function(z)
        assert there.is_cuda and torch.allclose(there.cpu(), here, atol=1e-8)
        if method == "log_abs_det":  # the other two take observations
            s, z = mixing(s), mixing(z)


@every
def test_a_copy_is_the_same_map(name):
    mixing, s = case(name)
    assert torch.equal(copy.deepcopy(mixing)(s), mixing(s))
    assert not list(mixing.parameters())


@every
def test_gradients_reach_the_sources_and_the_observations(name):
    mixing, s = case(name)
    s = s[:, :1].clone().requires_grad_()
    x = mixing(s)
    cotangent = torch.cos(torch.arange(x.numel(), dtype=x.dtype)).view_as(x)
    (gradient,) = torch.autograd.grad(x, s, cotangent)
    J = mixing.jacobian(s).detach()
    assert torch.allclose(gradient, (J.mT @ cotangent[..., None])[..., 0], atol=1e-8 * float(1 + J.abs().max()))
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(mixing.inverse(x), x, cotangent)
    assert torch.allclose((J.mT @ gradient[..., None])[..., 0], cotangent, atol=1e-7)


@every
def test_wrong_shapes_and_types_are_refused_by_name(name):
    mixing, s = case(name)
    functions = {mixing: "s", mixing.jacobian: "[sz]", mixing.log_abs_det: "[sz]", mixing.inverse: "x"}
    for function, argument in functions.items():
        with pytest.raises(ValueError, match=f"{argument} is torch.int64"):
            function(torch.ones(4, 3, dtype=torch.int64))
        if mixing.size:
            with pytest.raises(ValueError, match=rf"{argument} is torch.float64 \(4, {mixing.size + 1}\); expected"):
                function(torch.ones(4, mixing.size + 1, dtype=torch.float64) / 4)
        if mixing.members:
            with pytest.raises(ValueError, match=rf"{argument} is torch.float64 \(2, .*expected .*\(3, n"):
                function(s[:2])


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: Compose(), "parts is empty"),
        (lambda: Compose(Polar(), Moebius.published()), "part 1 takes 3 sources; expected 2"),
        (lambda: Compose(Rotation(torch.ones(2)), Rotation(torch.ones(3))), "part 1 has 3 members; expected 2"),
        (lambda: Polar().log_prob(torch.ones(4, 2), "cauchy"), "source is 'cauchy'; expected one of"),
        (
            lambda: Polar().log_prob(torch.ones(4, 2), torch.distributions.Normal(torch.zeros(2), 1.0)),
            "expected a distribution of one number",
        ),
        (lambda: Polar(radius=0.0), "radius is 0.0"),
        (lambda: Polar(angular=math.nan), "angular is nan"),
        (lambda: Polar().inverse(torch.zeros(4, 2)), "x has a row at the origin"),
    ],
)
def test_other_bad_input_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_log_prob_in_closed_form():
    x = draw(Polar(), "normal")
    spread = torch.tensor([[5.0, 2.0], [2.0, 4.0]], dtype=torch.float64)
    gaussian = torch.distributions.MultivariateNormal(torch.ones_like(spread[0]), spread)
    mixing = Linear([[2.0, 1.0], [0.0, 2.0]], [1.0, 1.0])
    assert torch.allclose(mixing.log_prob(x), gaussian.log_prob(x))
    uniform = Linear([[2.0, 0.0], [0.0, 0.5]]).log_prob(torch.tensor([[0.9, 0.2], [0.9, 0.3], [-1.1, 0.0]]), "uniform")
    assert uniform.tolist() == [0.0, -math.inf, -math.inf]
    laplace = Linear([[2.0]]).log_prob(torch.tensor([[2.0]]), "laplace")
    assert laplace.item() == pytest.approx(-math.log(2) - math.sqrt(2) - math.log(math.sqrt(2)))


def test_an_angle_can_be_trained_within_a_composition():
    angle = torch.nn.Parameter(torch.tensor([0.4, 0.5], dtype=torch.float64))
    family = Compose(Rotation(angle), FromNormal("uniform"), Moebius.random(Generator([0, 1]), 2))
    assert [parameter is angle for parameter in family.parameters()] == [True]
    x = family(draw(family, "normal", seeds=[5, 6])).detach()
    density = family.log_prob(x)
    (gradient,) = torch.autograd.grad(density.sum(), angle)
    assert gradient.abs().max() < 1e-10  # likelihood cannot choose the angle
    with torch.no_grad():
        angle.zero_()
    assert (family.log_prob(x) - density).abs().max() < 1e-10
    (gradient,) = torch.autograd.grad(family.inverse(x)[..., 0].square().sum(), angle)
    assert gradient.abs().min() > 1e-3
