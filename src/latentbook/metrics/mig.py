r"""The mutual information gap (MIG): is each factor told by one latent, and by no other?

.. math:: \mathrm{MIG} = \frac1K \sum_k \frac{I(z_{(1)}; v_k) - I(z_{(2)}; v_k)}{H(v_k)}

where the latents are ordered, for each factor, by what they tell about it. R. T. Q. Chen, X. Li, R. Grosse and
D. Duvenaud, *Isolating Sources of Disentanglement in Variational Autoencoders*, NeurIPS 2018, section 4.1. Information
is that of *samples* ``z ~ q(z | x)``; a histogram of posterior means gives another number, see
:func:`latentbook.metrics.histogram_mig`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from latentbook.metrics._factors import entropies, factor_levels, gap
from latentbook.metrics._mixtures import Components, cells, log_density, merge
from latentbook.random import Generator, check_members

_NEGLIGIBLE = 1e-3  # nats about the datum that a latent may carry and be counted as carrying none
_EXACT_UP_TO = 10**9  # pairs of a sample and a component up to which "auto" is exact


class MIG(NamedTuple):
    """A mutual information gap; leading axes are batch axes, such as the members of a stack.

    Attributes:
        score: the mean gap over factors, 0 to 1 up to sampling noise; (...), a float where there are no batch axes.
        per_factor: the gap of each factor, (..., factors), float64.
        mutual_information: of every latent (or subspace) with every factor in nats, (..., latents, factors), float64.
        standard_error: of the score, from the spread over samples; (...), or a float. The choice of the two latents is
            taken as given. Zero for estimates without randomness.
    """

    score: float | Tensor
    per_factor: Tensor
    mutual_information: Tensor
    standard_error: float | Tensor


def mig(
    means: Tensor,
    scales: Tensor,
    factors: Tensor,
    *,
    samples: int = 10_000,
    generator: Generator | None = None,
    estimator: str = "auto",
    subspaces: Sequence[int] | None = None,
) -> MIG:
    r"""The mutual information gap of a Gaussian encoder, from samples of ``q(z | x)``.

    With the empirical law of the ``n`` data points, ``q(z_j)`` and ``q(z_j | v_k)`` are mixtures over *all* points and
    over *all* points that share a level of the factor. One set of samples serves for everything,

    .. math:: I(z_j; v_k) = H(z_j) - E_v H(z_j \mid v_k)
              = \mathbb{E} \log \frac{q(z_j \mid v_k)}{q(z_j)},

    the mean being over a data point, its level of the factor, and ``z ~ q(z | x)``. Points are drawn without
    replacement, and each again as often as the others. So the quantity is that of Chen et al., and sharing the samples
    makes the noise of the two entropies cancel. Estimates below zero count as zero; a single latent has a runner-up
    that tells nothing. The entropy of a factor is that of its observed levels: the logarithm of their number where
    they are equally frequent.

    Any latent obeys ``I(z_j; v) <= I(z_j; x) <= 1/2 log(Var mean + E scale^2) - E log scale``. One for which the right
    side is below 0.001 nats, as it is for a collapsed latent, gets the mutual information zero without further work.

    Args:
        means: of ``q(z | x)``, (..., n, latents). All are used, on their device.
        scales: standard deviations of ``q(z | x)``, as ``means``.
        factors: integer levels, (n, factors). Every column is scored: leave out those that should not be.
        samples: number of ``z``; the standard error falls with its root.
        generator: of points and noise, with one stream, which serves all, or one a batch entry; by default that of
            seed 0.
        estimator: "exact" evaluates every component at every sample; "binned" merges components that are alike into
            one of the same weight, mean and variance (errors below 1e-4 nats); "auto" is exact up to a billion pairs
            of a sample and a component.
        subspaces: sizes of groups of consecutive latents, each scored as one by its joint density: (2, 2) for two
            pairs. By default every latent is a group of its own. Groups of several are always exact.

    Returns:
        Score, gaps, mutual information and the standard error of the score, on the CPU. Where codes are not finite, as
        those of a member that diverged, the results of that batch entry are NaN.

    Raises:
        TypeError: if ``generator`` is no Generator.
        ValueError: for shapes that do not fit, scales that are not positive, factors that are not integers or have one
            level only, fewer than two samples, sizes that do not add up to the latents, an unknown ``estimator``, or
            "binned" with a group of several latents.

    Example:
        >>> grid = torch.cartesian_prod(torch.arange(6), torch.arange(8))
        >>> code = grid.double() + torch.zeros(2, 1, 1)
        >>> mig(code, torch.full_like(code, 0.01), grid).score.round(decimals=6).tolist()
        [1.0, 1.0]
    """
    means, scales, levels = _check_codes(means, scales, factors)
    groups = _groups(subspaces, means.shape[-1])
    widest = max(stop - start for start, stop in groups)
    if estimator not in ("auto", "exact", "binned"):
        raise ValueError(f"estimator is {estimator!r}; expected 'auto', 'exact' or 'binned'")
    if estimator == "binned" and widest > 1:
        raise ValueError(f"estimator is 'binned' with a subspace of {widest} latents; expected 'exact' or 'auto'")
    if samples < 2:
        raise ValueError(f"samples is {samples}; expected at least 2")
    batch, (n, latents) = means.shape[:-2], means.shape[-2:]
    members = math.prod(batch)
    generator = Generator(0, stream="mig") if generator is None else generator
    check_members(generator)
    if generator.members not in (1, members):
        raise ValueError(f"generator has {generator.members} seeds; expected 1, or {members} as there are codes")
    generator = generator.to(means.device)
    points = torch.cat([generator.permutation(n) for _ in range(-(-samples // n))], dim=1)[:, :samples]
    noise = generator.normal(samples, latents, dtype=torch.float64)
    binned = estimator == "binned" or (estimator == "auto" and samples * n > _EXACT_UP_TO)
    results = []
    for k, codes in enumerate(zip(means.reshape(-1, n, latents), scales.reshape(-1, n, latents), strict=True)):
        stream = k if generator.members > 1 else 0
        pointwise = _pointwise(*codes, levels, points[stream], noise[stream], groups, binned)
        results.append(_gap(pointwise, entropies(levels)))
    score, per_factor, information, error = (torch.stack(values) for values in zip(*results, strict=True))
    if not batch:
        return MIG(float(score), per_factor[0], information[0], float(error))
    return MIG(*(value.unflatten(0, batch) for value in (score, per_factor, information, error)))


def _gap(pointwise: Tensor, entropy: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Score, gaps, mutual information and standard error from ``log q(z|v)/q(z)``, (latents, factors, samples)."""
    pointwise = pointwise.cpu()
    entropy = entropy.cpu()
    information = pointwise.mean(-1).where(pointwise.mean(-1).isnan(), pointwise.mean(-1).clamp(min=0))
    per_factor = gap(information, entropy)
    order = information.argsort(dim=0, descending=True)
    leading = pointwise.take_along_dim(order[:2, :, None], dim=0)
    difference = leading[0] - leading[1] if len(leading) > 1 else leading[0]
    each = (difference / entropy[:, None]).mean(0)
    return per_factor.mean(), per_factor, information, each.std() / math.sqrt(len(each))


