"""Linear ICA with Student-t sources: the published experiment, monotone updates, and the exact likelihood."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.distributions import Normal, StudentT

from latentbook.models import (
    FactorAnalysis,
    ICAFit,
    directions,
    fit_linear_ica,
    linear_ica_log_likelihood,
    student_t_mixture,
)
from latentbook.random import Generator

DOUBLE = torch.float64
NU, NOISE, N = 3.5, 0.1, 500
TRUTH = directions([0, 60, 120])
BETAS = torch.tensor([[1.0], [5.0]], dtype=DOUBLE)
SETTINGS = {"degrees_of_freedom": NU, "beta": BETAS}


def mixture(seeds: range) -> tuple[torch.Tensor, torch.Tensor]:
    return student_t_mixture(N, TRUTH, NOISE, NU, Generator(seeds))


@pytest.fixture(scope="module")
def paths() -> ICAFit:
    """beta = 1 and 5, six seeds, from the truth."""
    x, s = mixture(range(6))
    return fit_linear_ica(x, TRUTH, NOISE, start_mean=s, iterations=150, **SETTINGS)


def test_free_energy_never_decreases(paths):
    assert paths.free_energy.shape == (151, 2, 6)
    assert float(paths.free_energy.diff(dim=0).min()) > 0
    assert paths.weights.shape == (151, 2, 6, 2, 3) and paths.means.shape == paths.variances.shape == (2, 6, N, 3)
    assert torch.equal(paths.weights[0], TRUTH.expand(2, 6, 2, 3))


def test_early_beta_one_keeps_three_columns_and_beta_five_is_ahead_in_pruning(paths):
    shortest, angle = paths.norms[10].amin(-1), paths.longest_angle()[10]
    assert bool((shortest[0] > 0.5).all()) and bool((shortest[1] < shortest[0]).all())
    assert bool((angle[0] > 59).all()) and bool((angle[0] < 75).all()) and bool((angle[1] > angle[0] + 3).all())


def test_in_the_end_both_prune_one_column_and_the_others_are_orthogonal(paths):
    assert paths.pruned()[-1].sum(-1).tolist() == [[1] * 6] * 2
    assert bool((paths.longest_angle()[-1] > 80).all())


def test_the_measured_table_on_its_own_draws():
    x, s = [], []
    for seed in range(3):
        random = np.random.default_rng(seed)
        s.append(torch.from_numpy(random.standard_t(NU, (N, 3))))
        x.append(s[-1] @ TRUTH.T + math.sqrt(NOISE) * torch.from_numpy(random.standard_normal((N, 2))))
    fit = fit_linear_ica(torch.stack(x), TRUTH, NOISE, start_mean=torch.stack(s), **SETTINGS)
    assert float(fit.free_energy.diff(dim=0).min()) > 0
    angle, norms = fit.angle(0, 2), fit.norms
    assert angle[10].flatten().tolist() == pytest.approx([68.5, 64.9, 65.6, 85.4, 80.0, 80.6], abs=1.5)
    assert norms[10, ..., 1].flatten().tolist() == pytest.approx([0.72, 0.85, 0.87, 0.02, 0.45, 0.49], abs=0.05)
    assert norms[5, :, 0].flatten().tolist() == pytest.approx([0.96, 0.88, 0.99, 0.90, 0.52, 0.99], abs=0.02)
    assert bool((angle[10, 0] > 61).all()) and bool((angle[10, 0] < 75).all()) and bool((norms[10, 0] > 0.5).all())
    assert bool((angle[10, 1] > angle[10, 0] + 5).all())
    assert bool((norms[60].amin(-1) < 0.2).all()) and bool((angle[60] > 80).all())
    start, end = fit.free_energy[0, :, 0], fit.free_energy[-1, :, 0]
    assert start.tolist() == pytest.approx([-4.912, -15.390], abs=0.005)
    assert end.tolist() == pytest.approx([-3.972, -13.642], abs=0.05)  # one outlier may keep a mode of its own


def test_free_energy_agrees_with_sampling():
    (x, _), samples = mixture(range(1)), 4000
    fit = fit_linear_ica(x[0, :60], TRUTH, NOISE, degrees_of_freedom=NU, beta=2.0, iterations=1)
    q = Normal(fit.means, fit.variances.sqrt())
    z = q.mean + q.stddev * Generator(3).normal(samples, *q.mean.shape, dtype=DOUBLE)[0]
    explained = Normal(z @ fit.weights[-1].T, math.sqrt(NOISE)).log_prob(x[0, :60]).sum(-1)
    divergence = (q.log_prob(z) - StudentT(torch.tensor(NU, dtype=DOUBLE)).log_prob(z)).sum(-1)
    value = (explained - 2 * divergence).mean(-1)
    assert abs(value.mean() - fit.free_energy[-1]) < 4 * value.std() / math.sqrt(samples) + 1e-3


def test_gaussian_sources_give_factor_analysis():
    x = FactorAnalysis(TRUTH, NOISE).sample(200, Generator(0))[0][0]
    fit = fit_linear_ica(x, TRUTH, NOISE, degrees_of_freedom=1e8, beta=BETAS[:, 0], iterations=3)
    moment = x.T @ x / len(x)
    expected = torch.stack(
        [FactorAnalysis(fit.weights[3, b], NOISE).free_energy(moment, BETAS[b, 0]) for b in range(2)]
    )
    assert torch.allclose(fit.free_energy[3], expected, atol=1e-4)
    likelihood = linear_ica_log_likelihood(x, TRUTH, NOISE, degrees_of_freedom=1e8).mean()
    assert torch.allclose(likelihood, FactorAnalysis(TRUTH, NOISE).log_likelihood(moment), atol=1e-6)


def test_a_stack_follows_its_solo_runs_and_anisotropic_noise_is_monotone():
    x, s = mixture(range(2))
    noise = torch.tensor([0.05, 0.3], dtype=DOUBLE)
    both = fit_linear_ica(x, TRUTH, noise, start_mean=s, iterations=5, **SETTINGS)
    one = fit_linear_ica(x[1], TRUTH, noise, start_mean=s[1], iterations=5, degrees_of_freedom=NU, beta=5.0)
    assert torch.allclose(both.weights[:, 1, 1], one.weights, atol=1e-10)
    assert torch.allclose(both.free_energy[:, 1, 1], one.free_energy, atol=1e-10)
    assert float(both.free_energy.diff(dim=0).min()) > 0


def test_likelihood_against_adaptive_quadrature():
    x = torch.tensor([[-7.0], [0.3], [2.0], [40.0]], dtype=DOUBLE)

    def joint(z: float, value: float) -> float:
        return stats.t.pdf(z, NU) * stats.norm.pdf(value, 1.7 * z, math.sqrt(NOISE))

    exact = [
        math.log(integrate.quad(joint, v / 1.7 - 3, v / 1.7 + 3, args=(v,), epsabs=0)[0]) for v in x[:, 0].tolist()
    ]
    value = linear_ica_log_likelihood(x, torch.tensor([[1.7]], dtype=DOUBLE), NOISE, degrees_of_freedom=NU)
    assert value.tolist() == pytest.approx(exact, abs=1e-5)


def test_likelihood_is_above_the_free_energy_and_converged(paths):
    x, _ = mixture(range(6))
    for seed in range(2):
        likelihood = [
            linear_ica_log_likelihood(x[seed], TRUTH, NOISE, degrees_of_freedom=NU, nodes=nodes) for nodes in (32, 40)
        ]
        assert torch.allclose(*likelihood, atol=1e-5)
        assert likelihood[0].mean() > paths.free_energy[0, 0, seed]


def test_mixture_has_its_sources_and_noise():
    x, s = student_t_mixture(20_000, TRUTH, NOISE, NU, Generator([0, 1]))
    assert x.shape == (2, 20_000, 2) and s.shape == (2, 20_000, 3)
    assert stats.kstest(s[0].flatten().numpy(), stats.t(NU).cdf).pvalue > 0.01
    assert (x - s @ TRUTH.T).square().mean().item() == pytest.approx(NOISE, rel=0.03)


def test_angles_and_pruned_columns():
    weights = torch.stack([directions([0, 60, 150]) * torch.tensor([1.0, 0.1, 2.0])])
    fit = ICAFit(weights, torch.zeros(1), torch.zeros(1, 3), torch.ones(1, 3))
    assert [fit.angle(*pair).item() for pair in ((0, 1), (1, 2), (0, 2))] == pytest.approx([60, 90, 30])
    assert fit.longest_angle().item() == pytest.approx(30)
    assert fit.pruned().tolist() == [[False, True, False]] and fit.pruned(0.05).sum() == 0


X = torch.zeros(10, 2, dtype=DOUBLE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X[:, :1]}, r"x has shape \(10, 1\); expected \(..., n, 2\)"),
        ({"x": X * math.nan}, "x holds NaN or infinity"),
        ({"x": X.expand(4, 10, 2), "beta": torch.ones(3)}, "with leading axes that go together"),
        ({"start_mean": torch.zeros(9, 3)}, r"start_mean have shapes .*\(9, 3\)"),
        ({"noise_variance": 0.0}, "noise_variance is 0; expected positive"),
        ({"noise_variance": [0.1, 0.1, 0.1]}, r"noise_variance has shape \(3,\)"),
        ({"beta": -1.0}, "beta is -1; expected positive"),
        ({"degrees_of_freedom": 0.0}, "degrees_of_freedom is 0.0; expected a positive"),
        ({"degrees_of_freedom": math.inf}, "degrees_of_freedom is inf"),
        ({"iterations": -1}, "iterations is -1; expected at least 0"),
        ({"sweeps": 0}, "sweeps is 0; expected at least 1"),
    ],
)
def test_bad_fits(change, message):
    arguments = {"x": X, "weights": TRUTH, "noise_variance": NOISE, "degrees_of_freedom": NU} | change
    with pytest.raises(ValueError, match=message):
        fit_linear_ica(**arguments)


def test_other_bad_input():
    with pytest.raises(ValueError, match="n is 0; expected at least 1"):
        student_t_mixture(0, TRUTH, NOISE, NU, Generator(0))
    with pytest.raises(ValueError, match="degrees_of_freedom is -1"):
        student_t_mixture(3, TRUTH, NOISE, -1, Generator(0))
    for x, weights, nodes, message in (
        (X, TRUTH, 1, "nodes is 1"),
        (X[0], TRUTH, 8, "x has shape"),
        (X, TRUTH.expand(2, 2, 3), 8, "expected one matrix"),
    ):
        with pytest.raises(ValueError, match=message):
            linear_ica_log_likelihood(x, weights, NOISE, degrees_of_freedom=NU, nodes=nodes)
