"""The one training loop of this book."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from tqdm import tqdm

from latentbook.objectives.loss import Loss
from latentbook.random import Generator
from latentbook.training import checkpoint
from latentbook.training.batches import Data, batches, signature
from latentbook.training.config import TrainConfig
from latentbook.training.history import History
from latentbook.training.losses import Losses
from latentbook.training.memory import explained
from latentbook.training.optimiser import Optimiser
from latentbook.training.recorders import Recorder
from latentbook.training.steering import Steering
from latentbook.training.step import Step, local_tf32
from latentbook.training.stopping import Stopper


def fit(
    model: nn.Module,
    objective: Callable[..., Loss | Tensor],
    data: Data,
    config: TrainConfig,
    *,
    recorders: Sequence[Recorder] = (),
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train all members of a stacked model by Adam, side by side, in place.

    Adam acts on every number by itself and losses are summed over members, so this equals K separate runs: a member
    sees the batches and noise of its seed alone, follows its solo run up to rounding, and is untouched when a
    neighbour diverges. Members share a batch only over methods and betas of one seed, never over seeds. Bit for bit
    the same numbers come out when an interrupted run is resumed with the same members, threads and machine, compiled
    or not. An interrupted run continues from its last checkpoint.

    Args:
        model: a module whose parameters all carry a leading members axis. It is moved to the config's device.
        objective: ``objective(model, batch, generator) -> Loss`` (or a plain (members,) tensor). If it is a Module
            with parameters, those carry a members axis too, are trained on ``Loss.own``, and saved as well. Where the
            step is compiled it is traced once, and must depend on tensors alone.
        data: tensors (n, features), a tuple of tensors of equal length, a data set with ``batch(index)``, or a
            sampler ``(generator, n) -> (members, n, features)`` of fresh batches.
        config: how to train.
        recorders: what to measure on the way.
        resume: continue from ``config.checkpoint`` if that file exists.
        progress: show a progress bar on an interactive terminal.

    Returns:
        The history. A member whose loss was not finite is named there, in a RuntimeWarning, and holds NaN parameters
        so that nothing computed from it can pass for a result; ``select(model, history.alive)`` drops it.

    Raises:
        ValueError, TypeError: for data, config or members that do not fit together.
        FileExistsError: if the checkpoint exists and ``resume`` is False: nothing is overwritten.
        CheckpointError: if the checkpoint is damaged or belongs to another run.
        PermissionError, IsADirectoryError: if the checkpoint cannot be written.
        RuntimeError: if ``compile`` is True and the step cannot be compiled.
        torch.OutOfMemoryError: if the device is too small, with an estimate of how many members fit.
    """
    run = _Run(model, objective, data, config, recorders, resume)
    bar = tqdm(total=config.steps, initial=run.step, disable=None if progress else True, desc="fit", unit="step")
    with bar, local_tf32(config.tf32), explained(run.take):
        while not run.finished:
            run.set_schedules()
            run.log(run.take(run.step))
            run.step += 1
            bar.update()
            run.look_around(bar)
    return run.history


