"""The one training loop of this book."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from tqdm import tqdm

from latentbook.nn import Knob, per_member
from latentbook.objectives.loss import Loss
from latentbook.random import Generator
from latentbook.training import checkpoint
from latentbook.training.batches import Data, batches, signature
from latentbook.training.config import TrainConfig
from latentbook.training.history import History
from latentbook.training.recorders import Recorder
from latentbook.training.schedules import learning_rate_multiplier
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
    neighbour diverges. Bit for bit the same numbers come out when an interrupted run is resumed with the same
    members, threads and machine.

    Args:
        model: a module whose parameters all carry a leading members axis.
        objective: ``objective(model, batch, generator) -> Loss`` (or a plain (members,) tensor). If it is a Module
            with parameters, those are trained on ``Loss.own`` and saved as well.
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
        PermissionError: if the checkpoint's directory cannot be written.
    """
    run = _Run(model, objective, data, config, recorders, resume)
    bar = tqdm(total=config.steps, initial=run.step, disable=None if progress else True, desc="fit", unit="step")
    with bar:
        while not run.finished:
            run.set_schedules()
            loss = run.objective(run.model, run.batch(run.step), run.noise.at(run.step))
            loss = loss if isinstance(loss, Loss) else Loss(loss)
            run.descend(loss)
            run.log(loss)
            run.step += 1
            bar.update()
            run.look_around(bar)
    return run.history


