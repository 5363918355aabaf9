"""Checkpoints: killed anywhere and resumed, a run ends bit for bit as if nothing had happened."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from latentbook.models import VAE, GaussianLikelihood
from latentbook.nn import Linear
from latentbook.objectives import ELBO, Loss
from latentbook.random import Generator
from latentbook.training import (
    CheckpointError,
    EarlyStop,
    ParameterGroup,
    Ramp,
    TrainConfig,
    checkpoint,
    fit,
    latent_kl,
    negative_elbo,
)

SEEDS = (1, 2, 3)
X = Generator(5).normal(60, 4)[0]


def model(gamma2=5.0, learned=True, hidden=(8,)) -> VAE:
    likelihood = GaussianLikelihood(gamma2, learned=learned, members=3)
    return VAE.mlp(4, 2, hidden=hidden, likelihood=likelihood, data=X, generator=Generator(SEEDS))


def config(path: pathlib.Path | None, **options) -> TrainConfig:
    settings = {
        "seeds": SEEDS,
        "steps": 40,
        "batch_size": 16,
        "warmup": 5,
        "log_every": 7,
        "schedules": {"beta": Ramp(0.1, until=0.2)},
        "early_stop": EarlyStop("negative_elbo", patience=2),
        "checkpoint": path,
        "checkpoint_every": 5,
        "device": "cpu",
    }
    return TrainConfig(**(settings | options))


class WithCritic(nn.Module):
    """An objective with parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.elbo, self.critic = ELBO(), Linear(2, 1, generator=Generator(SEEDS))

    def forward(self, model, batch, generator) -> Loss:
        loss, codes = self.elbo(model, batch, generator), model.encode(batch).mean
        own = (self.critic(codes.detach()) - 1).square().mean((1, 2))
        return Loss(loss.value + self.critic(codes).mean((1, 2)), loss.terms | {"own": own}, own)


def fresh(generator: Generator, n: int) -> torch.Tensor:
    return generator.normal(n, 4)


def train_plain(path, *, resume=False, **options):
    trained = model()
    history = fit(trained, ELBO(), X, config(path, **options), recorders=[negative_elbo(X, every=6)], resume=resume)
    return trained, history


def train_everything(path, *, resume=False):
    """A critic, groups, learning rates of their own, a learned and scheduled precision, fresh batches."""
    trained, objective = model(), WithCritic()
    settings = config(
        path,
        learning_rate=(1e-2, 3e-3, 1e-3),
        groups=(ParameterGroup("likelihood", rate=3.0), ParameterGroup("objective", betas=(0.5, 0.9))),
        schedules={"gamma2": Ramp((0.1, 0.2, 0.5), until=0.5, shape="geometric"), "learning_rate": Ramp(0.5)},
        early_stop=None,
    )
    history = fit(trained, objective, fresh, settings, recorders=[latent_kl(X, every=9)], resume=resume)
    return nn.ModuleList([trained, objective]), history


def train_diverging(path, *, resume=False):
    trained = model()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        history = fit(
            trained, ELBO(), X, config(path, learning_rate=(1e12, 1e-3, 1e-3), early_stop=None), resume=resume
        )
    return trained, history


VARIANTS = {"plain": train_plain, "everything": train_everything, "diverging": train_diverging}


def identical(one, other) -> bool:
    """Models and histories equal bit for bit (the clock aside); NaN equals NaN."""
    states = [one[0].state_dict(), other[0].state_dict()]
    tensors = [one[1].tensors(), other[1].tensors()]
    same = list(states[0]) == list(states[1]) and list(tensors[0]) == list(tensors[1])
    for left, right in (states, tensors):
        same &= all(torch.equal(left[n].nan_to_num(1e30), right[n].nan_to_num(1e30)) for n in left)
    return same and one[1].stopped == other[1].stopped and one[1].diverged == other[1].diverged


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_finished_run_is_returned_as_it_was(tmp_path, variant):
    train = VARIANTS[variant]
    reference, saved = train(None), train(tmp_path / "run.safetensors")
    assert identical(reference, saved)
    assert identical(train(tmp_path / "run.safetensors", resume=True), saved)
    assert [path.name for path in tmp_path.iterdir()] == ["run.safetensors"]


