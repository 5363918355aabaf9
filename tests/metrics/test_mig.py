"""The mutual information gap: codes whose answer is known, brute force, both estimators, and subspaces."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from latentbook.metrics import mig
from latentbook.random import Generator

DOUBLE = torch.float64
SIZES = (6, 8, 10)
ESTIMATORS = ("exact", "binned")


def grid(sizes=SIZES) -> torch.Tensor:
    return torch.cartesian_prod(*(torch.arange(size) for size in sizes))


def codes(sizes=SIZES, extra: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """One narrow latent a factor, in (-1, 1), and latents that are the prior whatever the datum."""
    factors = grid(sizes)
    top = torch.tensor(sizes) - 1
    means = torch.cat([2 * factors / top - 1, torch.zeros(len(factors), extra)], dim=1).to(DOUBLE)
    scales = torch.full_like(means, 0.005)
    scales[:, len(sizes) :] = 1
    return means, scales


def rotated(angle: float) -> tuple[torch.Tensor, torch.Tensor]:
    means, scales = codes()
    turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], dtype=DOUBLE)
    means[:, :2] = means[:, :2] @ turn
    return means, scales


def smooth(n: int = 240, latents: int = 4, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Overlapping codes with uneven scales, and factors that are unevenly distributed."""
    generator = Generator(seed)
    factors = torch.stack([generator.integers(3, n)[0], generator.integers(5, n)[0].clamp(min=1)], dim=1)
    noise = generator.normal(n, latents, dtype=DOUBLE)[0]
    means = factors.to(DOUBLE) @ generator.normal(2, latents, dtype=DOUBLE)[0] + 0.4 * noise
    scales = 0.3 * (0.5 * generator.normal(n, latents, dtype=DOUBLE)[0]).exp()
    return means, scales, factors


def brute_force(means, scales, factors, groups, z, points) -> torch.Tensor:
    """Mutual information by the definition, with every density written out: (groups, factors)."""
    each = torch.distributions.Normal(means, scales).log_prob(z[:, None])  # (samples, n, latents)

    def log_mean(terms: torch.Tensor) -> torch.Tensor:
        return terms.logsumexp(1) - math.log(terms.shape[1])

    result = torch.zeros(len(groups), factors.shape[1], dtype=DOUBLE)
    for g, group in enumerate(groups):
        joint = each[..., group].sum(-1)
        entropy = -log_mean(joint).mean()
        for k, column in enumerate(factors.T):
            conditional = torch.zeros((), dtype=DOUBLE)
            for level in column.unique():
                drawn, same = column[points] == level, column == level
                conditional -= log_mean(joint[drawn][:, same]).sum() / len(points)
            result[g, k] = entropy - conditional
    return result


@pytest.mark.parametrize(("estimator", "close"), [("exact", 2e-6), ("binned", 2e-4)])
def test_it_is_the_brute_force_at_the_same_samples(estimator, close):
    means, scales, factors = smooth()
    samples, seed = 700, 5
    result = mig(means, scales, factors, samples=samples, generator=Generator(seed), estimator=estimator)
    same = Generator(seed)  # the draws of the function: rounds over the points, then the noise
    points = torch.cat([same.permutation(240) for _ in range(3)], dim=1)[0, :samples]
    z = means[points] + scales[points] * same.normal(samples, 4, dtype=DOUBLE)[0]
    expected = brute_force(means, scales, factors, [[0], [1], [2], [3]], z, points)
    assert (result.mutual_information - expected.clamp(min=0)).abs().max() < close
    best = expected.clamp(min=0).sort(0, descending=True).values
    shares = torch.stack([column.bincount() / 240 for column in (factors[:, 0],)])
    entropy = -(shares * shares.log()).sum()
    assert float(result.per_factor[0]) == pytest.approx(float((best[0] - best[1])[0] / entropy), abs=close)
    assert result.score == pytest.approx(float(result.per_factor.mean()), abs=1e-12)


def test_subspaces_are_scored_by_their_joint_density():
    means, scales, factors = smooth()
    result = mig(means, scales, factors, samples=480, generator=Generator(5), subspaces=(3, 1))
    same = Generator(5)
    points = torch.cat([same.permutation(240) for _ in range(2)], dim=1)[0]
    z = means[points] + scales[points] * same.normal(480, 4, dtype=DOUBLE)[0]
    expected = brute_force(means, scales, factors, [[0, 1, 2], [3]], z, points)
    assert result.mutual_information.shape == (2, 2)
    assert (result.mutual_information - expected.clamp(min=0)).abs().max() < 2e-6


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_perfect_code_scores_one_with_its_information(estimator):
    result = mig(*codes(), grid(), samples=2000, estimator=estimator)
    assert isinstance(result.score, float) and result.score == pytest.approx(1, abs=1e-6)
    expected = torch.zeros(4, 3, dtype=DOUBLE)
    expected[:3] = torch.tensor(SIZES).log().diag()
    assert (result.mutual_information - expected).abs().max() < 1e-5
    assert result.standard_error == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_rotation_of_two_latents_takes_two_factors(estimator):
    aligned = mig(*rotated(0), grid(), estimator=estimator)
    turned = mig(*rotated(math.pi / 4), grid(), estimator=estimator)
    assert aligned.score == pytest.approx(1, abs=1e-3)
    assert turned.score == pytest.approx(0.334, abs=0.02)
    assert turned.per_factor.tolist() == pytest.approx([0, 0, 1], abs=0.03)


