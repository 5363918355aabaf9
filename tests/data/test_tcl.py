"""Data of segments: the laws of the sources, the mixing, whitening, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from latentbook.data import tcl
from latentbook.mixings import Linear
from latentbook.random import Generator

SEEDS = (3, 4)
LAWS = {
    "normal": stats.norm(),
    "laplace": stats.laplace(scale=math.sqrt(0.5)),
    "hypsecant": stats.hypsecant(scale=2 / math.pi),
}


def small(**options) -> tcl.Segments:
    return tcl.segments(Generator(SEEDS), **({"segments": 6, "per_segment": 50, "size": 3} | options))


@pytest.mark.parametrize("family", LAWS)
@pytest.mark.parametrize("modulates", ["scale", "location", "both"])
def test_sources_have_the_law_of_their_segment(family, modulates):
    data = small(family=family, modulates=modulates, per_segment=1500)
    assert data.x.shape == data.sources.shape == (2, 9000, 3)
    assert data.u.shape == (2, 9000) and data.u.dtype == torch.int64
    assert data.location.shape == data.scale.shape == (2, 6, 3)
    assert LAWS[family].std() == pytest.approx(1)
    for member, segment, source in ((0, 0, 0), (1, 5, 2)):
        rows = data.sources[member, data.u[member] == segment, source]
        standard = (rows - data.location[member, segment, source]) / data.scale[member, segment, source]
        assert len(rows) == 1500 and stats.kstest(standard.numpy(), LAWS[family].cdf).pvalue > 0.001
    correlation = torch.corrcoef(data.sources[0, data.u[0] == 2].T)
    assert (correlation - torch.eye(3)).abs().max() < 5 / math.sqrt(1500)


def test_parameters_stay_in_their_ranges_and_change_only_where_they_may():
    options = {"segments": 400, "per_segment": 1, "scale": (0.5, 3.0), "location": (-5.0, 2.0)}
    both = small(modulates="both", **options)
    assert 0.5 <= both.scale.min() < 0.55 and 2.95 < both.scale.max() <= 3.0
    assert -5 <= both.location.min() < -4.9 and 1.9 < both.location.max() <= 2.0
    assert stats.kstest(both.scale[0].flatten().numpy(), stats.uniform(0.5, 2.5).cdf).pvalue > 0.001
    logarithmic = small(spread="log-uniform", **options).scale[0].flatten()
    assert stats.kstest(logarithmic.numpy(), stats.loguniform(0.5, 3.0).cdf).pvalue > 0.001
    assert torch.equal(small(modulates="scale", **options).location, torch.zeros(2, 400, 3))
    assert torch.equal(small(modulates="location", **options).scale, torch.ones(2, 400, 3))


def test_a_staircase_moves_the_first_mean_in_steps():
    steps = small(staircase=True).location
    assert torch.equal(steps[..., 0].sort(dim=1).values, 3.0 * torch.arange(6).expand(2, 6))
    assert not torch.equal(steps[0, :, 0], steps[1, :, 0]) and bool((steps[..., 1:] == 0).all())


def test_every_member_is_what_it_is_alone():
    both, alone = (
        small(noise=0.1, whiten=True),
        tcl.segments(Generator(SEEDS[1]), segments=6, per_segment=50, size=3, noise=0.1, whiten=True),
    )
    for name in ("x", "sources", "u", "location", "scale"):
        assert torch.allclose(getattr(both, name)[1], getattr(alone, name)[0], atol=1e-6)
    assert not torch.allclose(both.scale[0], both.scale[1])


def test_the_mixing_of_the_sources_is_x_and_its_inverse_leads_back():
    data = small(dtype=torch.float64)
    assert data.x.dtype == torch.float64
    assert torch.allclose(data.process.mix(data.sources), data.x)
    assert torch.allclose(data.process.mixing.inverse(data.x), data.sources, atol=1e-8)
    noisy = small(dtype=torch.float64, noise=0.3)
    residual = noisy.x - noisy.process.mix(noisy.sources)
    assert float(residual.std()) == pytest.approx(0.3, rel=0.1)
    assert torch.equal(noisy.sources, data.sources)
    linear = small(layers=1, dtype=torch.float64)
    assert isinstance(linear.process.mixing.parts[0], Linear) and len(linear.process.mixing.parts) == 1


def test_more_observations_than_sources():
    data = small(features=5, dtype=torch.float64)
    assert data.x.shape == (2, 300, 5) and data.sources.shape == (2, 300, 3)
    back = data.process.mixing.inverse(data.x)
    assert torch.allclose(back[..., :3], data.sources, atol=1e-8) and back[..., 3:].abs().max() < 1e-8


def test_held_out_data_come_from_the_same_process_in_the_same_coordinates():
    data = small(per_segment=3000, whiten=True, modulates="both")
    other = data.process.draw(Generator(SEEDS, stream="held out"), 3000)
    assert torch.equal(other.scale, data.scale) and not torch.equal(other.sources, data.sources)
    assert torch.allclose(data.x.mT @ data.x / 18_000, torch.eye(3).expand(2, 3, 3), atol=1e-4)
    assert (data.x.mean(1)).abs().max() < 1e-4
    assert torch.allclose(other.x.mT @ other.x / 18_000, torch.eye(3).expand(2, 3, 3), atol=0.1)


def test_the_exact_likelihood_of_a_linear_mixing_is_normal():
    data = small(layers=1, modulates="both", whiten=True, dtype=torch.float64)
    J = data.process.jacobian(data.sources)
    assert J.shape == (2, 300, 3, 3) and torch.allclose(J, J[:, :1].expand_as(J))
    found, matrix = data.process.log_likelihood(data), J[1, 0]
    for segment in (0, 5):
        rows = data.u[1] == segment
        mean = matrix @ data.location[1, segment] - data.process.whitening.shift[1] @ data.process.whitening.matrix[1]
        covariance = matrix @ torch.diag(data.scale[1, segment] ** 2) @ matrix.T
        law = torch.distributions.MultivariateNormal(mean, covariance)
        assert torch.allclose(found[1, rows], law.log_prob(data.x[1, rows]), atol=1e-8)


@pytest.mark.parametrize("family", LAWS)
def test_the_exact_likelihood_changes_variables(family):
    data = small(family=family, dtype=torch.float64)
    process, s = data.process, data.sources
    step = 1e-6 * torch.eye(3, dtype=torch.float64)
    differences = torch.stack([(process.mix(s + axis) - process.mix(s - axis)) / 2e-6 for axis in step], -1)
    assert (process.jacobian(s) - differences).abs().max() < 1e-6
    scale = process.scale.gather(1, data.u[..., None].expand_as(s))
    density = torch.from_numpy(LAWS[family].logpdf((s / scale).numpy())).sum(-1) - scale.log().sum(-1)
    expected = density - torch.linalg.slogdet(differences).logabsdet
    assert torch.allclose(process.log_likelihood(data), expected, atol=1e-5)
    for other in (small(noise=0.1), small(features=4)):
        with pytest.raises(ValueError, match="noise is 0.*expected no noise"):
            other.process.log_likelihood(other)


def test_whitening_refuses_what_it_cannot_whiten():
    x = Generator(SEEDS).normal(100, 3)
    white = tcl.whitening(x)(x)
    assert torch.allclose(white.mT @ white / 100, torch.eye(3).expand(2, 3, 3), atol=1e-4)
    flat = torch.cat([x, x[..., :1] - x[..., 1:2]], dim=-1)
    with pytest.raises(ValueError, match="x has no variance in 1 of 4 directions; expected data of full rank"):
        tcl.whitening(flat)
    with pytest.raises(ValueError, match="no variance in 3 of 3"):
        tcl.whitening(torch.ones(10, 3))
    with pytest.raises(ValueError, match="no variance in 2 of 5"):
        small(features=5, layers=1, whiten=True)
    with pytest.raises(ValueError, match="x is torch.int64"):
        tcl.whitening(torch.ones(10, 3, dtype=torch.int64))


def test_segments_are_counted_and_checked():
    x, u = torch.zeros(2, 6, 3), torch.tensor([[0, 1, 2, 0, 1, 2], [2, 2, 1, 1, 0, 0]])
    assert tcl.check_segments(x, u) == 3 == tcl.check_segments(x, u[0], 3)
    data = small()
    assert tcl.check_segments(data.x, data.u) == 6
    for call, error, words in (
        (
            lambda: tcl.check_segments(x, u[:, :5]),
            ValueError,
            r"u has shape \(2, 5\); expected one label for each of the 6",
        ),
        (lambda: tcl.check_segments(x, u.expand(2, 2, 6)), ValueError, "expected one label"),
        (lambda: tcl.check_segments(x, u[:1].expand(3, 6)), ValueError, "expected one label"),
        (lambda: tcl.check_segments(x, u - 1), ValueError, "u has labels from -1 to 1; expected 0 to 1"),
        (lambda: tcl.check_segments(x, u, 2), ValueError, "u has labels from 0 to 2; expected 0 to 1"),
        (lambda: tcl.check_segments(x, u, 4), ValueError, "u has no row of segment 3"),
        (lambda: tcl.check_segments(x, u.where(u != 1, 0)), ValueError, "u has no row of segment 1"),
        (lambda: tcl.check_segments(x, u.float()), TypeError, "u is torch.float32; expected an integer tensor"),
        (lambda: tcl.check_segments(x, [0, 1]), TypeError, "u is list"),
    ):
        with pytest.raises(error, match=words):
            call()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"segments": 0}, "segments is 0; expected a positive integer"),
        ({"per_segment": 0}, "per_segment is 0"),
        ({"size": 0}, "size is 0"),
        ({"layers": 0}, "layers is 0"),
        ({"features": 2}, "features is 2; expected at least size = 3"),
        ({"family": "cauchy"}, "family is 'cauchy'; expected one of"),
        ({"modulates": "mean"}, "modulates is 'mean'"),
        ({"spread": "normal"}, "spread is 'normal'"),
        ({"scale": (0.0, 3.0)}, r"scale is \(0.0, 3.0\); expected two positive numbers"),
        ({"scale": (3.0, 1.0)}, r"scale is \(3.0, 1.0\)"),
        ({"location": (1.0,)}, r"location is \(1.0,\); expected two numbers"),
        ({"noise": -1.0}, "noise is -1.0"),
        ({"noise": math.nan}, "noise is nan"),
        ({"activation": "relu"}, "activation is 'relu'; expected one of"),
    ],
)
def test_bad_input_is_refused_by_name(options, words):
    with pytest.raises(ValueError, match=words):
        small(**options)


def test_other_bad_input():
    with pytest.raises(TypeError, match="generator is a int"):
        tcl.segments(0)
    with pytest.raises(ValueError, match="generator has 1 seeds; expected 2"):
        small().process.draw(Generator(0), 5)
    with pytest.raises(TypeError, match="no_such"):
        small(no_such=1)
