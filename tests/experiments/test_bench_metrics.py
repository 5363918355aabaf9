"""The cost of the mutual information gap."""

from __future__ import annotations

import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from latentbook.experiments import bench_metrics


def test_blocks_are_faster_than_broadcasting_and_merging_is_close(capsys):
    table = bench_metrics.run(bench_metrics.Config(mig_samples=500, repetitions=3)).set_index("way")
    with capsys.disabled():
        print("\n" + table.to_string())
    assert table["times as fast"]["exact"] > 4 and table["times as fast"]["binned"] > 4
    assert table["error in nats"]["exact"] < 1e-5 and table["error in nats"]["binned"] < 1e-4


def test_it_is_an_experiment_like_the_others():
    tiny = bench_metrics.Config((2, 3), 2, 1, samples=20, broadcast_samples=15, mig_samples=20, repetitions=1)
    table = bench_metrics.run(tiny)
    assert list(table["way"]) == ["broadcast", "exact", "binned"] and bool((table["ns"] > 0).all())


def test_the_reference_is_the_density():
    means, scales, factors = bench_metrics.smooth_codes((3, 4), 2, 1)
    assert means.shape == scales.shape == (12, 3) and factors.shape == (12, 2)
    z = torch.linspace(-2, 2, 25)[:, None].expand(-1, 3)
    found = bench_metrics.broadcast_log_density(z, means, scales)
    expected = logsumexp(norm(means.numpy(), scales.numpy()).logpdf(z.numpy()[:, None]), axis=1, b=1 / 12)
    assert found.numpy() == pytest.approx(expected, rel=1e-4)
