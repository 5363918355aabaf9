"""What the experiment on hearts counts, on posteriors that are known."""

from __future__ import annotations

import math

import pytest
import torch

from latentbook.experiments import passive_correlations
from latentbook.experiments.passive_correlations import Config, course, dependence
from latentbook.metrics import averaged_mutual_information, total_correlation
from latentbook.random import Generator

DOUBLE = torch.float64


def posteriors() -> tuple[torch.Tensor, torch.Tensor]:
    """Two active latents and a passive one whose mean follows the first; in a second member it follows neither."""
    s = Generator([0, 1], stream="codes").normal(2000, 3, dtype=DOUBLE)
    s = torch.linalg.qr(s - s.mean(1, keepdim=True)).Q * math.sqrt(1999)  # exactly uncorrelated, variance 1
    passive = 0.02 * torch.stack([0.8 * s[0, :, 0] + 0.6 * s[0, :, 2], s[1, :, 2]])
    variances = torch.tensor([0.01, 0.05, 1.0], dtype=DOUBLE).expand(2, 2000, 3)
    return torch.cat([s[..., :2], passive[..., None]], -1), variances


def test_what_is_counted():
    means, variances = posteriors()
    found = dependence(means, variances)
    assert found["active"].tolist() == [2, 2] and found["passive"].tolist() == found["passive_by_share"].tolist()
    assert found["active_passive_means"].tolist() == pytest.approx([0.8, 0], abs=1e-9)
    expected = 0.8 * math.sqrt(1 / 1.01 * 0.0004 / 1.0004)
    assert float(found["active_passive_samples"][0]) == pytest.approx(expected, rel=1e-9)
    assert found["active_passive_found"].tolist() == found["kept_passive_found"].tolist() == [1, 0]
    assert torch.equal(found["tc_means"], total_correlation(means))
    assert found["tc_means"].tolist() == pytest.approx([-0.5 * math.log(0.36), 0], abs=1e-9)
    assert found["tc_means_kept"].tolist() == pytest.approx([0, 0], abs=1e-9)
    assert bool((found["tc_samples"] < 0.001).all())
    assert torch.equal(found["mi_means"], averaged_mutual_information(means))


def test_without_two_latents_in_use_there_is_no_dependence_of_them():
    means, variances = posteriors()
    found = dependence(means, torch.ones_like(variances))
    assert found["active_passive_means"].tolist() == found["kept_passive_found"].tolist() == [0, 0]
    for name in ("tc_means_kept", "tc_samples_kept", "mi_means_kept", "mi_samples_kept"):
        assert found[name].isnan().all()


def test_the_course_is_a_mean_over_pairs():
    correlations = torch.zeros(2, 1, 3, 3, dtype=DOUBLE)
    correlations[1, 0, 0, 2], correlations[1, 0, 1, 2], correlations[1, 0, 0, 1] = 0.4, -0.2, 0.9
    found = course(correlations, [0, 50], torch.tensor([[True, True, False]]))
    assert found["passive_at_0"].tolist() == [0] and found["passive_at_50"].tolist() == pytest.approx([0.3])


def test_runs_that_all_diverged_are_stored_with_the_reason(monkeypatch):
    def fit(model, *args, **options):
        with torch.no_grad():
            next(model.parameters()).fill_(math.nan)
        with pytest.warns(RuntimeWarning):
            return train(model, *args, **options)

    train = passive_correlations.fit
    monkeypatch.setattr(passive_correlations, "fit", fit)
    table = passive_correlations.run(Config("tiny"))
    assert list(table["error"]) == ["diverged at step 0"] * 2
