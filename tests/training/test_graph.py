"""The compiled step: the same run as operation by operation, resumed bit for bit, refused where it would be another."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from latentbook.models import VAE, BernoulliLikelihood, GaussianLikelihood
from latentbook.nn import Linear
from latentbook.objectives import ELBO, TCVAE, FactorVAE, Loss
from latentbook.random import Generator
from latentbook.training import ParameterGroup, Ramp, Recorder, TrainConfig, fit, graph
from latentbook.training.graph import Recorded, worth_compiling

SEEDS = (1, 2, 1)
X = Generator(5).normal(64, 4)[0]


@pytest.fixture
def traced(monkeypatch):
    """The traced step as it is, without the half minute of the compiler."""
    monkeypatch.setattr("torch._inductor.compile", lambda step, arguments: step)


class WithCritic(nn.Module):
    """An objective with parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.elbo, self.critic = ELBO((0.5, 1.0, 2.0)), Linear(2, 1, generator=Generator(SEEDS))

    def forward(self, model, batch, generator) -> Loss:
        loss, codes = self.elbo(model, batch, generator), model.encode(batch).mean
        own = (self.critic(codes.detach()) - 1).square().mean((1, 2))
        return Loss(loss.value + self.critic(codes).mean((1, 2)), loss.terms | {"own": own}, own)


def fresh(generator: Generator, n: int) -> torch.Tensor:
    return generator.normal(n, 4, dtype=torch.float64)


VARIANTS = {
    "plain": (ELBO, X.double(), {"schedules": {"beta": Ramp(0.1, until=0.5)}}),
    "everything": (
        WithCritic,
        fresh,
        {
            "learning_rate": (1e-2, 3e-3, 1e-3),
            "groups": (
                ParameterGroup("likelihood", rate=3.0),
                ParameterGroup("encoder", weight_decay=0.1),
                ParameterGroup("objective", betas=(0.5, 0.9)),
            ),
            "schedules": {"gamma2": Ramp((0.1, 0.2, 0.5), until=0.5, shape="geometric"), "learning_rate": Ramp(0.5)},
        },
    ),
    "tc": (lambda: TCVAE(4.0, estimator="mss", size=64), X.double(), {}),
    "factor": (lambda: FactorVAE(2, 3.0, hidden=(8,), generator=Generator(SEEDS)), X.double(), {}),
}


def train(variant: str, compile: bool | str = True, dtype=torch.float64, **options):
    """A trained model (with the objective), and the history."""
    make, data, settings = VARIANTS[variant]
    seeds = options.pop("seeds", SEEDS)
    likelihood = GaussianLikelihood(5.0, learned=True, members=3)
    model = VAE.mlp(4, 2, hidden=(8,), likelihood=likelihood, data=X, generator=Generator(seeds)).to(dtype)
    objective = make().to(dtype)
    data = data.to(dtype) if isinstance(data, torch.Tensor) else lambda g, n: fresh(g, n).to(dtype)
    usual = {"seeds": seeds, "steps": 30, "batch_size": 16, "log_every": 7, "device": "cpu", "warmup": 3}
    recorders, resume = options.pop("recorders", ()), options.pop("resume", False)
    config = TrainConfig(**(usual | settings | options), compile=compile)
    return nn.ModuleList([model, objective]), fit(model, objective, data, config, recorders=recorders, resume=resume)


def parameters(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(len(p), -1) for p in module.parameters()], dim=1)


def assert_close(one, other, rtol: float, atol: float) -> None:
    assert torch.allclose(parameters(one[0]), parameters(other[0]), rtol=rtol, atol=atol)
    assert torch.allclose(one[1].loss, other[1].loss, rtol=rtol)
    assert list(one[1].terms) == list(other[1].terms)
    for name, term in one[1].terms.items():
        assert torch.allclose(term, other[1].terms[name], rtol=rtol, atol=atol), name


def assert_identical(one, other) -> None:
    assert torch.equal(parameters(one[0]), parameters(other[0]))
    assert torch.equal(one[1].loss, other[1].loss)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_traced_step_is_the_step(traced, variant):
    """In float64: objectives, rates, groups, schedules, Adam written out, fresh batches and held ones."""
    assert_close(train(variant), train(variant, compile=False), 1e-9, 1e-11)


class Killed(Exception):
    """In the place of a kill."""


def interrupted(path, variant: str, step: int, **options):
    """A run that ended after ``step`` steps and was resumed; checkpoints every 5."""

    def measure(model, generator):
        if path.exists() and not resuming and next(looked) == step:
            raise Killed
        return torch.zeros(3)

    looked, resuming = iter(range(5, 100)), False
    settings = {"checkpoint": path, "checkpoint_every": 5, "recorders": [Recorder("look", measure, 1)]} | options
    with pytest.raises(Killed):
        train(variant, **settings)
    resuming = True
    return train(variant, **settings, resume=True)