def test_a_subspace_does_not_see_a_rotation_inside_it():
    result = mig(*rotated(math.pi / 4), grid(), subspaces=(2, 1, 1))
    assert result.score == pytest.approx(1, abs=1e-3)
    assert result.mutual_information[0].tolist() == pytest.approx([math.log(6), math.log(8), 0], abs=1e-3)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_subspace_is_counted_once_not_once_a_dimension(size):
    factors = grid((6, 8))
    means = torch.cat([factors[:, :1].expand(-1, size), factors[:, 1:]], dim=1).to(DOUBLE)
    result = mig(means, torch.full_like(means, 0.01), factors, samples=500, subspaces=(size, 1))
    assert float(result.mutual_information[0, 0]) == pytest.approx(math.log(6), abs=1e-6)
    assert result.score == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_constant_and_collapsed_codes_score_zero(estimator):
    factors = grid()
    result = mig(torch.ones(480, 3), torch.full((480, 3), 0.1), factors, samples=300, estimator=estimator)
    assert result.score == 0 and bool((result.mutual_information == 0).all())
    means, scales = codes()
    collapsed = mig(0.01 * means, torch.ones_like(scales), factors, samples=300, estimator=estimator)
    assert collapsed.score == 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_duplicated_latent_takes_the_gap_of_its_factor(estimator):
    means, scales = codes(extra=0)
    means, scales = means[:, [0, 0, 1, 2]], scales[:, [0, 0, 1, 2]]
    result = mig(means, scales, grid(), samples=2000, estimator=estimator)
    assert result.per_factor.tolist() == pytest.approx([0, 1, 1], abs=1e-6)


def test_a_noisy_code_tells_what_a_normal_channel_tells():
    """Two levels at +-1 with noise: information of the binary input normal channel, by quadrature."""
    factors = torch.arange(2)[:, None].repeat(500, 1)
    means, deviation = 2 * factors.to(DOUBLE) - 1, 0.8
    y = torch.linspace(-12, 12, 200_001, dtype=DOUBLE)
    law = torch.distributions.Normal(torch.tensor([-1.0, 1.0], dtype=DOUBLE), deviation)
    density = law.log_prob(y[:, None]).exp()
    mixture = density.mean(1)
    information = (torch.trapezoid(-torch.xlogy(mixture, mixture), y) - law.entropy()[0]).item()
    result = mig(means, torch.full_like(means, deviation), factors, samples=40_000)
    assert float(result.mutual_information) == pytest.approx(information, abs=4 * result.standard_error * math.log(2))
    assert result.score == pytest.approx(information / math.log(2), abs=4 * result.standard_error)


def test_the_standard_error_is_the_spread_over_seeds():
    means, scales, factors = smooth(2000)
    seeds = range(24)
    stack = mig(means.expand(24, -1, -1), scales.expand(24, -1, -1), factors, samples=300, generator=Generator(seeds))
    ratio = float(stack.score.std() / stack.standard_error.mean())
    assert 0.6 < ratio < 1.5  # 24 seeds: the ratio has a standard error of .15


def test_batched_is_the_loop_and_a_shared_stream_serves_all():
    means, scales, factors = smooth()
    means = torch.stack([means, means.flip(1), -means]).view(3, 1, 240, 4)
    scales = scales.expand_as(means)
    own = mig(means, scales, factors, samples=200, generator=Generator([4, 5, 6]))
    shared = mig(means, scales, factors, samples=200, generator=Generator(5))
    assert own.score.shape == (3, 1) and own.per_factor.shape == (3, 1, 2)
    assert own.mutual_information.shape == (3, 1, 4, 2) and own.standard_error.shape == (3, 1)
    for k, seed in enumerate((4, 5, 6)):
        for stack, one in ((own, seed), (shared, 5)):
            alone = mig(means[k, 0], scales[k, 0], factors, samples=200, generator=Generator(one))
            assert float(stack.score[k, 0]) == pytest.approx(alone.score, abs=1e-12)


