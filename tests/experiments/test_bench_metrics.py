"""The cost of the mutual information gap."""

from __future__ import annotations

import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from latentbook.experiments import _bench_metrics as metrics
from latentbook.experiments import bench


def test_blocks_and_merging_are_faster_than_broadcasting(capsys):
    table = bench.run(bench.Config(sections=("metrics",), samples=500)).set_index(["what", "way"])
    with capsys.disabled():
        print("\n" + table.to_string())
    ratios = table["times_as_fast"]["aggregate density"]
    assert ratios["broadcast"] == 1.0 and ratios["exact"] > 4 and ratios["binned"] > 4


def test_merging_is_close():
    means, scales, _ = metrics.smooth_codes((6, 12, 16, 16), 6, 0)
    z = metrics.draws(means, scales, 20)
    truth = metrics.broadcast_log_density(z.double(), means.double(), scales.double()).mean(0)
    for way, tolerance in ((metrics.exact, 1e-5), (metrics.binned, 1e-4)):
        assert float((way(z, means, scales).mean(0) - truth).abs().max()) < tolerance


def test_the_reference_is_the_density():
    means, scales, factors = metrics.smooth_codes((3, 4), 2, 1)
    assert means.shape == scales.shape == (12, 3) and factors.shape == (12, 2)
    z = torch.linspace(-2, 2, 25)[:, None].expand(-1, 3)
    found = metrics.broadcast_log_density(z, means, scales)
    expected = logsumexp(norm(means.numpy(), scales.numpy()).logpdf(z.numpy()[:, None]), axis=1, b=1 / 12)
    assert found.numpy() == pytest.approx(expected, rel=1e-4)