class _Run:
    """The state of a run between two steps: what a checkpoint holds."""

    def __init__(self, model, objective, data, config: TrainConfig, recorders, resume: bool) -> None:
        members = _members("model", model)
        if len(config.seeds) != members:
            raise ValueError(f"seeds has {len(config.seeds)} entries; expected {members}, one per member of the model")
        device = config.resolve_device()
        self.config, self.recorders, self.step, self.finished = config, tuple(recorders), 0, False
        names = [recorder.name for recorder in self.recorders]
        if len(set(names)) < len(names):
            raise ValueError(f"recorders have the names {names}; expected different ones")
        self.model = model.to(device)
        self.objective = objective
        if isinstance(objective, nn.Module):
            self.objective = objective.to(device)
            _members("objective", objective, members)
        source = batches(data, config, model, device)
        self.noise = Generator(config.seeds, device=device, stream="noise")
        self.evaluation = Generator(config.seeds, device=device, stream="evaluation")
        self.steering = Steering(self._modules().values(), config)
        self.optimiser = Optimiser(self.model, self.objective, config, device)
        self.losses = Losses(self.model, self.objective, self.noise, config.precision)
        self.take = Step(self.losses, source, self.optimiser, config)
        self.history = History(config.seeds)
        self.stopper = Stopper(config.early_stop, self.optimiser.parameters, members, names)
        self._log = torch.zeros(0)
        self._started = time.perf_counter()
        self.set_schedules()
        self._identity = {} if config.checkpoint is None else self._identify(data)
        if not self._load(resume):
            self._measure()

    def _identify(self, data: Data) -> dict[str, object]:
        """What a checkpoint must agree in with the run that continues it."""
        recorders = {recorder.name: recorder.every for recorder in self.recorders}
        run = {"data": signature(data), "recorders": recorders}
        described = {name: checkpoint.describe(part) for name, part in (("model", self.model),)}
        described["objective"] = checkpoint.describe(self.objective)
        return {"config": self.config.fingerprint(), "run": run, **described}

    def _modules(self) -> dict[str, nn.Module]:
        named = {"model": self.model}
        return named | ({"objective": self.objective} if isinstance(self.objective, nn.Module) else {})

    def set_schedules(self) -> None:
        """Put learning rate and knobs where their schedules have them at this step."""
        self.optimiser.set_rate(self.steering(self.step, whole=self.take.whole))

    def log(self, rows: Tensor) -> None:
        """Keep losses and terms, (1 + terms, members), on the device until the row of the history is complete."""
        if not len(self._log):
            self._log = rows.new_zeros(self.config.log_every, *rows.shape)
        self._log[self.step % self.config.log_every] = rows

    def look_around(self, bar: tqdm) -> None:
        """After a step: complete a row of the history, measure, stop members, save."""
        config, last = self.config, self.step == self.config.steps
        complete = self.step % config.log_every == 0
        if complete or last:
            self._complete_row()
            bar.set_postfix(loss=f"{float(self.history.loss[-1].nanmean()):.4g}", refresh=False)
        self._measure()
        if last or len(self.history.diverged | self.history.stopped) == len(config.seeds):
            if not (complete or last):
                self._complete_row()
            self._finish()
        elif config.checkpoint is not None and self.step % config.checkpoint_every == 0:
            self._save()

    def _rows(self) -> Tensor:
        """The losses since the last complete row of the history, (steps, 1 + terms, members)."""
        return self._log[: (self.step - 1) % self.config.log_every + 1]

    def _complete_row(self) -> None:
        rows = self._rows()
        self._find_diverged()
        self.history.append(self.step, self.losses.names, rows.mean(0))

    def _find_diverged(self) -> None:
        rows = self._rows()
        bad = ~torch.isfinite(rows[:, 0]).cpu()
        for member in bad.any(0).nonzero().flatten().tolist():
            self._diverged(member, self.step - len(rows) + int(bad[:, member].nonzero()[0]), "its loss")

    def _diverged(self, member: int, step: int, what: str) -> None:
        if member in self.history.diverged | self.history.stopped:
            return
        self.history.diverged[member] = step
        warnings.warn(
            f"member {member} (seed {self.config.seeds[member]}) diverged: {what} was not finite at step {step}. "
            "It is masked from there on; the other members are not affected.",
            RuntimeWarning,
            stacklevel=2,
        )
        self.optimiser.erase(member)

    def _measure(self) -> None:
        for recorder in self.recorders:
            if not recorder.due(self.step, self.config.steps):
                continue
            value = recorder(self.model, self.evaluation)
            self.history.record(recorder.name, self.step, value)
            if self.stopper.watches(recorder.name) and self.steering.over(self.step):
                self._consider_stopping(recorder.name, value)

    def _consider_stopping(self, name: str, value: Tensor) -> None:
        if value.dim() != 1:
            raise ValueError(f"recorder {name!r} gives shape {tuple(value.shape)}; early stopping expects (members,)")
        if self.step:
            self._find_diverged()
        for member in (~torch.isfinite(value)).nonzero().flatten().tolist():
            self._diverged(member, self.step, f"its {name}")
        self.stopper.look(value, self.step, self.history)

    def _finish(self) -> None:
        self.stopper.restore_best()
        for member in self.history.diverged:
            self.optimiser.erase(member)
        for member in self.optimiser.not_finite():
            self._diverged(member, self.step - 1, "its last update")
        self.finished = True
        self._stop_clock()
        if self.config.checkpoint is not None:
            self._save()

    def _stop_clock(self) -> None:
        now = time.perf_counter()
        self.history.seconds, self._started = self.history.seconds + now - self._started, now

    def _save(self) -> None:
        self.optimiser.count(self.step)
        tensors = {f"{o}.{n}": t for o, module in self._modules().items() for n, t in module.state_dict().items()}
        for part, flat in (
            ("optimiser", checkpoint.optimiser_tensors(self.optimiser.adam)),
            ("history", self.history.tensors()),
            ("stopper", self.stopper.tensors()),
        ):
            tensors |= {f"{part}.{name}": tensor for name, tensor in flat.items()}
        tensors["log"] = self._log
        self._stop_clock()
        generators = {name: getattr(self, name).state_dict() for name in ("noise", "evaluation")}
        state = {"step": self.step, "finished": self.finished, "names": self.losses.names, "generators": generators}
        header = self._identity | {"state": state, "history": self.history.header()}
        checkpoint.save(self.config.checkpoint, tensors, header)

    def _load(self, resume: bool) -> bool:
        path = self.config.checkpoint
        if path is None:
            if resume:
                raise ValueError("resume is True but config.checkpoint is None; expected the path of a checkpoint")
            return False
        checkpoint.writable(path)
        if not path.exists():
            return False
        if not resume:
            raise FileExistsError(f"checkpoint {path} exists; expected a new path, or resume=True to continue from it")
        tensors, header = checkpoint.load(path)
        for what, expected in self._identity.items():
            checkpoint.check_same(path, header.get(what), expected, what)
        try:
            self._restore(tensors, header)
        except (KeyError, TypeError, AttributeError) as error:
            raise checkpoint.CheckpointError(f"checkpoint {path} lacks a part of the run: {error!r}") from error
        return True

    def _restore(self, tensors: dict[str, Tensor], header: dict[str, object]) -> None:
        path, state = self.config.checkpoint, header["state"]
        flat = checkpoint.under("history.", tensors)
        history = History.from_checkpoint(self.config.seeds, flat, header["history"], state["names"])
        log = tensors["log"].to(self.noise.device)
        checkpoint.restore_optimiser(path, self.optimiser.adam, checkpoint.under("optimiser.", tensors), state["step"])
        for owner, module in self._modules().items():
            checkpoint.restore_module(path, module, checkpoint.under(f"{owner}.", tensors), owner)
        self.stopper.load(checkpoint.under("stopper.", tensors))
        for name, saved in state["generators"].items():
            getattr(self, name).load_state_dict(saved)
        self.history, self._log, self.losses.names = history, log, state["names"]
        self.step, self.finished = state["step"], state["finished"]


def _members(what: str, module: nn.Module, members: int | None = None) -> int:
    """The members of a stacked module, after checking that every trained parameter carries them."""
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    if not named and members is None:
        kind = type(module).__name__
        raise ValueError(f"{what} {kind} has nothing to train; expected parameters with a members axis")
    if members is None:
        members = getattr(module, "members", next((len(p) for _, p in named if p.dim()), 1))
    for name, parameter in named:
        found = tuple(parameter.shape)
        if found[:1] != (members,):
            raise ValueError(f"{what}'s parameter {name} has shape {found}; expected ({members}, ...), members first")
    return members
