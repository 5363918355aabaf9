"""A device that is too small: the error says how many members there were and how many fit."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses import FakeTensor

from latentbook.models import VAE, BernoulliLikelihood
from latentbook.objectives import ELBO
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit, memory
from latentbook.training.batches import batches
from latentbook.training.losses import Losses
from latentbook.training.optimiser import Optimiser
from latentbook.training.step import Step

X = (Generator(5).uniform(256, 100)[0] < 0.1).float()


def model(members: int) -> VAE:
    return VAE.mlp(100, 2, hidden=(50,), likelihood=BernoulliLikelihood(), generator=Generator(range(members)))


def too_small(model, batch, generator):
    """An objective for which the device has no room, where tensors are real."""
    if not isinstance(next(model.parameters()), FakeTensor):
        raise torch.OutOfMemoryError("out of memory")
    return ELBO()(model, batch, generator)


def each(members: int, batch_size: int = 32, objective=too_small) -> int:
    trained, cpu = model(members), torch.device("cpu")
    config = TrainConfig(seeds=tuple(range(members)), batch_size=batch_size, device="cpu")
    losses = Losses(trained, objective, Generator(config.seeds, stream="noise"), "float32")
    optimiser = Optimiser(trained, objective, config, cpu)
    return memory.bytes_per_member(Step(losses, batches(X, config, trained, cpu), optimiser, config))


def state(members: int) -> int:
    """Parameters, gradients and two moments of one member."""
    return 4 * sum(p.nbytes for p in model(members).parameters()) // members


def test_bytes_of_a_member_are_counted():
    """Nothing but a member's own; the part beside the state grows with the batch and holds the data and the logits."""
    assert each(2) == pytest.approx(each(8), rel=0.01)
    small, large = each(4, 32) - state(4), each(4, 128) - state(4)
    assert large == pytest.approx(4 * small, rel=0.05)
    assert small > 2 * X[:32].nbytes


def test_without_a_count_the_state_is_the_estimate():
    def broken(model, batch, generator):
        raise torch.OutOfMemoryError("out of memory")

    assert each(4, objective=broken) == state(4)


@pytest.mark.parametrize(("room", "words"), [(3.5, r"about 2 would fit"), (0.5, "about 0"), (99, "nothing else there")])
def test_the_error_names_members_and_how_many_fit(monkeypatch, room, words):
    monkeypatch.setattr(memory, "available", lambda device: int(room * each(6)))
    config = TrainConfig(seeds=tuple(range(6)), steps=3, batch_size=32, device="cpu")
    with pytest.raises(torch.OutOfMemoryError, match=rf"6 members do not fit on cpu.*{words}") as caught:
        fit(model(6), too_small, X, config)
    assert str(caught.value.__cause__) == "out of memory"


@pytest.mark.gpu
def test_a_real_device_says_so():
    config = TrainConfig(seeds=tuple(range(2)), steps=1, batch_size=256, device="cuda")

    def greedy(model, batch, generator):
        if not isinstance(batch, FakeTensor):
            torch.empty(2**50, dtype=torch.uint8, device="cuda")
        return ELBO()(model, batch, generator)

    with pytest.raises(torch.OutOfMemoryError, match="2 members do not fit on cuda.*nothing else there"):
        fit(model(2), greedy, X, config)
