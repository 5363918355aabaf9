"""The generalised normal law against scipy.stats.gennorm."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import gennorm
from torch.distributions import Laplace, Normal

from latentbook.distributions import GeneralizedNormal

POWERS = (0.5, 1.0, 1.7, 2.0, 2.2, 9.0, 20.0)
POINTS = torch.tensor([-30.0, -3.0, -1.0, -0.2, -1e-9, 0.3, 0.9, 1.1, 4.0], dtype=torch.float64)


def law(power, loc=0.4, scale=1.3, dtype=torch.float64, **options) -> GeneralizedNormal:
    numbers = (torch.as_tensor(value, dtype=dtype) for value in (loc, scale, power))
    return GeneralizedNormal(*numbers, **options)


def close(found: torch.Tensor, expected: object, **tolerances: float) -> bool:
    return torch.allclose(found, torch.as_tensor(expected, dtype=found.dtype), **tolerances)


@pytest.mark.parametrize("power", POWERS)
def test_density_and_distribution_function_are_those_of_scipy(power):
    reference = gennorm(beta=power, loc=0.4, scale=1.3)
    assert close(law(power).log_prob(POINTS), reference.logpdf(POINTS), rtol=1e-12, atol=1e-12)
    assert close(law(power).cdf(POINTS), reference.cdf(POINTS), rtol=1e-10, atol=0)


@pytest.mark.parametrize("power", POWERS)
def test_moments_and_entropy_are_those_of_scipy(power):
    reference, found = gennorm(beta=power, loc=0.4, scale=1.3), law(power)
    assert close(found.variance, reference.var(), rtol=1e-10)
    assert close(found.stddev, reference.std(), rtol=1e-10)
    assert close(found.kurtosis, 3 + reference.stats("k"), rtol=1e-6)
    assert close(found.entropy(), reference.entropy(), rtol=1e-10)
    assert found.mean.item() == found.mode.item() == 0.4


def test_two_powers_have_older_names():
    assert close(law(1.0).log_prob(POINTS), Laplace(0.4, 1.3).log_prob(POINTS))
    assert close(law(2.0).log_prob(POINTS), Normal(0.4, 1.3 / 2**0.5).log_prob(POINTS))
    edge = law(2000.0)
    assert close(edge.log_prob(torch.tensor([0.0, 1.5], dtype=torch.float64)).exp(), [1 / 2.6, 1 / 2.6], rtol=1e-3)
    assert edge.log_prob(torch.tensor(1.75, dtype=torch.float64)).exp() < 1e-9


@pytest.mark.parametrize("power", POWERS)
def test_the_variance_asked_for(power):
    asked = law(power).with_variance(2.5)
    assert asked.variance.item() == pytest.approx(2.5)
    assert asked.power.item() == power
    assert asked.mean.item() == 0.4


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradients_are_finite_everywhere(power, dtype):
    z = torch.tensor([0.4, 0.4 + 1e-7, -60.0, 60.0], dtype=dtype, requires_grad=True)
    parameters = [torch.tensor(value, dtype=dtype, requires_grad=True) for value in (0.4, 1.3, power)]
    value = GeneralizedNormal(*parameters).log_prob(z)
    gradients = torch.autograd.grad(value.sum(), [z, *parameters])
    assert all(bool(tensor.isfinite().all()) for tensor in (value, *gradients))
    assert gradients[0][0] == 0
    assert close(value, gennorm(power, 0.4, 1.3).logpdf(z.detach().double()), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("power", POWERS)
def test_gradients_of_the_density(power):
    parameters = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.4, 1.3, power)]
    z = torch.tensor([-1.0, -0.2, 0.9, 1.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z, *p: GeneralizedNormal(*p).log_prob(z), (z, *parameters))
    assert torch.autograd.gradcheck(lambda *p: GeneralizedNormal(*p).entropy(), parameters)
    assert torch.autograd.gradcheck(lambda *p: GeneralizedNormal(*p).variance, parameters)


def test_the_distribution_function_has_the_density_as_its_gradient():
    z = POINTS.clone().requires_grad_()
    for power in POWERS:
        (slope,) = torch.autograd.grad(law(power).cdf(z).sum(), z)
        assert close(slope, law(power).log_prob(POINTS).exp())
    (slope,) = torch.autograd.grad(law(20.0).cdf(z := torch.tensor(0.4, dtype=torch.float64, requires_grad=True)), z)
    assert close(slope, law(20.0).log_prob(z).exp())
    power = torch.tensor(2.0, requires_grad=True)
    with pytest.raises(NotImplementedError, match="power"):
        GeneralizedNormal(0.0, 1.0, power).cdf(torch.tensor(0.3))
    with torch.no_grad():
        assert GeneralizedNormal(0.0, 1.0, power).cdf(torch.tensor(0.0)) == 0.5


def test_members_have_their_own_exponents():
    powers = torch.tensor([0.7, 2.0, 6.0]).view(3, 1, 1)
    stacked, z = GeneralizedNormal(torch.zeros(4), 1.0, powers), torch.randn(3, 5, 4)
    assert stacked.batch_shape == (3, 1, 4)
    for k, power in enumerate(powers.flatten()):
        assert close(stacked.log_prob(z)[k], GeneralizedNormal(0.0, 1.0, power).log_prob(z[k]))
    wide = stacked.expand((2, 3, 5, 4))
    assert wide.batch_shape == wide.sample().shape == (2, 3, 5, 4)
    assert close(wide.log_prob(z)[1], stacked.log_prob(z))
    assert repr(GeneralizedNormal(0.0, 1.0, 3.0)) == "GeneralizedNormal(loc: 0.0, scale: 1.0, power: 3.0)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0, 0.0), "power .*0.0; expected positive"),
        ((0.0, 1.0, -2.0), "power .*-2.0; expected positive"),
        ((0.0, 1.0, float("inf")), "power .*inf; expected positive, finite"),
        ((0.0, 0.0, 2.0), "scale .*0.0; expected positive"),
        ((0.0, float("nan"), 2.0), "scale .*nan; expected positive"),
        ((float("inf"), 1.0, 2.0), "loc .*inf; expected finite"),
        ((torch.zeros(3), 1.0, torch.ones(2)), "expected shapes that broadcast"),
    ],
)
def test_bad_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        GeneralizedNormal(*arguments)


def test_bad_values():
    with pytest.raises(TypeError, match="power is 'two'"):
        GeneralizedNormal(0.0, 1.0, "two")
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="value"):
            GeneralizedNormal(0.0, 1.0, 2.0).log_prob(torch.tensor([0.0, bad]))
    with pytest.raises(ValueError, match="variance .*expected positive"):
        GeneralizedNormal(0.0, 1.0, 2.0).with_variance(-1.0)
    unchecked = GeneralizedNormal(0.0, 1.0, 2.0, validate_args=False)
    assert unchecked.log_prob(torch.tensor(float("inf"))) == -torch.inf