def test_a_member_that_diverged_spoils_itself_alone():
    means, scales, factors = smooth()
    means, scales = means.repeat(3, 1, 1), scales.repeat(3, 1, 1)
    means[0, 3, 1], scales[2, 5, 0] = math.nan, math.inf
    result = mig(means, scales, factors, samples=100)
    assert result.score[[0, 2]].isnan().all() and result.mutual_information[[0, 2]].isnan().all()
    assert float(result.score[1]) == pytest.approx(mig(means[1], scales[1], factors, samples=100).score, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_units_and_offsets_do_not_matter(estimator, scale):
    means, scales, factors = smooth()
    plain = mig(means, scales, factors, samples=300, estimator=estimator)
    changed = mig(means * scale + 5 * scale, scales * scale, factors, samples=300, estimator=estimator)
    assert (plain.mutual_information - changed.mutual_information).abs().max() < 2e-4


def test_very_narrow_and_very_uneven_scales_stay_exact():
    means, scales = codes(extra=0)
    narrow = mig(means, 1e-7 * scales, grid(), samples=400)
    assert narrow.score == pytest.approx(1, abs=1e-6)
    uneven = scales * 10.0 ** (-3 * grid())  # each latent's scale, over 27 decades, tells its own factor alone
    assert mig(means, uneven, grid(), samples=400).score == pytest.approx(1, abs=1e-6)


def test_float32_agrees_with_float64():
    means, scales, factors = smooth()
    double = mig(means, scales, factors, samples=300)
    single = mig(means.float(), scales.float(), factors, samples=300)
    assert (double.mutual_information - single.mutual_information).abs().max() < 1e-5


def test_merging_is_within_a_ten_thousandth_of_a_nat_on_many_points():
    factors = grid((40, 25, 25))
    u = 2 * factors.to(DOUBLE) / (torch.tensor([40, 25, 25]) - 1) - 1
    means = torch.stack([u[:, 0] + 0.2 * u[:, 1] ** 2, torch.sin(3 * u[:, 1]), u[:, 2] * u[:, 0]], dim=1)
    scales = 0.08 * (0.6 * u.flip(1)).exp()
    exact, binned = (mig(means, scales, factors, samples=500, estimator=name) for name in ESTIMATORS)
    assert (exact.mutual_information - binned.mutual_information).abs().max() < 1e-4


def test_auto_is_exact_for_few_points_and_binned_for_many(monkeypatch):
    means, scales, factors = smooth()
    exact, binned = (mig(means, scales, factors, samples=100, estimator=name).mutual_information for name in ESTIMATORS)
    assert not torch.equal(exact, binned)
    assert torch.equal(mig(means, scales, factors, samples=100).mutual_information, exact)
    monkeypatch.setattr(sys.modules["latentbook.metrics.mig"], "_EXACT_UP_TO", 1000)
    assert torch.equal(mig(means, scales, factors, samples=100).mutual_information, binned)


def test_one_latent_has_a_runner_up_that_tells_nothing():
    means, scales = codes(extra=0)
    result = mig(means[:, :1], scales[:, :1], grid(), samples=500)
    assert result.per_factor.tolist() == pytest.approx([1, 0, 0], abs=1e-6)


GOOD = (torch.zeros(4, 2), torch.ones(4, 2), torch.tensor([[0], [1], [0], [1]]))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({0: torch.zeros(4)}, {}, "means has shape"),
        ({1: torch.ones(4, 3)}, {}, "means has shape"),
        ({1: -torch.ones(4, 2)}, {}, "scales goes down to -1"),
        ({1: torch.zeros(4, 2)}, {}, "scales goes down to 0"),
        ({2: torch.zeros(4, 1, dtype=torch.int64)}, {}, "one level only"),
        ({2: torch.rand(4, 1)}, {}, "expected integers"),
        ({2: torch.tensor([0, 1, 0, 1])}, {}, "factors has shape"),
        ({2: torch.zeros(5, 1, dtype=torch.int64)}, {}, "factors has shape"),
        ({}, {"samples": 1}, "samples is 1"),
        ({}, {"estimator": "fast"}, "estimator is 'fast'"),
        ({}, {"subspaces": (1, 2)}, "subspaces is"),
        ({}, {"subspaces": (2, 0)}, "subspaces is"),
        ({}, {"subspaces": (2,), "estimator": "binned"}, "subspace of 2"),
        ({}, {"generator": Generator([1, 2])}, "generator has 2 seeds"),
    ],
)
def test_bad_input(change, options, message):
    arguments = [change.get(i, value) for i, value in enumerate(GOOD)]
    with pytest.raises(ValueError, match=message):
        mig(*arguments, **options)


def test_a_generator_is_one_of_ours():
    with pytest.raises(TypeError, match="generator"):
        mig(*GOOD, generator=0)