class _Run:
    """The state of a run between two steps: what a checkpoint holds."""

    def __init__(self, model, objective, data, config: TrainConfig, recorders, resume: bool) -> None:
        members = next(model.parameters()).shape[0]
        if len(config.seeds) != members:
            raise ValueError(f"seeds has {len(config.seeds)} entries; expected {members}, one per member of the model")
        device = config.resolve_device()
        self.config, self.recorders, self.step = config, tuple(recorders), 0
        self.model = model.to(device)
        self.objective = objective.to(device) if isinstance(objective, nn.Module) else objective
        self.batch = batches(data, config, model, device)
        self.noise = Generator(config.seeds, device=device, stream="noise")
        self.evaluation = Generator(config.seeds, device=device, stream="evaluation")
        self.knobs = self._find_knobs()
        self._build_optimiser()
        self.history = History(config.seeds)
        self.stopper = Stopper(config.early_stop, self.parameters, members, [r.name for r in recorders])
        self._names: list[str] = []
        self._log = torch.zeros(0)
        self._identity = {
            "config": config.fingerprint(),
            "run": {
                "data": signature(data),
                "model": type(model).__name__,
                "objective": getattr(objective, "__name__", type(objective).__name__),
                "recorders": [[r.name, r.every] for r in recorders],
            },
        }
        self._started = time.perf_counter()
        if not self._load(resume):
            self._measure()

    def _modules(self) -> dict[str, nn.Module]:
        named = {"model": self.model}
        return named | ({"objective": self.objective} if isinstance(self.objective, nn.Module) else {})

    def _find_knobs(self) -> dict[str, list[Knob]]:
        found: dict[str, list[Knob]] = {}
        for module in self._modules().values():
            for name, part in module.named_modules():
                if isinstance(part, Knob):
                    part.scheduled = name.split(".")[-1] in self.config.schedules
                    found.setdefault(name.split(".")[-1], []).append(part)
        unknown = set(self.config.schedules) - set(found)
        if unknown:
            raise ValueError(f"schedules names {sorted(unknown)}; expected knobs of this run: {sorted(found)}")
        for name, ramp in self.config.schedules.items():
            multiplier = torch.as_tensor(ramp(0, self.config.steps))
            for knob in found[name]:
                if multiplier.dim() and knob.multiplier.dim() == 0:
                    knob.multiplier = knob.multiplier.expand(len(self.config.seeds)).clone()
        return found

    def _build_optimiser(self) -> None:
        self.parameters: list[nn.Parameter] = []
        self._own: list[nn.Parameter] = []
        groups = [{"params": [], "rate": 1.0}]
        groups += [
            {"params": [], "rate": g.rate, "betas": g.betas or self.config.betas, "weight_decay": g.weight_decay}
            for g in self.config.groups
        ]
        for owner, module in self._modules().items():
            for name, parameter in module.named_parameters():
                if not parameter.requires_grad:
                    continue
                (self.parameters if owner == "model" else self._own).append(parameter)
                full = name if owner == "model" else f"objective.{name}"
                matches = [i for i, g in enumerate(self.config.groups, 1) if full.startswith(g.prefix)]
                groups[matches[0] if matches else 0]["params"].append(parameter)
        for group, wanted in zip(groups[1:], self.config.groups, strict=True):
            if not group["params"]:
                raise ValueError(
                    f"groups has the prefix {wanted.prefix!r}; expected the beginning of a parameter's name"
                )
        rates = self.config.learning_rate
        self._highest = max(rates) if isinstance(rates, tuple) else rates
        self._share = None
        if isinstance(rates, tuple) and len(set(rates)) > 1:
            self._share = torch.tensor(rates, dtype=torch.float64) / self._highest
        groups = [group for group in groups if group["params"]]
        self.optimiser = torch.optim.Adam(groups, lr=self._highest, betas=self.config.betas, fused=True)

    def set_schedules(self) -> None:
        """Put learning rate and knobs where their schedules have them at this step."""
        config = self.config
        multiplier = learning_rate_multiplier(self.step, config.steps, config.warmup, config.decay)
        for group in self.optimiser.param_groups:
            group["lr"] = self._highest * group["rate"] * multiplier
        for name, ramp in config.schedules.items():
            for knob in self.knobs[name]:
                knob.multiplier.copy_(torch.as_tensor(ramp(self.step, config.steps)))

    def descend(self, loss: Loss) -> None:
        """One Adam step: the model on ``loss.value``, the objective's own parameters on ``loss.own``."""
        gradients = torch.autograd.grad(
            loss.value.sum(), self.parameters, retain_graph=loss.own is not None, allow_unused=True
        )
        own = () if loss.own is None else torch.autograd.grad(loss.own.sum(), self._own, allow_unused=True)
        trained = self.parameters + (self._own if own else [])
        for parameter, gradient in zip(trained, (*gradients, *own), strict=True):
            parameter.grad = gradient
        if self._share is None:
            self.optimiser.step()
            return
        before = [parameter.detach().clone() for parameter in trained]
        self.optimiser.step()
        with torch.no_grad():  # a member with a smaller learning rate takes that share of the step
            for parameter, old in zip(trained, before, strict=True):
                parameter.copy_(old.lerp(parameter, per_member(self._share, old.dim()).to(old)))

    def log(self, loss: Loss) -> None:
        """Keep losses and terms on the device until the row is complete."""
        if not self._names and not len(self._log):
            if loss.value.shape != (len(self.config.seeds),):
                expected = (len(self.config.seeds),)
                raise ValueError(f"objective returned shape {tuple(loss.value.shape)}; expected {expected}")
            self._names = list(loss.terms)
            self._log = loss.value.new_zeros(self.config.log_every, 1 + len(self._names), len(loss.value))
        row = torch.stack([loss.value.detach(), *(loss.terms[name] for name in self._names)])
        self._log[self.step % self.config.log_every] = row

    def look_around(self, bar: tqdm) -> None:
        """After a step: complete a row of the history, measure, stop members, save."""
        config, last = self.config, self.step == self.config.steps
        if self.step % config.log_every == 0 or last:
            self._complete_row()
            bar.set_postfix(loss=f"{float(self.history.loss[-1].nanmean()):.4g}", refresh=False)
        self._measure()
        alive = [k for k in range(len(config.seeds)) if k not in self.history.diverged | self.history.stopped]
        if last or not alive:
            self._finish()
        elif config.checkpoint is not None and self.step % config.checkpoint_every == 0:
            self._save()

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self._finished

    _finished = False

    def _complete_row(self) -> None:
        count = (self.step - 1) % self.config.log_every + 1
        rows = self._log[:count]
        self.history.append(self.step, self._names, rows.mean(0))
        bad = ~torch.isfinite(rows[:, 0]).cpu()
        for member in bad.any(0).nonzero().flatten().tolist():
            if member not in self.history.diverged | self.history.stopped:
                step = self.step - count + int(bad[:, member].nonzero()[0])
                self.history.diverged[member] = step
                warnings.warn(
                    f"member {member} (seed {self.config.seeds[member]}) diverged: its loss was not finite at step "
                    f"{step}. It is masked from there on; the other members are not affected.",
                    RuntimeWarning,
                    stacklevel=4,
                )
        self._erase_diverged()

    @torch.no_grad()
    def _erase_diverged(self) -> None:
        for member in self.history.diverged:
            for parameter in self.parameters:
                parameter[member] = torch.nan

    def _measure(self) -> None:
        for recorder in self.recorders:
            if recorder.due(self.step, self.config.steps):
                value = recorder(self.model, self.evaluation)
                self.history.record(recorder.name, self.step, value)
                self.stopper.look(recorder.name, value, self.step, self.history)

    def _finish(self) -> None:
        self.stopper.restore_best()
        self._erase_diverged()
        self._finished = True
        self.history.seconds += time.perf_counter() - self._started
        self._started = time.perf_counter()
        if self.config.checkpoint is not None:
            self._save()

    def _save(self) -> None:
        tensors = {f"{o}.{n}": t for o, module in self._modules().items() for n, t in module.state_dict().items()}
        for number, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{key}": torch.as_tensor(value) for key, value in state.items()}
        tensors |= {f"history.{name}": tensor for name, tensor in self.history.tensors().items()}
        tensors |= {f"stopper.{name}": tensor for name, tensor in self.stopper.tensors().items()}
        tensors["log"] = self._log
        now = time.perf_counter()
        self.history.seconds, self._started = self.history.seconds + now - self._started, now
        generators = {name: getattr(self, name).state_dict() for name in ("noise", "evaluation")}
        state = {"step": self.step, "finished": self._finished, "names": self._names, "generators": generators}
        checkpoint.save(self.config.checkpoint, tensors, self._identity | state | {"history": self.history.header()})

    def _load(self, resume: bool) -> bool:
        path = self.config.checkpoint
        if path is None:
            if resume:
                raise ValueError("resume is True but config.checkpoint is None; expected the path of a checkpoint")
            return False
        checkpoint.writable_directory(path)
        if not path.exists():
            return False
        if not resume:
            raise FileExistsError(f"checkpoint {path} exists; expected a new path, or resume=True to continue from it")
        tensors, header = checkpoint.load(path)
        for what in ("config", "run"):
            checkpoint.check_same(path, header[what], self._identity[what], what)
        for owner, module in self._modules().items():
            checkpoint.restore(path, module, tensors, f"{owner}.")
        states: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under("optimiser.", tensors).items():
            number, _, key = name.partition(".")
            states.setdefault(int(number), {})[key] = tensor
        self.optimiser.load_state_dict({"state": states, "param_groups": self.optimiser.state_dict()["param_groups"]})
        self.history = History.from_checkpoint(self.config.seeds, _under("history.", tensors), header["history"])
        self.stopper.load(_under("stopper.", tensors))
        for name, state in header["generators"].items():
            getattr(self, name).load_state_dict(state)
        self._log, self._names = tensors["log"].to(self.noise.device), header["names"]
        self.step, self._finished = header["step"], header["finished"]
        return True


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
