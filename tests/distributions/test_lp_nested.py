"""Lp-nested laws: constants, equivalences, integrals, gradients and recovery of the exponents."""

from __future__ import annotations

import math
import random

import pytest
import torch
from scipy.stats import gennorm
from torch.distributions import Normal

from latentbook.distributions import LpNested, LpTree
from latentbook.random import Generator

POWERS = (0.5, 1.0, 2.2, 9.0, 20.0)
PAPER = {"inner": 2.2, "outer": 2.1}


@pytest.fixture(autouse=True)
def double_precision():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def points(*shape: int) -> torch.Tensor:
    return Generator(11).normal(*shape)[0]


def random_tree(source: random.Random, leaves: int, low: float, high: float) -> LpTree:
    """A tree of random form, its exponents log-uniform between ``low`` and ``high``."""
    power, children, left = math.exp(source.uniform(math.log(low), math.log(high))), [], leaves
    while left:
        size = source.randint(1, left)
        whole = size == leaves and size == 1
        children.append(size if whole or source.random() < 0.4 else random_tree(source, size, low, high))
        left -= size
    return LpTree(power, tuple(children))


def orthant(dimensions: int, steps: int, low: float, high: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Points and weights that integrate even functions over R^n, by the double exponential rule z = exp(t - e^-t)."""
    t = torch.linspace(low, high, steps)
    z = (t - (-t).exp()).exp()
    weight = z * (1 + (-t).exp()) * (t[1] - t[0])
    grid = torch.cartesian_prod(*[z] * dimensions)
    return grid, 2**dimensions * torch.cartesian_prod(*[weight] * dimensions).prod(-1)


def test_exponents_of_two_are_the_normal_law():
    z = points(50, 20)
    law = LpNested.isa([4] * 5, inner=2.0, outer=2.0, scale=2.0)
    assert torch.allclose(law.log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(-1), rtol=0, atol=1e-12)
    assert torch.allclose(law.variance, torch.ones(20))
    assert torch.allclose(law.kurtosis, torch.full((20,), 3.0))


def test_two_values_of_the_density():
    law = LpNested.isa([4] * 5, **PAPER)
    assert law.log_prob(torch.zeros(20)).item() == pytest.approx(-11.808808, abs=1e-5)
    assert law.log_prob(torch.ones(20)).item() == pytest.approx(-30.587426, abs=1e-5)
    doubled = LpNested.isa([4] * 5, **PAPER, scale=2.0)
    assert doubled.log_prob(torch.ones(20)).item() == pytest.approx(-27.799520, abs=1e-5)


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("children", [(5,), (2, LpTree, 2), (LpTree, LpTree, 1)])
def test_equal_exponents_make_independent_generalised_normals(power, children):
    tree = LpTree(power, tuple(child if isinstance(child, int) else child(power, (1, 1)) for child in children))
    law, z = LpNested(tree, 1.7), points(30, tree.leaves)
    reference = gennorm(beta=power, scale=1.7 ** (1 / power))
    expected = torch.as_tensor(reference.logpdf(z)).sum(-1)
    assert torch.allclose(law.log_prob(z), expected, rtol=1e-9, atol=1e-9)
    assert law.variance.tolist() == pytest.approx([reference.var()] * tree.leaves)
    assert law.entropy().item() == pytest.approx(tree.leaves * reference.entropy())


def test_subspaces_are_independent():
    sizes, inner, z = (4, 1, 3), (2.2, 0.7, 6.0), points(40, 8)
    whole = LpNested.isa(sizes, inner=inner, outer=1.4, scale=0.6)
    parts = [LpNested.isa([k], inner=p, outer=1.4, scale=0.6) for k, p in zip(sizes, inner, strict=True)]
    split = z.split(sizes, dim=-1)
    total = sum(law.log_prob(part) for law, part in zip(parts, split, strict=True))
    assert torch.allclose(whole.log_prob(z), total, rtol=0, atol=1e-12)
    assert torch.allclose(whole.entropy(), sum(law.entropy() for law in parts))


def test_nodes_with_one_child_change_nothing():
    plain = LpNested(LpTree(1.5, (2, LpTree(4.0, (3,)))))
    chain = LpTree(9.0, (LpTree(0.6, (LpTree(4.0, (3,)),)),))
    padded, z = LpNested(LpTree(1.5, (1, LpTree(7.0, (1,)), chain))), points(20, 5)
    assert torch.allclose(plain.log_prob(z), padded.log_prob(z))
    assert torch.allclose(plain.variance, padded.variance)


@pytest.mark.parametrize(
    ("power", "n", "surface"), [(1.0, 2, 4.0), (2.0, 2, 2 * math.pi), (2.0, 3, 4 * math.pi), (1.0, 3, 4.0)]
)
def test_surface_of_the_unit_sphere_in_cone_measure(power, n, surface):
    """At the origin ``p(0) = p0 / (Gamma(n / p0) S)``, where S = n times the volume of the unit ball."""
    at_zero = LpNested(LpTree(power, (n,))).log_prob(torch.zeros(n)).exp().item()
    assert power / math.gamma(n / power) / at_zero == pytest.approx(surface)


@pytest.mark.parametrize(
    ("outer", "inner", "size", "variance", "kurtosis"),
    [
        (2.1, 2.2, 4, 0.494860, 2.8657),
        (2.1, 2.2, 5, 0.49873, 2.8598),
        (2.1, 1.9, 4, 0.43589, 3.0054),
        (2.1, 2.1, 4, 0.47640, 2.9066),
        (2.0, 2.1, 6, 0.52983, 2.9414),
        (2.1, 2.0, 3, 0.46156, 2.9435),
    ],
)
def test_a_table_of_variances_and_kurtoses(outer, inner, size, variance, kurtosis):
    law = LpNested.isa([size, size], inner=inner, outer=outer)
    assert law.variance.tolist() == pytest.approx([variance] * 2 * size, abs=1e-5)
    assert law.kurtosis.tolist() == pytest.approx([kurtosis] * 2 * size, abs=1e-4)
    assert law.mean.tolist() == law.mode.tolist() == [0.0] * 2 * size


def test_the_variance_asked_for():
    law = LpNested.isa([4] * 5, **PAPER)
    assert law.with_variance(1.0).scale.item() == pytest.approx(2.09312, abs=1e-5)
    assert LpNested.isa([2] * 5, **PAPER).with_variance().scale.item() == pytest.approx(2.14094, abs=1e-5)
    uneven = LpNested(LpTree(1.3, (LpTree(5.0, (3,)), LpTree(0.7, (2,)), 1)), 4.0).with_variance(0.3)
    assert uneven.variance.mean().item() == pytest.approx(0.3)
    assert uneven.variance.max() > 1.01 * uneven.variance.min()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    ("dimensions", "low", "high", "grid", "tolerance"),
    [(2, 0.5, 20.0, (1400, -3.7, 9.5), 1e-8), (3, 0.7, 6.0, (110, -3.2, 5.8), 1e-5)],
)
def test_random_trees_integrate_to_one(seed, dimensions, low, high, grid, tolerance):
    source = random.Random(seed)
    law = LpNested(random_tree(source, dimensions, low, high), source.uniform(0.5, 2.0))
    z, weight = orthant(dimensions, *grid)
    density = law.log_prob(z).exp() * weight
    assert density.sum().item() == pytest.approx(1.0, abs=tolerance)
    second = (density[:, None] * z.square()).sum(0)
    assert torch.allclose(second, law.variance, rtol=1e3 * tolerance)
    surprise = -(density * law.log_prob(z)).sum()
    assert surprise.item() == pytest.approx(law.entropy().item(), abs=1e3 * tolerance)


def test_random_trees_are_not_all_flat():
    trees = [random_tree(random.Random(seed), 3, 0.7, 6.0) for seed in range(12)]
    assert len({tree.structure for tree in trees}) > 3


TREE = LpTree(1.6, (LpTree(3.0, (2,)), LpTree(0.8, (LpTree(5.0, (2,)), 1)), 1))


def test_members_have_their_own_exponents():
    inner, outer = torch.tensor([[0.7, 3.0], [2.0, 2.0], [9.0, 1.0]]), torch.tensor([1.5, 2.0, 4.0])
    stacked = LpNested.isa([2, 3], inner=inner[:, None], outer=outer[:, None], scale=0.8)
    z = points(3, 6, 5)
    assert stacked.batch_shape == (3, 1)
    assert stacked.event_shape == (5,)
    for k in range(3):
        single = LpNested.isa([2, 3], inner=inner[k], outer=outer[k], scale=0.8)
        assert torch.allclose(stacked.log_prob(z)[k], single.log_prob(z[k]))
        assert torch.allclose(stacked.variance[k, 0], single.variance)
        assert torch.allclose(stacked.entropy()[k, 0], single.entropy())
    wide = stacked.expand((4, 3, 6))
    assert wide.sample((2,)).shape == (2, 4, 3, 6, 5)
    assert torch.allclose(wide.log_prob(z)[2], stacked.log_prob(z))
    assert wide.variance.shape == (4, 3, 6, 5)


def test_what_prints():
    assert repr(LpNested(TREE)) == "LpNested(((2), ((2), 1), 1), exponents: [1.6, 3.0, 0.8, 5.0], scale: 1.0)"
    assert repr(LpNested(TREE).expand((3, 1))) == "LpNested(((2), ((2), 1), 1), exponents: (3, 1, 4), scale: (3, 1))"


@pytest.mark.parametrize("inner", POWERS)
@pytest.mark.parametrize("outer", POWERS)
def test_single_precision_is_sound(inner, outer):
    z = torch.cat([points(20, 7), 1e-3 * points(20, 7), torch.linspace(-4, 4, 7).expand(1, 7)])
    z[5:10] *= torch.logspace(-30, 0, 7)  # very different magnitudes within one vector
    exact = LpNested.isa([3, 4], inner=inner, outer=outer).with_variance(1.0)
    rough = LpNested.isa([3, 4], inner=torch.tensor(inner, dtype=torch.float32), outer=outer)
    rough = rough.with_variance(1.0)
    value = rough.log_prob(z.float())
    assert value.dtype == torch.float32
    assert bool(value.isfinite().all())
    assert torch.allclose(value.double(), exact.log_prob(z.float().double()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("inner", POWERS)
@pytest.mark.parametrize("outer", POWERS)
def test_at_zero_and_at_a_zero_subspace_all_is_finite(inner, outer, dtype):
    z = torch.zeros(4, 5, dtype=dtype)
    z[1, :3], z[2, 3:], z[3, 1:] = 1.0, -0.7, 0.4
    z.requires_grad_()
    parameters = [torch.tensor(value, dtype=dtype, requires_grad=True) for value in (inner, outer, 1.3)]
    law = LpNested.isa([3, 2], inner=parameters[0], outer=parameters[1], scale=parameters[2])
    value = law.log_prob(z)
    gradients = torch.autograd.grad(value.sum(), [z, *parameters])
    assert all(bool(tensor.isfinite().all()) for tensor in (value, *gradients))
    assert bool((gradients[0][z == 0] == 0).all())
    assert bool((gradients[0][z != 0] != 0).all())
    reference = LpNested.isa([3, 2], inner=inner, outer=outer, scale=1.3)
    near = z.detach().double().where(z != 0, 1e-250)
    assert torch.allclose(value.double(), reference.log_prob(near), rtol=1e-5, atol=1e-5)


def test_gradients_of_density_variance_and_entropy():
    z = points(3, 6).requires_grad_()
    parameters = [torch.tensor(value, requires_grad=True) for value in (1.6, 3.0, 0.8, 5.0, 1.3)]

    def law(root, first, second, third, scale) -> LpNested:
        return LpNested(LpTree(root, (LpTree(first, (2,)), LpTree(second, (LpTree(third, (2,)), 1)), 1)), scale)

    assert torch.autograd.gradcheck(lambda z, *p: law(*p).log_prob(z), (z, *parameters))
    assert torch.autograd.gradgradcheck(lambda z, *p: law(*p).log_prob(z), (z, *parameters))
    assert torch.autograd.gradcheck(lambda *p: law(*p).variance, parameters)
    assert torch.autograd.gradcheck(lambda *p: law(*p).entropy(), parameters)
    assert torch.autograd.gradcheck(lambda *p: law(*p).with_variance(1.0).scale, parameters)


def test_maximum_likelihood_finds_the_exponents():
    truth = torch.tensor([1.2, 2.5, 4.5, 1.7, 1.3])
    sizes, n = (2, 3, 2), 20_000

    def law(logarithms: torch.Tensor) -> LpNested:
        *inner, outer, scale = logarithms.exp().unbind()
        return LpNested.isa(sizes, inner=inner, outer=outer, scale=scale, validate_args=False)

    z = law(truth.log()).sample_with(Generator(4), (n,))[0]
    found = torch.full((5,), math.log(2.0), requires_grad=True)
    options = {"max_iter": 100, "tolerance_grad": 1e-9, "tolerance_change": 0, "line_search_fn": "strong_wolfe"}
    optimiser = torch.optim.LBFGS([found], **options)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = -law(found).log_prob(z).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    assert found.grad.abs().max() < 1e-5
    information = torch.autograd.functional.hessian(lambda p: -law(p).log_prob(z).sum(), found.detach())
    errors = information.inverse().diag().sqrt()
    assert errors.max() < 0.1
    assert bool(((found.detach() - truth.log()).abs() < 4 * errors).all())


def test_inference_mode_leaves_later_gradients_alone():
    tree = LpTree(1.9, (LpTree(3.3, (2, 2, 1)), 2))
    with torch.inference_mode():
        LpNested(tree).log_prob(torch.ones(7))
    power = torch.tensor(1.9, requires_grad=True)
    LpNested(LpTree(power, tree.children)).log_prob(torch.ones(7)).backward()
    assert bool(power.grad.isfinite())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LpNested(LpTree(0.0, (2,))), "exponents .*0.0; expected positive"),
        (lambda: LpNested(LpTree(2.0, (LpTree(-1.0, (2,)),))), "exponents .*-1.0; expected positive"),
        (lambda: LpNested(LpTree(float("inf"), (2,))), "exponents .*inf; expected positive, finite"),
        (lambda: LpNested(LpTree(float("nan"), (2,))), "exponents .*nan; expected positive"),
        (lambda: LpNested(LpTree(2.0, (2,)), 0.0), "scale .*0.0; expected positive"),
        (lambda: LpNested(LpTree(2.0, (2,)), float("inf")), "scale .*inf; expected positive, finite"),
        (lambda: LpNested(LpTree(torch.ones(3), (2,)), torch.ones(2)), "expected shapes that broadcast"),
        (lambda: LpNested.isa([], **PAPER), "sizes is empty"),
        (lambda: LpNested.isa([2, 0], **PAPER), "contains 0"),
        (lambda: LpNested.isa([2, 2], inner=[2.0] * 3, outer=2.0), "inner has 3 exponents; expected one number or 2"),
        (lambda: LpNested.isa([2, 2], inner=torch.ones(4, 3), outer=2.0), "inner has 3 exponents"),
        (lambda: LpNested(LpTree(2.0, (2,))).with_variance(0.0), "variance .*expected positive"),
        (lambda: LpNested(LpTree(2.0, (4,))).log_prob(torch.ones(2, 3)), r"shape \(2, 3\); expected \(..., 4\)"),
        (lambda: LpNested(LpTree(2.0, (4,))).log_prob(torch.ones(1)), r"shape \(1,\); expected \(..., 4\)"),
        (lambda: LpNested(LpTree(2.0, (2,))).log_prob(torch.tensor([0.0, torch.inf])), "value .*expected finite"),
        (lambda: LpNested(LpTree(2.0, (2,))).log_prob(torch.tensor([0.0, torch.nan])), "value"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_types():
    with pytest.raises(TypeError, match="tree is 3; expected an LpTree"):
        LpNested(3)
    with pytest.raises(TypeError, match="expected a number or a tensor"):
        LpNested(LpTree("two", (2,)))
