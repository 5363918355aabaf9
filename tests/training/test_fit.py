"""The training loop: members as solo runs, divergence, early stopping, schedules, groups, bad input."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn

from latentbook.data import Stacked
from latentbook.models import VAE, GaussianLikelihood
from latentbook.nn import Linear, select
from latentbook.objectives import ELBO, Loss
from latentbook.random import Generator
from latentbook.training import EarlyStop, ParameterGroup, Ramp, Recorder, TrainConfig, fit, negative_elbo
from latentbook.training.batches import batches

X = Generator(5).normal(60, 4)[0] @ Generator(6).normal(4, 4)[0]


def model(seeds, gamma2: float = 10.0, dtype=torch.float32, **options) -> VAE:
    options = {"hidden": (8,), "likelihood": GaussianLikelihood(gamma2), "data": X} | options
    return VAE.mlp(4, 2, **options, generator=Generator(seeds)).to(dtype)


def config(seeds, **options) -> TrainConfig:
    return TrainConfig(**({"seeds": seeds, "steps": 50, "batch_size": 16, "log_every": 10} | options))


def parameters(module: nn.Module) -> torch.Tensor:
    """All parameters, (members, numbers)."""
    return torch.cat([p.detach().flatten(1) for p in module.parameters()], dim=1)


def sampler(generator: Generator, n: int) -> torch.Tensor:
    return generator.normal(n, 4, dtype=torch.float64)


@pytest.mark.parametrize("data", [X.double(), sampler], ids=["tensor", "sampler"])
def test_a_member_follows_its_solo_run(data):
    """In float64, over 50 steps, whatever the size of the stack and the place in it."""
    seeds, settings = (3, 14, 15, 92), {"warmup": 5, "schedules": {"beta": Ramp(0.1, until=0.5)}}
    stack = model(seeds, dtype=torch.float64)
    history = fit(stack, ELBO(), data, config(seeds, **settings))
    for member, seed in enumerate(seeds):
        alone = model([seed], dtype=torch.float64)
        solo = fit(alone, ELBO(), data, config([seed], **settings))
        assert torch.allclose(parameters(alone)[0], parameters(stack)[member], rtol=1e-9, atol=1e-11)
        assert torch.allclose(solo.loss[:, 0], history.loss[:, member], rtol=1e-9)


def test_per_member_settings_follow_their_solo_runs():
    """Learning rate, beta and gamma^2 may differ from member to member."""
    seeds, rates, betas, gammas = (1, 2), (1e-2, 1e-3), (0.5, 4.0), (1.0, 100.0)
    stack = model(seeds, torch.tensor(gammas), torch.float64)
    fit(stack, ELBO(betas), X.double(), config(seeds, learning_rate=rates))
    for k in range(2):
        alone = model([seeds[k]], torch.tensor([gammas[k]]), torch.float64)
        fit(alone, ELBO(betas[k]), X.double(), config([seeds[k]], learning_rate=rates[k]))
        assert torch.allclose(parameters(alone)[0], parameters(stack)[k], rtol=1e-8, atol=1e-10)


def test_training_improves_and_is_repeatable():
    first, second = model([0, 1]), model([0, 1])
    history = fit(first, ELBO(), X, config([0, 1], steps=300, learning_rate=1e-2))
    again = fit(second, ELBO(), X, config([0, 1], steps=300, learning_rate=1e-2))
    assert bool((history.loss[-1] < history.loss[0] - 5).all())
    assert torch.equal(parameters(first), parameters(second))
    assert torch.equal(history.loss, again.loss)
    assert torch.allclose(history.loss, -history.terms["elbo"], rtol=1e-5)
    assert history.steps.tolist() == list(range(10, 301, 10))
    table = history.frame()
    assert list(table.columns) == ["step", "member", "seed", "loss", "reconstruction", "kl", "elbo"]
    assert len(table) == 60


def test_adam_is_torchs_adam():
    """One member, fixed batches: the same parameters as torch.optim.Adam on the plain loss."""
    ours, theirs = model([7], dtype=torch.float64), model([7], dtype=torch.float64)
    settings = config([7], steps=20, batch_size=60, decay="none", learning_rate=1e-2)
    fit(ours, ELBO(), X.double(), settings)
    optimiser, noise = torch.optim.Adam(theirs.parameters(), lr=1e-2), Generator(7, stream="noise")
    order = Generator(7, stream="batches")
    for step in range(20):
        batch = X.double()[order.at(step).permutation(60)]
        optimiser.zero_grad()
        ELBO()(theirs, batch, noise.at(step)).value.sum().backward()
        optimiser.step()
    assert torch.allclose(parameters(ours), parameters(theirs), rtol=1e-9, atol=1e-12)


class Poisoned(nn.Module):
    """An ELBO whose loss for one member becomes ``value`` at a given step."""

    def __init__(self, member: int, step: int, value: float) -> None:
        super().__init__()
        self.elbo, self.member, self.step, self.value, self.count = ELBO(), member, step, value, 0

    def forward(self, model, batch, generator) -> Loss:
        loss = self.elbo(model, batch, generator)
        factor = torch.ones_like(loss.value)
        if self.count == self.step:
            factor[self.member] = self.value
        self.count += 1
        return Loss(loss.value * factor, loss.terms)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_member_is_masked_named_and_poisons_no_other(value):
    seeds = (1, 2, 3)
    healthy, poisoned = model(seeds), model(seeds)
    reference = fit(healthy, ELBO(), X, config(seeds))
    with pytest.warns(RuntimeWarning, match=r"member 1 \(seed 2\) diverged.*step 23"):
        history = fit(poisoned, Poisoned(1, 23, value), X, config(seeds))
    assert history.diverged == {1: 23}
    assert history.alive.tolist() == [True, False, True]
    assert torch.equal(history.loss[:, [0, 2]], reference.loss[:, [0, 2]])
    assert torch.equal(parameters(poisoned)[[0, 2]], parameters(healthy)[[0, 2]])
    assert bool(parameters(poisoned)[1].isnan().all())
    assert bool(history.loss[-1, 1].isnan())
    assert bool(torch.isfinite(select(poisoned, history.alive).reconstruct(X)).all())


def test_real_divergence_by_a_far_too_large_learning_rate():
    with pytest.warns(RuntimeWarning, match="member 0"):
        history = fit(model([1, 2]), ELBO(), X, config([1, 2], learning_rate=(1e12, 1e-3), steps=60))
    assert set(history.diverged) == {0}
    assert bool(torch.isfinite(history.loss[:, 1]).all())


def test_the_run_ends_when_every_member_has_diverged():
    with pytest.warns(RuntimeWarning):
        history = fit(model([1]), Poisoned(0, 3, float("nan")), X, config([1], steps=1000))
    assert history.steps.tolist() == [10]


def test_early_stopping_keeps_the_best_parameters_of_each_member():
    """A scripted measurement: member 0 is best at step 20, member 1 never stops improving."""
    scripted = {0: [5.0, 4.0, 3.0, 3.5, 3.6, 3.7], 1: [9.0, 8.0, 7.0, 6.0, 5.0, 4.0]}
    seen, snapshots = iter(range(100)), []

    def measure(trained, generator):
        snapshots.append(parameters(trained).clone())
        time = next(seen)
        return torch.tensor([scripted[0][time], scripted[1][time]])

    trained = model([1, 2])
    stop = EarlyStop("scripted", patience=2)
    history = fit(
        trained, ELBO(), X, config([1, 2], early_stop=stop), recorders=[Recorder("scripted", measure, every=10)]
    )
    assert history.stopped == {0: 40}
    assert torch.equal(parameters(trained)[0], snapshots[2][0])
    assert torch.equal(parameters(trained)[1], snapshots[5][1])


def test_early_stopping_ends_the_run():
    recorder = Recorder("flat", lambda trained, generator: torch.zeros(2), every=10)
    history = fit(
        model([1, 2]), ELBO(), X, config([1, 2], steps=500, early_stop=EarlyStop("flat", 3)), recorders=[recorder]
    )
    assert history.stopped == {0: 30, 1: 30}
    assert history.steps[-1] == 30


def test_recorders_measure_without_changing_the_run():
    plain, recorded = model([1, 2]), model([1, 2])
    fit(plain, ELBO(), X, config([1, 2]))
    history = fit(recorded, ELBO(), X, config([1, 2]), recorders=[negative_elbo(X, every=20)])
    assert torch.equal(parameters(plain), parameters(recorded))
    assert history.record_steps["negative_elbo"].tolist() == [0, 20, 40, 50]
    assert history.records["negative_elbo"].shape == (4, 2)
    assert bool((history.records["negative_elbo"][-1] < history.records["negative_elbo"][0]).all())


def test_schedules_move_the_knobs():
    """beta annealed from 0: the first loss is the reconstruction alone; gamma^2 ends at its full value."""
    seen = []

    def watch(trained, generator):
        seen.append(trained.likelihood.gamma2().clone())
        return torch.zeros(2)

    trained = model([1, 2], 100.0)
    ramps = {"beta": Ramp(0.0, until=0.5), "gamma2": Ramp((0.01, 0.1), until=0.5, shape="geometric")}
    history = fit(
        trained,
        ELBO(),
        X,
        config([1, 2], schedules=ramps, log_every=1),
        recorders=[Recorder("watch", watch, every=25)],
    )
    assert torch.allclose(history.loss[0], -history.terms["reconstruction"][0])
    assert torch.allclose(history.loss[-1], -history.terms["elbo"][-1], rtol=1e-5)
    assert torch.allclose(seen[-1], torch.tensor([100.0, 100.0]))
    assert bool((seen[1] < 100).all())


def test_parameter_groups():
    """A group with rate 0 stands still; the rest moves."""
    trained, before = model([1]), model([1])
    fit(trained, ELBO(), X, config([1], groups=(ParameterGroup("decoder", rate=0.0),)))
    assert torch.equal(parameters(trained.decoder), parameters(before.decoder))
    assert not torch.equal(parameters(trained.encoder), parameters(before.encoder))


class WithCritic(nn.Module):
    """An objective with parameters of its own, trained on ``Loss.own``: a linear critic of the codes."""

    def __init__(self, seeds) -> None:
        super().__init__()
        self.elbo, self.critic = ELBO(), Linear(2, 1, generator=Generator(seeds))

    def forward(self, model, batch, generator) -> Loss:
        loss, codes = self.elbo(model, batch, generator), model.encode(batch).mean
        own = (self.critic(codes.detach()) - 1).square().mean((1, 2))
        return Loss(loss.value + 0 * self.critic(codes).mean((1, 2)), loss.terms | {"own": own.detach()}, own)


def test_an_objective_with_parameters_of_its_own_is_trained_too():
    plain, trained, objective = model([1, 2]), model([1, 2]), WithCritic([1, 2])
    start = copy.deepcopy(objective.critic)
    fit(plain, ELBO(), X, config([1, 2], steps=300, learning_rate=1e-2))
    history = fit(trained, objective, X, config([1, 2], steps=300, learning_rate=1e-2))
    assert not torch.equal(parameters(start), parameters(objective.critic))
    assert bool((history.terms["own"][-1] < 0.1 * history.terms["own"][0]).all())
    assert torch.allclose(parameters(plain), parameters(trained), atol=1e-5), "the critic must not move the model"


def test_no_member_is_favoured_by_epochs():
    """Within an epoch every data point is used once."""
    used = []

    class Spy:
        def __len__(self):
            return 60

        def batch(self, index):
            used.append(index.clone())
            return X[index]

    fit(model([1, 2]), ELBO(), Spy(), config([1, 2], steps=4, batch_size=15))
    epochs = torch.cat(used[1:5], dim=1)  # the first call is the check before training
    assert bool((epochs.sort(1).values == torch.arange(60)).all())
    assert not torch.equal(epochs[0], epochs[1])


class Rows:
    """Rows of X and their numbers; ``seen`` holds the indices that were asked for."""

    def __init__(self) -> None:
        self.seen = []

    def __len__(self):
        return 60

    def batch(self, index):
        self.seen.append(index.clone())
        return X[index], index


@pytest.mark.parametrize("seeds", [(7, 7, 7), (7, 8, 7), (7, 8, 9)])
def test_members_with_one_seed_share_a_batch(seeds):
    """Looked up once for each seed, and the same numbers as for the member alone; one seed for all makes no copy."""
    rows, device = Rows(), torch.device("cpu")
    source = batches(rows, config(seeds), model(seeds), device)
    alone = [batches(X, config([seed]), model([seed]), device) for seed in seeds]
    for step in (0, 1, 5):
        x, number = source.look_up(source.draw(step))
        assert x.shape == (3, 16, 4) and number.shape == (3, 16)
        assert torch.equal(x, X[number])
        for k in range(3):
            assert torch.equal(x[k], alone[k].look_up(alone[k].draw(step))[0])
    assert {index.shape[0] for index in rows.seen} == {len(set(seeds))}
    assert (x.stride(0) == 0) == (len(set(seeds)) == 1)


def test_shared_batches_change_no_result():
    """Against data of each member's own, which are the same here and are looked up for each."""
    seeds, each = (7, 7, 7), Stacked(X.expand(3, 60, 4))
    one, other = model(seeds), model(seeds)
    for trained, data in ((one, X), (other, each)):
        fit(trained, ELBO([0.5, 1.0, 4.0]), data, config(seeds))
    assert torch.equal(parameters(one), parameters(other))


