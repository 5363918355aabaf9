"""Checkpoints: killed anywhere and resumed, a run ends bit for bit as if nothing had happened."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import stat
import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors.torch import load_file, save_file

from latentbook.models import VAE, GaussianLikelihood
from latentbook.objectives import ELBO
from latentbook.random import Generator
from latentbook.training import CheckpointError, EarlyStop, Ramp, TrainConfig, fit, negative_elbo

SEEDS = (1, 2, 3)
X = Generator(5).normal(60, 4)[0]


def model() -> VAE:
    likelihood = GaussianLikelihood(5.0, learned=True, members=3)
    return VAE.mlp(4, 2, hidden=(8,), likelihood=likelihood, data=X, generator=Generator(SEEDS))


def config(path: pathlib.Path | None, **options) -> TrainConfig:
    settings = {
        "seeds": SEEDS,
        "steps": 40,
        "batch_size": 16,
        "warmup": 5,
        "log_every": 7,
        "schedules": {"beta": Ramp(0.1, until=0.7)},
        "early_stop": EarlyStop("negative_elbo", patience=2),
        "checkpoint": path,
        "checkpoint_every": 5,
        "device": "cpu",
    }
    return TrainConfig(**(settings | options))


def train(path, *, resume=False, **options):
    trained = model()
    history = fit(trained, ELBO(), X, config(path, **options), recorders=[negative_elbo(X, every=6)], resume=resume)
    return trained, history


def identical(one, other) -> bool:
    """Models and histories equal bit for bit (the clock aside)."""
    states = [one[0].state_dict(), other[0].state_dict()]
    tensors = [one[1].tensors(), other[1].tensors()]
    same = all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    same &= tensors[0].keys() == tensors[1].keys()
    same &= all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    return same and one[1].stopped == other[1].stopped and one[1].diverged == other[1].diverged


def test_a_finished_run_is_returned_as_it_was(tmp_path):
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
        kind, number = point
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
        script.train(path, resume=True)

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
    *[("step", n) for n in (1, 2, 6, 7, 13, 20, 21, 30, 39)],
    *[("before-write", n) for n in (1, 4)],
    *[("half-written", n) for n in (1, 3)],
    *[("before-rename", n) for n in (1, 3, 5)],
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
        reference = train(None)
        for number, point in enumerate(POINTS):
            resumed = train(tmp_path / str(number) / "run.safetensors", resume=True)
            assert identical(resumed, reference), f"killed at {point}"
    finally:
        torch.set_num_threads(threads)


def test_an_existing_checkpoint_is_not_overwritten(tmp_path):
    path = tmp_path / "run.safetensors"
    train(path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="resume=True"):
        train(path)
    assert path.read_bytes() == before


def test_a_checkpoint_holds_no_pickle(tmp_path):
    train(tmp_path / "run.safetensors")
    content = (tmp_path / "run.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert json.loads(header["__metadata__"]["header"])["step"] <= 40


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
    elif how == "missing tensor":
        tensors = load_file(path)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        tensors.pop("model.likelihood.gamma2.log_value")
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
    ],
)
def test_a_damaged_checkpoint_is_refused_and_left_alone(tmp_path, how, message):
    path = tmp_path / "run.safetensors"
    train(path)
    damaged(path, how)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=message):
        train(path, resume=True)
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
    train(tmp_path / "run.safetensors")
    with pytest.raises(CheckpointError, match=message):
        train(tmp_path / "run.safetensors", resume=True, **options)


def test_a_checkpoint_of_other_data_or_another_model_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    train(path)
    recorders = [negative_elbo(X, every=6)]
    with pytest.raises(CheckpointError, match="run data"):
        fit(model(), ELBO(), X + 1, config(path), recorders=recorders, resume=True)
    other = VAE.mlp(4, 2, hidden=(9,), likelihood=GaussianLikelihood(5.0, learned=True, members=3), data=X, generator=Generator(SEEDS))  # noqa: E501  # fmt: skip
    with pytest.raises(CheckpointError, match="another model"):
        fit(other, ELBO(), X, config(path), recorders=recorders, resume=True)


def test_a_directory_that_cannot_be_written(tmp_path, monkeypatch):
    """Root may write anywhere, so the refusal is also brought about by a file in the directory's place."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PermissionError, match="expected a path in a directory that can be written"):
        train(tmp_path / "file" / "run.safetensors")
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.geteuid() != 0:
        with pytest.raises(PermissionError, match="checkpoint is"):
            train(folder / "run.safetensors")
