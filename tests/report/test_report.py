"""A report on every model of the book: the right numbers, and what is missing said openly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch.distributions import kl_divergence

from latentbook.data import Dataset
from latentbook.metrics import ima_contrast, latent_roles, mcc, reliability, total_correlation
from latentbook.models import (
    VAE,
    BernoulliLikelihood,
    BetaPrior,
    CouplingFlow,
    FactorAnalysis,
    FixedDecoder,
    GeneralizedNormalPrior,
    ISAPrior,
    LaplacePrior,
    NormalPrior,
    ivae_mlp,
)
from latentbook.objectives import elbo_gap
from latentbook.random import Generator
from latentbook.report import Codes, report

K, N, D, LATENTS = 3, 120, 6, 4
X = Generator(0, stream="x").uniform(N, D)[0]
U = Generator(0, stream="u").integers(3, N)[0]
GENERATOR = Generator(range(K))
CLASSES = Generator(0, stream="classes").integers(4, N, 2)[0]


def vae(**options) -> VAE:
    return VAE.mlp(D, LATENTS, hidden=(8,), data=X, generator=Generator(range(K)), **options)


MODELS = {
    "normal prior": lambda: vae(),
    "Bernoulli pixels": lambda: vae(likelihood=BernoulliLikelihood()),
    "Laplace prior": lambda: vae(prior=LaplacePrior(LATENTS)),
    "learned exponents": lambda: vae(prior=GeneralizedNormalPrior(LATENTS, 3.0, learned=True, members=K)),
    "subspaces": lambda: vae(prior=ISAPrior([2, 2], inner=2.2, outer=2.1)),
    "unit interval": lambda: vae(prior=BetaPrior(LATENTS, learned=True, members=K)),
    "conditional": lambda: ivae_mlp(D, LATENTS, classes=3, hidden=(8,), data=X, generator=Generator(range(K))),
    "factor analysis": lambda: FactorAnalysis(Generator(range(K)).normal(D, LATENTS), 0.1),
    "one factor analysis": lambda: FactorAnalysis(Generator(0).normal(D, LATENTS)[0], 0.1),
    "flow": lambda: CouplingFlow(D, generator=Generator(range(K))),
}


@pytest.mark.parametrize("name", MODELS)
def test_one_call_serves_every_model(name):
    u = U if name == "conditional" else None
    result = report(MODELS[name](), X, u=u, factors=CLASSES, factor_names=("shape", "size"))
    members = 1 if name.startswith("one") else K
    latents = D if name == "flow" else LATENTS
    assert len(result.members) == members and len(result.latents) == members * latents
    off = [] if name == "flow" else result.members["passive"] == LATENTS
    numbers = result.members.drop(columns="MCC with other members", errors="ignore")
    assert (numbers["contrast"].isna() == off).all() if len(off) else numbers["contrast"].notna().all()
    assert np.isfinite(numbers.drop(columns="contrast").to_numpy(dtype=float)).all()
    assert (result.latents[["shape", "size"]].to_numpy() >= 0).all()
    assert isinstance(result.figure, Figure) and len(result.figure.axes) >= 2
    assert result.alt.endswith(".") and "nan" not in str(result.alt)
    assert "not measured" in str(result) or not result.missing
    if name == "flow":
        assert {"roles", "KL", "gap"} <= set(result.missing) and "role" not in result.latents
    else:
        assert set(result.latents["role"]) <= {"active", "mixed", "passive"}
        counts = result.members[["active", "mixed", "passive"]].sum(axis=1)
        assert (counts == LATENTS).all() and "gap" not in result.missing
    assert ("KL" in result.latents) == (name not in ("subspaces", "flow")) == ("KL" not in result.missing)


def test_the_numbers_are_those_of_the_functions():
    model, generator = vae(), Generator(range(5, 5 + K))
    data = Dataset(X, factors=CLASSES, factor_sizes=(4, 4), factor_names=("a", "b"))
    result = report(model, data, generator=generator)
    q = model.encode(X)
    gap = elbo_gap(model, X, generator.child("gap"), samples=64)
    assert np.allclose(result.members["gap"], gap.gap) and np.allclose(result.members["ELBO"], gap.elbo)
    assert np.allclose(result.members["log-likelihood"], gap.bound)
    assert np.allclose(result.members["gap, standard error"], gap.standard_error)
    assert np.allclose(result.members["TC of means"], total_correlation(q.mean))
    kl = kl_divergence(q, model.prior()).mean(1).detach()
    assert np.allclose(result.latents["KL"], kl.flatten(), atol=1e-5)
    assert np.allclose(result.members["rate"], kl.sum(1), atol=1e-5)
    assert result.latents["role"].tolist() == np.ravel(latent_roles(q.variance)).tolist()
    assert np.allclose(result.latents["reliability"], reliability(q.mean, q.variance).flatten())
    assert {"a", "b"} <= set(result.latents)
    summary = result.table
    assert summary.loc["gap", "mean"] == pytest.approx(float(gap.gap.mean()))
    assert summary.loc["gap", "sd"] == pytest.approx(float(gap.gap.std()), rel=1e-5)


def test_factor_analysis_in_closed_form():
    model = FactorAnalysis(Generator(0).normal(D, 2, dtype=torch.float64)[0], 0.5)
    result = report(model, X.double())
    moment = X.double().T @ X.double() / N
    row = result.members.iloc[0]
    assert row["gap"] == pytest.approx(float(model.gap()))
    assert row["log-likelihood"] - row["ELBO"] == pytest.approx(row["gap"])
    assert row["rate"] == pytest.approx(float(model.free_energy_terms(moment).kl))
    assert row["contrast"] == pytest.approx(float(ima_contrast(model.weights)))


def test_latents_that_are_off_are_left_out_of_the_contrast():
    """A decoder with two orthogonal columns and one of nothing, and an encoder that agrees."""
    weights = torch.tensor([[5.0, 0.0, 1e-6], [0.0, 5.0, 1e-6], [0.0, 0.0, 0.0]])
    result = report(FactorAnalysis(weights, 0.1), torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))
    assert result.members[["active", "passive"]].to_numpy().tolist() == [[2, 1]]
    assert result.members["contrast"][0] == pytest.approx(0, abs=1e-9)


def test_roles_are_relative_to_the_prior():
    wide = vae(prior=NormalPrior(LATENTS, variance=9.0), initial_log_variance=math.log(9.0))
    with torch.no_grad():
        for parameter in wide.encoder.log_variance.last.parameters():
            parameter.mul_(torch.tensor(float(parameter.dim() < 3)))
        wide.encoder.start_log_variance(math.log(9.0))
        for parameter in wide.encoder.log_variance.last.parameters():
            if parameter.shape[-2] > 1:
                parameter.zero_()
    assert set(report(wide, X).latents["role"]) == {"passive"}
    assert set(np.ravel(latent_roles(wide.encode(X).variance))) == {"mixed"}


def test_bernoulli_contrast_is_in_units_of_the_noise():
    """Columns that are orthogonal as they stand lean once each pixel is weighed by its own precision p (1 - p)."""
    columns = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    model = VAE.mlp(2, 2, hidden=(4,), likelihood=BernoulliLikelihood(), initial_log_variance=-3.0, generator=GENERATOR)
    model.decoder = FixedDecoder(lambda z: z @ columns + torch.tensor([0.0, 4.0]), members=K)
    result = report(model, X[:, :2])
    p = model.decode(model.encode(X[:, :2]).mean).sigmoid()
    weighed = columns.T * (p * (1 - p)).sqrt()[..., None]
    assert result.members["contrast"].tolist() == pytest.approx(ima_contrast(weighed).mean(1).tolist(), rel=1e-4)
    assert (result.members["contrast"] > 0.2).all()


def test_codes_from_elsewhere_in_three_lines():
    generator = Generator(0, stream="codes")
    s = generator.normal(200, 3, dtype=torch.float64)[0]
    means, variances = torch.cat([s[:, :2], 0.01 * s[:, :1]], 1), torch.tensor([0.01, 0.05, 1.0]).expand(200, 3)
    for kind in (lambda v: v, lambda v: v.numpy(), lambda v: v.tolist()):
        result = report(Codes(kind(means), kind(variances)), factors=kind(s[:, :2]))
        assert result.latents["role"].tolist() == ["active", "active", "passive"]
        assert result.members["MCC with factors"][0] == pytest.approx(1)
        assert set(result.missing) == {"log-likelihood", "gap", "contrast", "agreement between members"}
    assert "roles" in report(Codes(means)).missing


def test_agreement_counts_a_latent_without_a_partner_as_nothing():
    s = Generator(0).normal(500, 2, dtype=torch.float64)[0]
    sharp, off = torch.full((500, 2), 0.01), torch.ones(500, 2)
    second = torch.stack([-s[:, 1], 0 * s[:, 0]], 1)
    variances = torch.stack([sharp, torch.stack([sharp[:, 0], off[:, 0]], 1)])
    result = report(Codes(torch.stack([s, second]), variances))
    expected = mcc(second[:, :1], s).score
    assert result.members["MCC with other members"].tolist() == pytest.approx([expected, expected])
    assert expected == pytest.approx(0.5)


def test_a_member_that_diverged_is_empty_and_spoils_no_other():
    model = vae()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter[1] = math.nan
    result, alone = report(model, X, factors=CLASSES), report(vae(), X, factors=CLASSES)
    assert result.members.loc[1].drop("member").isna().all()
    assert np.allclose(result.members.loc[0, "gap"], alone.members.loc[0, "gap"])
    assert isinstance(result.figure, Figure) and np.isfinite(result.table.loc["gap", "mean"])
    roles = [role for role in ("active", "mixed", "passive") if result.members[role].max() > 0]
    assert all(f"{result.table.loc[role, 'mean']:.1f} {role}" in result.alt for role in roles)


def test_members_with_data_and_auxiliary_variables_of_their_own():
    generator = Generator(range(K), stream="own")
    x, u = generator.normal(N, D), generator.integers(3, N)
    model = MODELS["conditional"]()
    result = report(model, (x, u), factors=x[..., :2])
    gap = elbo_gap(model, x, Generator(range(K), stream="report").child("gap"), samples=64, u=u)
    assert np.allclose(result.members["gap"], gap.gap)
    assert np.allclose(result.members["MCC with factors"], mcc(model.encode(x, u).mean, x[..., :2]).score)
    many = report(model, x.repeat(1, 60, 1), u=u.repeat(1, 60), factors=CLASSES.repeat(60, 1))
    assert np.isfinite(many.members["gap"]).all() and len(many.latents) == K * LATENTS


def test_many_rows_are_thinned():
    x = Generator(3).normal(6000, D)[0]
    result = report(vae(), x, factors=x[:, :2])
    assert np.isfinite(result.members["MCC with factors"]).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: report("a model", X), TypeError, "model is a str"),
        (lambda: report(vae()), ValueError, "data is NoneType"),
        (lambda: report(vae(), X[0]), ValueError, "data is \\(6,\\)"),
        (lambda: report(vae(), (X, U, U)), ValueError, "tuple of 3"),
        (lambda: report(vae(), X, factors=CLASSES[:5]), ValueError, "factors has shape"),
        (lambda: report(vae(), X, factors=CLASSES, factor_names=("a",)), ValueError, "factor_names is"),
        (lambda: report(Codes(X), factors=CLASSES[:5]), ValueError, "factors has shape"),
        (lambda: report(CouplingFlow(D, generator=Generator(0)), X[:, :3]), ValueError, "x has shape"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_when_all_have_diverged():
    model = vae()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(math.nan)
    with pytest.raises(ValueError, match="every member has diverged"):
        report(model, X)