KILLER = textwrap.dedent(
    """
    import os, pathlib, signal, sys, warnings
    import torch
    torch.set_num_threads(1)
    sys.path.insert(0, sys.argv[1])
    import test_checkpoint as script
    from latentbook.objectives import ELBO
    from latentbook.training import checkpoint

    def run(folder, point):
        variant, kind, number = point
        path, count = pathlib.Path(folder) / "run.safetensors", [0]
        def strike(*_):
            os.kill(os.getpid(), signal.SIGKILL)
        def after(call, wanted):
            def wrapped(*arguments, **options):
                count[0] += 1
                if count[0] == wanted:
                    strike()
                return call(*arguments, **options)
            return wrapped
        if kind == "step":
            ELBO.forward = after(ELBO.forward, number)
        elif kind == "before-write":
            checkpoint.save_file = after(checkpoint.save_file, number)
        elif kind == "half-written":
            def torn(tensors, file, metadata):
                count[0] += 1
                if count[0] == number:
                    pathlib.Path(file).write_bytes(b"half a checkpoint")
                    strike()
                return original(tensors, file, metadata)
            original, checkpoint.save_file = checkpoint.save_file, torn
        elif kind == "before-rename":
            checkpoint.os.replace = after(os.replace, number)
        script.VARIANTS[variant](path, resume=True)

    for number, point in enumerate(eval(sys.argv[3])):
        child = os.fork()
        if child == 0:
            run(pathlib.Path(sys.argv[2]) / str(number), point)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else "survived", flush=True)
    """
)
POINTS = [
    *[("plain", "step", n) for n in (1, 2, 6, 7, 13, 20, 21, 30, 39)],
    *[("plain", "before-write", n) for n in (1, 4)],
    *[("plain", "half-written", n) for n in (1, 3)],
    *[("plain", "before-rename", n) for n in (1, 3, 5)],
    *[("everything", "step", n) for n in (3, 11, 18, 26, 38)],
    *[("everything", "half-written", 2), ("everything", "before-rename", 4)],
    *[("diverging", "step", n) for n in (4, 17, 33)],
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_anywhere_and_resumed_equals_the_uninterrupted_run(tmp_path):
    """SIGKILL at many steps and in the middle of writing; the resumed run is the uninterrupted one, bit for bit."""
    for number in range(len(POINTS)):
        (tmp_path / str(number)).mkdir()
    here = str(pathlib.Path(__file__).parent)
    command = [sys.executable, "-c", KILLER, here, str(tmp_path), repr(POINTS)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.stdout.split() == [str(int(signal.SIGKILL))] * len(POINTS), done.stderr
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        references = {variant: train(None) for variant, train in VARIANTS.items()}
        for number, point in enumerate(POINTS):
            folder = tmp_path / str(number)
            resumed = VARIANTS[point[0]](folder / "run.safetensors", resume=True)
            assert identical(resumed, references[point[0]]), f"killed at {point}"
            assert [path.name for path in folder.iterdir()] == ["run.safetensors"], f"killed at {point}"
    finally:
        torch.set_num_threads(threads)


def test_an_existing_checkpoint_is_not_overwritten(tmp_path):
    path = tmp_path / "run.safetensors"
    train_plain(path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="resume=True"):
        train_plain(path)
    assert path.read_bytes() == before


def test_a_checkpoint_holds_no_pickle(tmp_path):
    """A JSON header that describes plain tensors, and after it exactly their bytes."""
    train_everything(tmp_path / "run.safetensors")
    content = (tmp_path / "run.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert json.loads(header.pop("__metadata__")["header"])["state"]["step"] == 40
    assert all(set(entry) == {"dtype", "shape", "data_offsets"} for entry in header.values())
    assert max(entry["data_offsets"][1] for entry in header.values()) == len(content) - 8 - length


def damaged(path: pathlib.Path, how: str) -> None:
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "truncated header":
        path.write_bytes(content[:20])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "pickle":
        torch.save({"model": torch.zeros(3)}, path)
    elif how == "not ours":
        save_file({"weight": torch.zeros(3)}, path)
    else:
        tensors = load_file(path)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        if how == "missing tensor":
            tensors.pop("model.likelihood.gamma2.log_value")
        elif how == "missing log":
            tensors.pop("log")
        elif how == "missing moments":
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("optimiser.")}
        elif how == "one missing moment":
            tensors.pop("optimiser.0.exp_avg_sq")
        elif how == "empty header":
            metadata["header"] = "{}"
        save_file(tensors, path, metadata=metadata)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "truncated, damaged"),
        ("truncated header", "truncated, damaged"),
        ("empty", "truncated, damaged"),
        ("pickle", "truncated, damaged or not safetensors"),
        ("not ours", "expected 'latentbook-checkpoint-1'"),
        ("missing tensor", "written for another model"),
        ("missing log", "lacks a part"),
        ("missing moments", "no Adam moments"),
        ("one missing moment", "Adam moments"),
        ("empty header", "has config"),
    ],
)
def test_a_damaged_checkpoint_is_refused_and_left_alone(tmp_path, how, message):
    path = tmp_path / "run.safetensors"
    train_plain(path)
    damaged(path, how)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=message):
        train_plain(path, resume=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 80}, "config steps = 40; expected 80"),
        ({"learning_rate": 0.5}, "config learning_rate"),
        ({"schedules": {}}, "config schedules"),
    ],
)
def test_a_checkpoint_of_another_config_is_refused(tmp_path, options, message):
    train_plain(tmp_path / "run.safetensors")
    with pytest.raises(CheckpointError, match=message):
        train_plain(tmp_path / "run.safetensors", resume=True, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": X + 1}, "has run data"),
        ({"data": X.flip(0)}, "has run data"),
        ({"model": {"hidden": (9,)}}, "has model"),
        ({"model": {"gamma2": 99.0, "learned": False}}, "has model"),
        ({"objective": ELBO(4.0)}, "has objective"),
        ({"objective": ELBO(samples=3)}, "has objective"),
        ({"recorders": [negative_elbo(X, every=7)]}, "has run recorders"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, changes, message):
    """Other data, another order of them, another model, precision, beta, number of samples, recorder."""
    path = tmp_path / "run.safetensors"
    settings = config(path, schedules={})
    fit(model(), ELBO(), X, settings, recorders=[negative_elbo(X, every=6)])
    changed = {"model": {}, "objective": ELBO(), "data": X, "recorders": [negative_elbo(X, every=6)]} | changes
    other = model(**changed["model"])
    with pytest.raises(CheckpointError, match=message):
        fit(other, changed["objective"], changed["data"], settings, recorders=changed["recorders"], resume=True)


def test_another_fixed_precision_is_refused(tmp_path):
    settings = config(tmp_path / "run.safetensors", schedules={}, early_stop=None)
    fit(model(10.0, learned=False), ELBO(), X, settings)
    with pytest.raises(CheckpointError, match="has model likelihood.gamma2"):
        fit(model(99.0, learned=False), ELBO(), X, settings, resume=True)


def test_a_path_that_cannot_be_written(tmp_path, monkeypatch):
    """A file in the directory's place, a directory in the file's, and a directory that refuses."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PermissionError, match="expected a path in a directory that can be written"):
        train_plain(tmp_path / "file" / "run.safetensors")
    with pytest.raises(IsADirectoryError, match="expected the path of a file"):
        train_plain(tmp_path)

    def refuse(*arguments, **options):
        raise PermissionError("read-only")

    monkeypatch.setattr(checkpoint.tempfile, "NamedTemporaryFile", refuse)  # root could write anywhere
    with pytest.raises(PermissionError, match="checkpoint is"):
        train_plain(tmp_path / "run.safetensors")


def test_buffers_with_any_strides_are_described():
    module = nn.Module()
    module.register_buffer("value", torch.tensor(2.1).expand(1))
    twin = nn.Module()
    twin.register_buffer("value", torch.tensor([2.1]))
    assert checkpoint.describe(module) == checkpoint.describe(twin)