def test_no_warning_and_no_output_in_a_normal_run(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(model([1]), ELBO(), X, config([1]))
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == ""


def refused(data=X, seeds=(1,), objective=None, recorders=(), resume=False, **options):
    """Whatever ``fit`` makes of these."""
    return lambda: fit(
        model([1]), objective or ELBO(), data, config(seeds, **options), recorders=recorders, resume=resume
    )


class NoOwn(WithCritic):
    """An objective that has parameters and forgets their loss."""

    def __init__(self) -> None:
        super().__init__([1])

    def forward(self, model, batch, generator) -> Loss:
        return Loss(super().forward(model, batch, generator).value)


class Shared(nn.Module):
    """A parameter without the members axis beside one with it."""

    def __init__(self) -> None:
        super().__init__()
        self.stacked, self.members = nn.Parameter(torch.zeros(2, 4)), 2
        self.common = nn.Parameter(torch.zeros(4))


def test_a_member_that_diverges_between_rows_is_not_called_stopped():
    """Early stopping looks more often than rows are completed; divergence is still seen first."""
    recorder = negative_elbo(X, every=5)
    settings = config([1, 2], log_every=50, early_stop=EarlyStop("negative_elbo", 2), steps=40)
    with pytest.warns(RuntimeWarning, match="member 1"):
        history = fit(model([1, 2]), Poisoned(1, 3, float("nan")), X, settings, recorders=[recorder])
    assert history.diverged == {1: 3}
    assert 1 not in history.stopped


def test_a_watched_value_that_is_not_finite_is_divergence():
    broken = Recorder("broken", lambda trained, generator: torch.tensor([float("nan"), 1.0]), every=5)
    with pytest.warns(RuntimeWarning, match="its broken was not finite"):
        history = fit(model([1, 2]), ELBO(), X, config([1, 2], early_stop=EarlyStop("broken", 50)), recorders=[broken])
    assert set(history.diverged) == {0}


def test_an_early_end_completes_the_row():
    flat = Recorder("flat", lambda trained, generator: torch.zeros(2), every=10)
    settings = config([1, 2], steps=500, log_every=50, early_stop=EarlyStop("flat", 3))
    history = fit(model([1, 2]), ELBO(), X, settings, recorders=[flat])
    assert history.steps.tolist() == [30]
    assert history.loss.shape == (1, 2)


def test_early_stopping_waits_for_schedules():
    """What is kept is what was measured: nothing counts before the ramp has ended."""
    recorder = negative_elbo(X, every=5)
    ramps = {"gamma2": Ramp(0.01, until=0.5, shape="geometric")}
    settings = config([1, 2], schedules=ramps, early_stop=EarlyStop("negative_elbo", 3), steps=60)
    trained = model([1, 2])
    history = fit(trained, ELBO(), X, settings, recorders=[recorder])
    best = history.records["negative_elbo"][history.record_steps["negative_elbo"] > 30].min(0).values
    again = recorder(trained, Generator([1, 2], stream="evaluation"))
    assert torch.allclose(best, again, rtol=1e-5)
    assert torch.allclose(trained.likelihood.gamma2(), torch.tensor(10.0))


def test_divergence_in_the_last_update_is_noticed():
    with pytest.warns(RuntimeWarning, match="its last update"):
        history = fit(model([1, 2]), ELBO(), X, config([1, 2], steps=1, learning_rate=1e39, decay="none"))
    assert set(history.diverged) == {0, 1}


def test_no_gradients_are_left_behind():
    trained, objective = model([1, 2]), WithCritic([1, 2])
    fit(trained, objective, X, config([1, 2]))
    assert all(parameter.grad is None for parameter in [*trained.parameters(), *objective.parameters()])


def test_undetached_terms_hold_no_graph():
    """A term that still carries its graph is recorded as a number."""
    trained = model([1, 2])

    def objective(model, batch, generator):
        value = ELBO()(model, batch, generator).value
        return Loss(value, {"twice": 2 * value})

    history = fit(trained, objective, X, config([1, 2]))
    assert torch.allclose(history.terms["twice"], 2 * history.loss)
    assert not history.terms["twice"].requires_grad


def test_a_wrong_loss_changes_nothing():
    trained, before = model([1, 2]), model([1, 2])
    with pytest.raises(ValueError, match="objective returned shape"):
        fit(trained, lambda m, b, g: ELBO()(m, b, g).value.sum(), X, config([1, 2]))
    assert torch.equal(parameters(trained), parameters(before))


def test_the_first_measurement_sees_the_schedule():
    seen = []

    def watch(trained, generator):
        seen.append(trained.likelihood.gamma2().mean().item())
        return torch.zeros(1)

    ramps = {"gamma2": Ramp(0.01, shape="geometric"), "learning_rate": Ramp(1.0, 0.5)}
    fit(model([1]), ELBO(), X, config([1], schedules=ramps), recorders=[Recorder("watch", watch, every=50)])
    assert seen == pytest.approx([0.1, 10.0], rel=1e-4)


def with_nan() -> torch.Tensor:
    x = X.clone()
    x[3, 2] = float("nan")
    return x


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, r"x has shape \(2, 16, 3\)", lambda: fit(model([1, 2]), ELBO(), X[:, :3], config([1, 2]))),
        (ValueError, r"data has shape \(60,\)", refused(X[:, 0])),
        (TypeError, "dtype torch.float64", refused(X.double())),
        (TypeError, "dtype torch.int64", refused(X.long())),
        (TypeError, "data is a str", refused("digits")),
        (ValueError, "1 value.*NaN or infinite", refused(with_nan())),
        (ValueError, "NaN or infinite", refused(X / 0)),
        (ValueError, "data is empty", refused(X[:0])),
        (ValueError, "lengths", refused((X, X[:5]))),
        (ValueError, "batch_size is 61; expected at most 60", refused(batch_size=61)),
        (ValueError, "batch of shape", refused(lambda g, n: X[:n])),
        (ValueError, "seeds has 3 entries; expected 2", lambda: fit(model([1, 2]), ELBO(), X, config([1, 2, 3]))),
        (ValueError, "device is 'abacus'", refused(device="abacus")),
        (ValueError, "device is 'cuda:99'", refused(device="cuda:99")),
        (ValueError, "schedules names", refused(schedules={"gama": Ramp()})),
        (ValueError, "prefix 'encodr'", refused(groups=[ParameterGroup("encodr")])),
        (ValueError, "early_stop watches", refused(early_stop=EarlyStop("x"))),
        (ValueError, "objective returned shape", refused(objective=lambda m, b, g: m.decode(b[..., :2]).sum())),
        (ValueError, "recorder 'r' returned", refused(recorders=[Recorder("r", lambda m, g: torch.zeros(3))])),
        (ValueError, "expected different ones", refused(recorders=[negative_elbo(X), negative_elbo(X)])),
        (TypeError, "recorder 'r' returned None", refused(recorders=[Recorder("r", lambda m, g: None)])),
        (ValueError, "name is empty", lambda: Recorder("", lambda m, g: None)),
        (ValueError, "parameter common has shape", lambda: fit(Shared(), ELBO(), X, config([1, 2]))),
        (ValueError, "nothing to train", lambda: fit(nn.Identity(), ELBO(), X, config([1]))),
        (
            ValueError,
            "gave Loss.own",
            refused(objective=lambda m, b, g: Loss(m.decode(m.encode(b).mean).sum((1, 2)), {}, torch.zeros(1))),
        ),
        (ValueError, "gave no Loss.own", refused(objective=NoOwn())),
        (ValueError, "empty tuple", refused(())),
        (ValueError, "NaN or infinite", refused((X, with_nan()))),
        (TypeError, "batch with a str", refused(lambda g, n: "x")),
        (ValueError, "3 multipliers; expected 1 or 1", refused(schedules={"beta": Ramp((1.0, 2.0, 3.0))})),
        (ValueError, "expected a Ramp", refused(schedules={"beta": 0.5})),
        (ValueError, "differs between members", refused(schedules={"learning_rate": Ramp((1.0,))})),
        (ValueError, "patience is 0", lambda: EarlyStop("x", patience=0)),
        (ValueError, "rate is -1", lambda: ParameterGroup("encoder", rate=-1)),
        (ValueError, "betas is", lambda: config([1], betas=(0.9, 1.0))),
        (ValueError, "device is None", lambda: config([1], device=None)),
        (ValueError, "end has 3 numbers; expected 2", lambda: Ramp((1.0, 2.0), (1.0, 2.0, 3.0))),
        (ValueError, "end is inf", lambda: Ramp(end=float("inf"))),
        (ValueError, "resume is True but", refused(resume=True)),
        (ValueError, "learning_rate is -1", lambda: config([1], learning_rate=-1.0)),
        (ValueError, "learning_rate has 3 values", lambda: config([1, 2], learning_rate=(1.0, 1.0, 1.0))),
        (ValueError, "steps is 0", lambda: config([1], steps=0)),
        (ValueError, "warmup is 60", lambda: config([1], warmup=60)),
        (ValueError, "decay is 'step'", lambda: config([1], decay="step")),
        (ValueError, "until is 0.1", lambda: Ramp(hold=0.5, until=0.1)),
        (ValueError, "shape is 'step'", lambda: Ramp(shape="step")),
        (ValueError, "start is 0", lambda: Ramp(0.0, shape="geometric")),
    ],
)
def test_bad_input(error, message, call):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.gpu
def test_cuda_follows_the_cpu():
    cpu, cuda = model([1, 2]), model([1, 2])
    first = fit(cpu, ELBO(), X, config([1, 2], device="cpu"))
    second = fit(cuda, ELBO(), X, config([1, 2], device="cuda"))
    assert next(cuda.parameters()).is_cuda
    assert torch.allclose(first.loss, second.loss, rtol=1e-3)
