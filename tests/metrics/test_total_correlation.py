"""Total correlation: closed forms, invariances, subsets, and never more for samples than for means."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from latentbook.metrics import code_correlation, sampled_covariance, total_correlation
from latentbook.random import Generator

DOUBLE = torch.float64


def codes(n: int = 400, size: int = 4, seed: int = 3) -> torch.Tensor:
    generator = Generator(seed)
    return (generator.normal(n, size, dtype=DOUBLE) @ generator.normal(size, size, dtype=DOUBLE))[0]


@pytest.mark.parametrize("rho", [0.0, 0.3, -0.9, 0.999])
def test_two_variables(rho):
    exact = -0.5 * math.log(1 - rho**2)
    assert total_correlation([[1.0, rho], [rho, 1.0]]) == pytest.approx(exact, abs=1e-12)
    assert total_correlation([[9.0, 6 * rho], [6 * rho, 4.0]]) == pytest.approx(exact, abs=1e-12)


def test_equicorrelated():
    """d variables with a common correlation: det R = (1 - rho)^(d - 1) (1 + (d - 1) rho)."""
    d, rho = 6, 0.4
    matrix = torch.full((d, d), rho, dtype=DOUBLE).fill_diagonal_(1)
    exact = -0.5 * ((d - 1) * math.log(1 - rho) + math.log(1 + (d - 1) * rho))
    assert total_correlation(matrix) == pytest.approx(exact, abs=1e-12)


def test_covariance_and_correlation_give_the_same_number():
    z = codes()
    value = total_correlation(z)
    covariance = np.cov(z.numpy(), rowvar=False)
    sign, log_det = np.linalg.slogdet(covariance)
    assert sign == 1 and value == pytest.approx(0.5 * (np.log(np.diag(covariance)).sum() - log_det), abs=1e-10)
    for matrix in (covariance, np.corrcoef(z.numpy(), rowvar=False), code_correlation(z)):
        assert total_correlation(matrix) == pytest.approx(value, abs=1e-10)
    assert total_correlation(z * torch.tensor([1e-6, 1.0, -3.0, 1e6]) + 7) == pytest.approx(value, abs=1e-8)


def test_independent_constant_and_duplicated_codes():
    z = codes()
    orthogonal = torch.linalg.qr(z - z.mean(0)).Q
    assert total_correlation(orthogonal) == pytest.approx(0, abs=1e-12)
    constant = torch.cat([z, torch.full((len(z), 1), 0.1, dtype=DOUBLE)], 1)
    assert total_correlation(constant) == pytest.approx(total_correlation(z), abs=1e-12)
    assert total_correlation(torch.cat([z, -2 * z[:, :1]], 1)) == math.inf


def test_blind_to_dependence_without_correlation():
    s = torch.linspace(-1, 1, 101, dtype=DOUBLE)
    assert total_correlation(torch.stack([s, s.square()], 1)) == pytest.approx(0, abs=1e-12)


def test_subsets():
    z = codes()
    part = total_correlation(z[:, [0, 2, 3]])
    assert total_correlation(z, [3, 0, 2]) == pytest.approx(part, abs=1e-12)
    assert total_correlation(z, torch.tensor([True, False, True, True])) == pytest.approx(part, abs=1e-12)
    assert total_correlation(code_correlation(z), np.array([0, 2, 3])) == pytest.approx(part, abs=1e-12)
    assert part <= total_correlation(z)


def test_members_and_their_own_subsets():
    z = torch.stack([codes(seed=seed) for seed in range(4)])
    values = total_correlation(z)
    assert values.tolist() == pytest.approx([total_correlation(member) for member in z], abs=1e-12)
    masks = torch.tensor([[True, True, False, False], [False, True, True, True], [True] * 4, [True] + 3 * [False]])
    own = total_correlation(z, masks)
    expected = [total_correlation(member, mask.nonzero()[:, 0]) for member, mask in zip(z[:3], masks[:3], strict=True)]
    assert own[:3].tolist() == pytest.approx(expected, abs=1e-12) and own[3].isnan()


def test_a_member_that_diverged_spoils_no_other():
    z = torch.stack([codes(), codes(seed=4)])
    z[1, 3, 0] = math.nan
    values = total_correlation(z)
    assert values[0] == pytest.approx(total_correlation(z[0]), abs=1e-12) and values[1].isnan()


finite = {"allow_nan": False, "allow_infinity": False, "width": 32}


@settings(max_examples=100, deadline=None)
@given(
    means=arrays(np.float64, (12, 4), elements=st.floats(-3, 3, **finite)),
    variances=arrays(np.float64, (12, 4), elements=st.floats(2**-10, 2, **finite)),
)
def test_samples_never_have_more_than_means(means, variances):
    of_means, of_samples = total_correlation(means), total_correlation(sampled_covariance(means, variances))
    assert 0 <= of_samples <= of_means + 1e-9
    assert total_correlation(sampled_covariance(means, variances), [0, 1]) <= of_samples + 1e-9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: total_correlation(torch.ones(10)), "codes has shape"),
        (lambda: total_correlation(torch.ones(10, 1)), "expected at least 2"),
        (lambda: total_correlation(torch.ones(3, 4)), "expected more points than latents"),
        (lambda: total_correlation(codes(4, 4)), "not symmetric"),
        (lambda: total_correlation([[1.0, 2.0], [2.0, 1.0]]), "negative eigenvalue"),
        (lambda: total_correlation("codes"), "codes is a str"),
        (lambda: total_correlation(codes(), [1]), "fewer than two"),
        (lambda: total_correlation(codes(), [0, 4]), "expected different indices"),
        (lambda: total_correlation(codes(), [0, 0]), "expected different indices"),
        (lambda: total_correlation(codes(), [0.5, 1.5]), "expected different indices"),
        (lambda: total_correlation(codes(), [True, True]), "subset has shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
