r"""The metric of FactorVAE: hold a factor fixed, and see which latent moves least.

One vote: choose a factor, then points that share a level of it; divide the variance of each latent among them by its
variance over all points; the vote goes to the latent where this is smallest. A classifier that knows, for each latent,
the factor it was voted for most often then guesses the factor of new votes. The score is its accuracy. H. Kim and
A. Mnih, *Disentangling by Factorising*, ICML 2018.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from latentbook.metrics._codes import as_codes, as_result
from latentbook.metrics._factors import factor_levels
from latentbook.random import Generator, check_members


class FactorScore(NamedTuple):
    """The accuracy of a majority vote; leading axes are batch axes, such as the members of a stack.

    Attributes:
        score: accuracy on votes that the classifier has not seen, (...), a float where there are no batch axes.
        votes: of every latent for every factor, those the classifier is made from, int64 (..., latents, factors).
    """

    score: float | Tensor
    votes: Tensor


def factor_score(
    codes: Tensor,
    factors: Tensor,
    *,
    votes: int = 10_000,
    test_votes: int = 5_000,
    points: int = 64,
    dead: float = 0.05,
    generator: Generator | None = None,
) -> FactorScore:
    """The FactorVAE metric of codes on given points, from which the groups are drawn with replacement.

    A code that has nothing to do with the factors scores about one over their number. Two latents that split a factor,
    or tell the same, lose nothing: either may win a vote. A latent that tells two factors does.

    Args:
        codes: usually posterior means, (..., n, latents), with more points than latents.
        factors: integer levels, (n, factors).
        votes: that the classifier is made from, and
        test_votes: that it is scored on: 10,000 and 5,000 with 64 points each, as in disentanglement_lib.
        points: in each group.
        dead: latents with a standard deviation up to this over all points, and constants, get no votes. Without it a
            collapsed latent can win by chance.
        generator: of the groups, with one stream, which serves all, or one a batch entry; by default that of seed 0.

    Returns:
        Accuracy and votes, on the CPU. Where all latents are dead, the score is zero; where codes are not finite, it is
        NaN, without votes.

    Raises:
        TypeError: if ``generator`` is no Generator.
        ValueError: for shapes that do not fit, factors that are not integers or have one level only, numbers of votes
            below one, fewer than two points in a group, or a negative ``dead``.

    Example:
        >>> grid = torch.cartesian_prod(torch.arange(8), torch.arange(8))
        >>> factor_score(grid.double(), grid, votes=100, test_votes=100).score
        1.0
    """
    for name, value, least in (("votes", votes, 1), ("test_votes", test_votes, 1), ("points", points, 2)):
        if value < least:
            raise ValueError(f"{name} is {value}; expected at least {least}")
    if not dead >= 0:
        raise ValueError(f"dead is {dead}; expected a standard deviation that is not negative")
    codes, finite = as_codes("codes", codes)
    batch, (n, latents) = codes.shape[:-2], codes.shape[-2:]
    levels = factor_levels(factors, n)
    generator = Generator(0, stream="factor score") if generator is None else generator
    check_members(generator)
    members = math.prod(batch)
    if generator.members not in (1, members):
        raise ValueError(f"generator has {generator.members} seeds; expected 1, or {members} as there are codes")
    groups = [_groups(levels, number, points, generator.to("cpu")) for number in (votes, test_votes)]
    scores, tables = [], []
    for k, entry in enumerate(codes.reshape(-1, n, latents)):
        stream = k if generator.members > 1 else 0
        first, second = ((chosen[stream], index[stream]) for chosen, index in groups)
        table = _vote(entry, levels.shape[1], *first, dead)
        test = _vote(entry, levels.shape[1], *second, dead)
        right = test.gather(1, table.argmax(1, keepdim=True)).sum()
        scores.append(right.double() / test_votes)
        tables.append(table)
    score = torch.stack(scores).view(batch).where(finite, math.nan)
    table = torch.stack(tables).view(*batch, latents, levels.shape[1])
    return FactorScore(as_result(score), table.where(finite[..., None, None], 0))


def _groups(levels: Tensor, votes: int, points: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """For every vote a factor, (members, votes), and points that share a level of it, (members, votes, points)."""
    n, factors = levels.shape
    chosen = generator.integers(factors, votes)
    level = levels[generator.integers(n, votes), chosen]  # a level as often as the data have it
    order = levels.argsort(dim=0, stable=True)
    counts = torch.zeros(factors, int(levels.max()) + 1, dtype=torch.int64)
    counts.scatter_add_(1, levels.T, torch.ones_like(levels.T))
    starts = counts.cumsum(1) - counts
    position = (generator.uniform(votes, points, dtype=torch.float64) * counts[chosen, level][..., None]).long()
    return chosen, order[starts[chosen, level][..., None] + position, chosen[..., None]]


def _vote(codes: Tensor, factors: int, chosen: Tensor, index: Tensor, dead: float) -> Tensor:
    """Votes of each latent for each factor, (latents, factors)."""
    deviation = codes.std(0)
    alive = (deviation > dead) & (codes.amin(0) < codes.amax(0))
    table = torch.zeros(codes.shape[1], factors, dtype=torch.int64)
    if not bool(alive.any()):
        return table
    spread = torch.stack([(column / scale)[index].var(-1) for column, scale in zip(codes.T, deviation, strict=True)])
    winner = spread.where(alive[:, None], math.inf).argmin(0)
    return table.index_put_((winner, chosen), torch.ones_like(chosen), accumulate=True)
