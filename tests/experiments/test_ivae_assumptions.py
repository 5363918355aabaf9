"""One assumption changed at a time: what each case makes of the data, and what the model is told."""

from __future__ import annotations

import pytest
import torch

from latentbook.experiments.ivae_assumptions import CASES, Config, observe

SEEDS = [0, 1]


def test_labels_are_exchanged_as_often_as_the_case_says():
    told = {name: observe(CASES[name], SEEDS, 400).u for name in ("plain", "half shuffled", "shuffled")}
    moved = {name: (u != told["plain"]).double().mean().item() for name, u in told.items()}
    assert moved["plain"] == 0 and 0.35 < moved["half shuffled"] < 0.55 and moved["shuffled"] > 0.85
    for u in told.values():
        assert torch.equal(u.sort(1).values, told["plain"].sort(1).values)


def test_only_what_the_case_names_changes_with_the_segment():
    located = observe(CASES["location"], SEEDS, 400).process
    assert torch.equal(located.scale, torch.ones_like(located.scale)) and located.location.std(1).min() > 0
    scaled = observe(CASES["plain"], SEEDS, 400).process
    assert torch.equal(scaled.location, torch.zeros_like(scaled.location)) and scaled.scale.std(1).min() > 0


def test_observations_are_whitened_binary_or_many():
    x = observe(CASES["plain"], SEEDS, 400).x
    covariance = (x.mT @ x) / x.shape[1]
    assert torch.allclose(covariance, torch.eye(3).expand_as(covariance), atol=1e-3)
    assert set(observe(CASES["binary"], SEEDS, 400).x.unique().tolist()) == {0.0, 1.0}
    assert observe(CASES["9 features"], SEEDS, 400).x.shape == (2, 400, 9)


def test_time_is_one_number_that_grows():
    u = observe(CASES["time"], SEEDS, 400).u
    assert u.shape[-1] == 1 and u.min() == -1 and u.max() == 1 and bool((u.diff(dim=1) >= 0).all())


def test_unknown_cases_are_refused_by_name():
    with pytest.raises(ValueError, match=r"cases holds \['3 suns'\]; expected names among"):
        Config("tiny", cases=("plain", "3 suns"))
