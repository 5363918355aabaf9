"""The iVAE experiment: where each method sees u, what runs where, and the scores of the truth."""

from __future__ import annotations

import pytest

from latentbook.data import tcl
from latentbook.experiments import ivae
from latentbook.models import VAE, ConditionalEncoder, ConditionalNormalPrior, CouplingFlow, NormalPrior
from latentbook.random import Generator

TINY = ivae.Config("tiny")
DATA = tcl.segments(Generator([0, 1]), segments=4, per_segment=20, size=2, whiten=True)


@pytest.mark.parametrize(
    ("method", "encoder", "prior"),
    [("ivae", True, True), ("vae", False, False), ("vae-u", True, False), ("ivae-x", False, True)],
)
def test_methods_see_u_where_they_say(method, encoder, prior):
    model = ivae.build(method, TINY, DATA, Generator([0, 1]))
    assert isinstance(model, VAE)
    assert isinstance(model.encoder, ConditionalEncoder) is encoder
    assert isinstance(model.prior, ConditionalNormalPrior if prior else NormalPrior)
    assert isinstance(ivae.build("flow", TINY, DATA, Generator([0, 1])), CouplingFlow)


def test_one_thing_is_varied_at_a_time_and_controls_run_once():
    config = ivae.Config("tiny", layers=(1, 2), seeds=1, methods=("vae", "vae-u", "truth"))
    table = ivae.run(config)
    places = {
        method: set(zip(part["segments"], part["layers"], strict=True)) for method, part in table.groupby("method")
    }
    assert places["vae"] == places["truth"] == {(3, 2), (5, 2), (5, 1)}
    assert places["vae-u"] == {(5, 2)}


def test_the_truth_of_a_linear_mixing_has_no_contrast_and_an_elbo_that_is_nearly_the_likelihood():
    linear, bent = (
        ivae.true_scores(
            tcl.segments(Generator([0, 1]), size=3, layers=layers, whiten=True).process, 2000.0, Generator([2, 3])
        )
        for layers in (1, 3)
    )
    assert (linear["contrast"] < 0.05).all() and (bent["contrast"] > 0.2).all()
    assert ((linear["log_likelihood"] - linear["elbo"]).abs() < 0.1).all()
    assert (bent["log_likelihood"] - bent["elbo"] > 0.2).all()
    assert (linear["mcc_mean"] > 0.99).all() and (linear["mcc"] <= linear["mcc_mean"] + 0.01).all()
