"""Numbers of the gap experiments that are known in advance."""

from __future__ import annotations

import torch

from latentbook.experiments import elbo_gap, moebius_linear_map, prior_choice
from latentbook.experiments._ima import grid
from latentbook.experiments.self_consistency import consistency
from latentbook.metrics import ima_contrast
from latentbook.models import VAE, FixedDecoder, FreePosterior, GaussianLikelihood, NormalPrior
from latentbook.random import Generator


def test_the_optimal_gap_is_the_contrast_at_high_precision_and_zero_for_orthogonal_columns():
    options = {"methods": ("optimum",), "gamma2": (1e2, 1e5), "seeds": 2, "points": 60}
    table = elbo_gap.run(elbo_gap.Config("tiny", maps=("smooth", "triangular", "orthogonal"), **options))
    assert table["remaining"].max() < 1e-8
    high = table[table["gamma2"] == 1e5]
    assert high["gap_minus_contrast"].abs().max() < 1e-3
    flat, steep = (high[high["map"] == name] for name in ("orthogonal", "triangular"))
    assert flat["contrast"].max() < 1e-12 and flat["gap"].abs().max() < 1e-3
    assert steep["contrast"].min() > 0.1
    errors = table[table["map"] == "smooth"].groupby("gamma2")["error_median"].mean()
    assert 800 < errors[1e2] / errors[1e5] < 1200  # means converge like 1 / gamma^2


def test_consistency_finds_ratio_one_and_the_closed_gap_on_a_linear_decoder():
    matrix = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 2.0]])
    gamma2 = torch.tensor([10.0, 1e4], dtype=torch.float64)
    z = Generator(0).normal(400, 3)
    x = z @ matrix.T
    parts = {"likelihood": GaussianLikelihood(gamma2.float()), "prior": NormalPrior(3)}
    model = VAE.mlp(3, 3, **parts, generator=Generator([0, 0]))
    model.decoder = FixedDecoder(lambda z: z @ matrix.T.to(z), members=2)
    squared = matrix.square().sum(0)
    variance = 1 / (1 + gamma2.float()[:, None, None] * squared)
    model.encoder = FreePosterior(torch.distributions.Normal(z.expand(2, -1, -1), variance.sqrt().expand(2, 400, 3)))
    x = x.expand(2, -1, -1)
    found = consistency(model, x, torch.zeros(2, 400, 3), gamma2, Generator([0, 0]))
    assert found["inverted"].tolist() == [1.0, 1.0] and found["within_5_percent"].tolist() == [1.0, 1.0]
    for name in ("ratio_low", "ratio_median", "ratio_high"):
        torch.testing.assert_close(found[name], torch.ones(2, dtype=torch.float64), rtol=1e-4, atol=0)
    assert float(found["inverse_error"].max()) < 1e-5
    torch.testing.assert_close(found["contrast_at_inverse"], ima_contrast(matrix).double().expand(2), rtol=1e-5, atol=0)
    assert abs(float(found["gap"][1]) - float(ima_contrast(matrix))) < 0.03  # 64 samples at 400 points
    for k in range(3):
        torch.testing.assert_close(found[f"log_variance_{k}"], variance[:, 0, k].log().double(), rtol=1e-4, atol=0)


def test_points_without_an_inverse_are_left_out_and_counted():
    model = VAE.mlp(3, 3, likelihood=GaussianLikelihood(100.0), prior=NormalPrior(3), generator=Generator([0]))
    model.decoder = FixedDecoder(torch.tanh, members=1)
    x = torch.full((1, 4, 3), 0.5)
    x[0, 0] = 2.0
    found = consistency(model, x, torch.zeros(1, 4, 3), torch.tensor([100.0]).double(), Generator([0]))
    assert float(found["inverted"]) == 0.75
    assert all(bool(value.isfinite().all()) for value in found.values())


def test_linear_maps_have_the_contrasts_they_are_asked_for_and_unit_determinant():
    common = {"method": ["direct"], "maps": ["published"], "gamma2": [1e4]}
    settings = grid(**common, matrix=["cosine"], cosine=[0.0, 0.5, 0.9], seed=[0, 1])
    matrix = moebius_linear_map.mixing_of(settings).parts[1].matrix
    torch.testing.assert_close(matrix.det().abs(), torch.ones(6).double())
    contrast = ima_contrast(matrix).view(3, 2)
    expected = torch.tensor([0.0, 0.346574, 1.787746]).double()[:, None].expand(3, 2)
    torch.testing.assert_close(contrast, expected, rtol=1e-4, atol=1e-9)
    uniform = moebius_linear_map.mixing_of(grid(**common, matrix=["uniform"], cosine=[None], seed=range(300)))
    assert 1.7 < float(ima_contrast(uniform.parts[1].matrix).median()) < 2.4


def test_precisions_are_in_units_of_the_variance_of_x():
    table = prior_choice.run(prior_choice.Config("tiny", priors=("uniform",)))
    assert table["gamma2"].nunique() == len(table) and (table["precision"] == 30.0).all()
