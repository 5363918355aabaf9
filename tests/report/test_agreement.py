"""Agreement between runs: symmetric, blind to order, sign and scale, and bounded below by recovery."""

from __future__ import annotations

import math

import pytest
import torch

from latentbook.metrics import mcc
from latentbook.random import Generator
from latentbook.report import agreement

Z = Generator(0, stream="codes").normal(400, 3, dtype=torch.float64)[0]


def test_order_sign_and_scale_do_not_matter():
    assert torch.allclose(agreement([Z, -2.5 * Z[:, [2, 0, 1]]]), torch.ones(2, 2, dtype=torch.float64))


def test_it_is_the_mcc_of_every_pair():
    runs = Generator(range(3), stream="noise").normal(400, 3, dtype=torch.float64) + Z
    matrix = agreement(runs)
    assert torch.equal(matrix, matrix.T)
    assert torch.equal(matrix.diagonal(), torch.ones(3, dtype=torch.float64))
    assert matrix[0, 2] == pytest.approx(mcc(runs[0], runs[2]).score, abs=1e-12)
    assert 0 < matrix[0, 2] < 1


def test_a_latent_without_a_partner_counts_as_zero():
    assert agreement([Z, Z[:, :2]])[0, 1].item() == pytest.approx(2 / 3, abs=1e-12)


def test_spearman_forgives_what_is_monotone():
    bent = torch.exp(3 * Z)
    assert agreement([Z, bent], kind="spearman")[0, 1].item() == pytest.approx(1)
    assert agreement([Z, bent])[0, 1].item() < 0.9


def test_no_latent_and_codes_that_diverged_are_nan():
    matrix = agreement([Z, Z[:, :0], Z * math.nan, -Z])
    assert matrix[0, 3].item() == pytest.approx(1)
    assert matrix[1].isnan().all() and matrix[2].isnan().all()


def test_recovery_bounds_it_from_below():
    """The proposition of the chapter on your own data, on random pairs of codes; tight where noises are opposite."""
    source = Generator(range(50), stream="bound")
    s = source.normal(60, 3, dtype=torch.float64)
    widths = 2 * source.uniform(2, 1, 3, dtype=torch.float64)
    first, second = (s + widths[:, k] * source.normal(60, 3, dtype=torch.float64) for k in range(2))
    m = [torch.as_tensor(mcc(z, s).score).clamp(max=1) for z in (first, second)]
    bound = torch.cos(m[0].arccos() + m[1].arccos())
    found = torch.stack([agreement([a, b])[0, 1] for a, b in zip(first, second, strict=True)])
    assert (found >= bound - 1e-9).all()

    s, noise = torch.linalg.qr(Z - Z.mean(0)).Q[:, :2].T
    pair = [torch.stack([s + sign * 0.75 * noise], 1) for sign in (1, -1)]
    m = mcc(pair[0], s[:, None]).score
    assert m == pytest.approx(0.8)
    assert agreement(pair)[0, 1].item() == pytest.approx(2 * m**2 - 1)


@pytest.mark.parametrize("codes", [[], [Z, Z[:100]], [Z[:, 0]], Z[None, None]])
def test_bad_input(codes):
    with pytest.raises(ValueError, match="codes has runs of the shapes"):
        agreement(codes)


def test_unknown_kind():
    with pytest.raises(ValueError, match="kind"):
        agreement([Z, Z], kind="kendall")