def _pointwise(
    means: Tensor, scales: Tensor, levels: Tensor, points: Tensor, noise: Tensor, groups: list, binned: bool
) -> Tensor:
    """``log q(z_g | v_k) - log q(z_g)`` at every sample, (groups, factors, samples)."""
    result = noise.new_zeros(len(groups), levels.shape[1], len(points))
    if not bool(means.isfinite().all() & scales.isfinite().all()):
        return result.fill_(math.nan)
    z = means[points].double() + scales[points].double() * noise
    for g, (start, stop) in enumerate(groups):
        mean, scale = means[:, start:stop].double(), scales[:, start:stop].double()
        bound = 0.5 * (mean.var(0, correction=0) + scale.square().mean(0)).log() - scale.log().mean(0)
        if float(bound.sum()) < _NEGLIGIBLE:
            continue
        ways = _merged if binned and stop - start == 1 else _whole
        marginal, conditionals = ways(z[:, start:stop], mean, scale, levels, points)
        result[g] = conditionals - marginal
    return result


def _whole(z: Tensor, mean: Tensor, scale: Tensor, levels: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Log-densities of the samples among all points, and among those of the same level, (factors, samples)."""
    whole = Components(mean, scale, mean.new_ones(len(mean)))
    conditionals = [_within(z, level[points], whole, level) for level in levels.T]
    return log_density(z, whole), torch.stack(conditionals)


def _merged(z: Tensor, mean: Tensor, scale: Tensor, levels: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`_whole`, with components that are alike merged."""
    cell = cells(mean[:, 0], scale[:, 0])
    count, conditionals = int(cell.max()) + 1, []
    for level in levels.T:
        merged, found = merge(mean[:, 0], scale[:, 0], level * count + cell)
        conditionals.append(_within(z, level[points], merged, found // count))
    return log_density(z, merge(mean[:, 0], scale[:, 0], cell)[0]), torch.stack(conditionals)


def _within(z: Tensor, level: Tensor, mixture: Components, levels: Tensor) -> Tensor:
    """Log-density of each sample in the mixture of the components that have its level."""
    result = z.new_empty(len(z))
    samples, components = _by_level(level), _by_level(levels)
    for found, index in samples.items():
        result[index] = log_density(z[index], Components(*(value[components[found]] for value in mixture)))
    return result


def _by_level(levels: Tensor) -> dict[int, Tensor]:
    """The positions of every level."""
    order, counts = levels.argsort(stable=True), levels.bincount()
    parts = order.split(counts.tolist())
    return {level: part for level, part in enumerate(parts) if len(part)}


def _groups(subspaces: Sequence[int] | None, latents: int) -> list[tuple[int, int]]:
    """Where each group of latents starts, and where the next one would."""
    sizes = [1] * latents if subspaces is None else list(subspaces)
    if any(not hasattr(size, "__index__") or size < 1 for size in sizes) or sum(sizes) != latents:
        raise ValueError(f"subspaces is {subspaces!r}; expected positive sizes that add up to {latents} latents")
    stops = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [(stop - size, stop) for stop, size in zip(stops, sizes, strict=True)]


def _check_codes(means: Tensor, scales: Tensor, factors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes without gradient, and the levels of the factors on their device, numbered from 0."""
    means, scales = (torch.as_tensor(value).detach() for value in (means, scales))
    if means.dim() < 2 or means.shape != scales.shape or 0 in means.shape:
        found = f"means has shape {tuple(means.shape)} and scales {tuple(scales.shape)}"
        raise ValueError(f"{found}; expected (..., n, latents) for both")
    if bool((scales <= 0).any()):
        raise ValueError(f"scales goes down to {float(scales[scales <= 0].min())}; expected positive deviations")
    return means, scales, factor_levels(factors, means.shape[-2]).to(means.device)