def test_resumed_equals_uninterrupted(traced, tmp_path):
    """Bit for bit, with all that there is to resume."""
    assert_identical(interrupted(tmp_path / "run.safetensors", "everything", 13), train("everything"))


def test_a_diverging_member_poisons_no_other(traced):
    def run(rates):
        with pytest.warns(RuntimeWarning, match="member 1"):
            return train("plain", learning_rate=rates)

    (model, history), healthy = run((1e-3, 1e300, 1e-3)), train("plain")
    assert set(history.diverged) == {1}
    assert torch.allclose(history.loss[:, [0, 2]], healthy[1].loss[:, [0, 2]], rtol=1e-9)
    assert bool(parameters(model)[1].isnan().all())


class Counts(nn.Module):
    """An objective that depends on a number outside its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.elbo, self.calls = ELBO(), 0

    def forward(self, model, batch, generator) -> Loss:
        self.calls += 1
        return Loss(self.elbo(model, batch, generator).value * self.calls)


class Branches(Counts):
    """An objective that asks for the value of a tensor."""

    def forward(self, model, batch, generator) -> Loss:
        loss = self.elbo(model, batch, generator)
        return Loss(loss.value if bool(loss.value.sum() > 0) else 2 * loss.value)


class Wrong(Counts):
    """An objective of the wrong shape."""

    def forward(self, model, batch, generator) -> Loss:
        return Loss(self.elbo(model, batch, generator).value.sum())


CASES = [(Counts, "Counts.calls changes from step to step"), (Branches, ""), (Wrong, "objective returned shape")]


@pytest.mark.parametrize(("kind", "message"), CASES)
def test_what_cannot_be_traced(traced, monkeypatch, kind, message):
    """Refused where asked for, else a warning and the same run as without; nothing is changed by the attempt."""
    monkeypatch.setitem(VARIANTS, "kind", (kind, X.double(), {}))
    with pytest.raises(RuntimeError, match=f"compile is True.*{message}"):
        train("kind")
    monkeypatch.setattr("latentbook.training.step.worth_compiling", lambda config, parameters: True)
    with pytest.warns(RuntimeWarning, match=f"not compiled.*{message}"):
        if kind is Wrong:
            with pytest.raises(ValueError, match="objective returned shape"):
                train("kind", "auto")
        else:
            assert_identical(train("kind", "auto"), train("kind", compile=False))


def test_a_step_of_too_many_operations_is_compiled_on_demand_only(traced, monkeypatch):
    monkeypatch.setattr("latentbook.training.step.worth_compiling", lambda config, parameters: True)
    monkeypatch.setattr(graph, "_MOST", 10)
    with pytest.warns(RuntimeWarning, match=r"not compiled.*operations, and compiling would take too long"):
        assert_identical(train("plain", "auto"), train("plain", compile=False))
    assert_close(train("plain"), train("plain", compile=False), 1e-9, 1e-11)


def test_compiled_by_default_where_it_repays_itself(monkeypatch):
    small, large = [torch.zeros(20, 30, 30)], [torch.zeros(1, 4096, 3000)]
    long, short = TrainConfig(seeds=range(20), steps=200_000), TrainConfig(seeds=range(20), steps=5_000)
    images = TrainConfig(steps=7_200, batch_size=2048)
    monkeypatch.setattr(graph.shutil, "which", lambda name: name == "g++")
    monkeypatch.delenv("CXX", raising=False)
    assert worth_compiling(long, small) and not worth_compiling(short, small)
    assert worth_compiling(images, large) and not worth_compiling(TrainConfig(steps=50, batch_size=2048), large)
    monkeypatch.setattr(graph.shutil, "which", lambda name: None)
    assert not worth_compiling(long, small)
    assert worth_compiling(TrainConfig(compile=True), small)
    assert not worth_compiling(TrainConfig(compile=False, steps=10**9), small)


def test_recording_after_some_calls():
    """Three calls as they are, then one recording, which executes nothing, and replays of it."""
    seen, result = [], torch.zeros(1)

    def run():
        seen.append("run")
        return result

    def record(function):
        function()
        seen[-1] = "recorded"
        return lambda: seen.append("replay"), result

    recorded = Recorded(run, record, lambda function: function())
    for _ in range(6):
        assert recorded() is result
    assert seen == ["run"] * 3 + ["recorded"] + ["replay"] * 3


def test_a_failed_recording_is_told_and_the_run_goes_on():
    calls = []

    def refuse(function):
        raise RuntimeError("operation not permitted when stream is capturing")

    recorded = Recorded(lambda: calls.append(1), refuse, lambda function: function())
    for _ in range(3):
        recorded()
    with pytest.warns(RuntimeWarning, match="not recorded as a CUDA graph.*not permitted"):
        recorded()
    recorded()
    assert len(calls) == 5


@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_is_local(allowed):
    settings, seen = (torch.backends.cuda.matmul, torch.backends.cudnn.conv), []
    before = [setting.fp32_precision for setting in settings]

    def objective(model, batch, generator):
        seen.extend(setting.fp32_precision for setting in settings)
        raise KeyError("stop")

    model = VAE.mlp(4, 2, hidden=(8,), generator=Generator(SEEDS))
    with pytest.raises(KeyError):
        fit(model, objective, X, TrainConfig(seeds=SEEDS, batch_size=16, device="cpu", tf32=allowed))
    assert seen == ["tf32" if allowed else "ieee"] * 2
    assert [setting.fp32_precision for setting in settings] == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compile": "yes"}, "compile is 'yes'"),
        ({"precision": "half"}, "precision is 'half'"),
        ({"tf32": 1}, "tf32 is 1"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)


@pytest.mark.slow
@pytest.mark.skipif(not graph.compiler_exists(torch.device("cpu")), reason="no C++ compiler here")
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_compiled_step_is_the_step(variant):
    assert_close(train(variant), train(variant, compile=False), 1e-8, 1e-10)


@pytest.mark.slow
@pytest.mark.skipif(not graph.compiler_exists(torch.device("cpu")), reason="no C++ compiler here")
def test_the_compilers_cache_does_not_mix_up_seeds():
    """The same graph for other seeds: its numbers are its own."""
    train("plain")
    assert_close(train("plain", seeds=(7, 8, 9)), train("plain", compile=False, seeds=(7, 8, 9)), 1e-8, 1e-10)


KILLER = textwrap.dedent(
    """
    import os, pathlib, signal, sys
    import torch
    torch.set_num_threads(1)
    sys.path.insert(0, sys.argv[1])
    import test_graph as script
    from latentbook.training import Recorder
    def strike(model, generator):
        if next(count) == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.zeros(3)
    count = iter(range(10**6))
    look = [Recorder("look", strike, 1)]
    options = {"dtype": torch.float32, "checkpoint": pathlib.Path(sys.argv[2]), "checkpoint_every": 5}
    script.train("everything", recorders=look, **options)
    """
)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs SIGKILL")
@pytest.mark.skipif(not graph.compiler_exists(torch.device("cpu")), reason="no C++ compiler here")
def test_a_killed_and_resumed_compiled_run_is_the_uninterrupted_one(tmp_path):
    """SIGKILL in a process of its own, resumed in this one: bit for bit."""
    path = tmp_path / "run.safetensors"
    command = [sys.executable, "-c", KILLER, str(pathlib.Path(__file__).parent), str(path), "17"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == -signal.SIGKILL and path.exists(), done.stderr
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        look = [Recorder("look", lambda model, generator: torch.zeros(3), 1)]
        common = {"dtype": torch.float32, "recorders": look}
        resumed = train("everything", checkpoint=path, checkpoint_every=5, resume=True, **common)
        assert_identical(resumed, train("everything", **common))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.gpu
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_recorded_on_cuda(variant, precision, recwarn):
    """Compiled, recorded and replayed it follows the run operation by operation; no warning says that it was not."""
    options = {"dtype": torch.float32, "precision": precision, "device": "cuda"}
    one, other = train(variant, **options), train(variant, compile=False, **options)
    assert not [w for w in recwarn if "not recorded" in str(w.message) or "not compiled" in str(w.message)]
    assert torch.allclose(one[1].loss, other[1].loss, rtol=1e-3 if precision == "float32" else 3e-2)


@pytest.mark.gpu
def test_packed_images_stay_on_the_device_and_are_unpacked_there():
    from latentbook.data.sprites import SIZES, packed
    from latentbook.training.batches import batches

    images = torch.randint(0, 256, (64, 512), dtype=torch.uint8)
    data = packed(images, torch.zeros(64, len(SIZES), dtype=torch.int64), "some")
    model = VAE.mlp(4096, 2, hidden=(8,), likelihood=BernoulliLikelihood(), generator=Generator(SEEDS)).cuda()
    source = batches(data, TrainConfig(seeds=SEEDS, batch_size=8), model, torch.device("cuda"))
    assert source.draw(0).is_cuda and source.data.x.dtype == torch.uint8 and source.data.x.is_cuda
    assert source.look_up(source.draw(0)).is_cuda
