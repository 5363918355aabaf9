"""Ways of doing one thing, timed in turn: what the sections of the bench share."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from queue import Queue
from threading import Thread

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentbook.experiments._store import Row
from latentbook.nn import Linear
from latentbook.random import Generator
from latentbook.training import Recorder, TrainConfig, fit
from latentbook.training.graph import compiler_exists

Timer = Callable[[], float]
FIT: Mapping[str, Mapping[str, object]] = {
    "fit": {"compile": False},
    "fit, compiled": {"compile": True},
    "fit, bfloat16": {"compile": False, "precision": "bfloat16"},
    "fit, bfloat16, compiled": {"compile": True, "precision": "bfloat16"},
}
"""The ways of this package to train, as options of TrainConfig."""


class Unavailable(RuntimeError):
    """What this machine lacks, so that a way cannot be timed."""


@dataclass(frozen=True)
class Comparison:
    """Ways of doing the same work.

    Attributes:
        what: the work.
        unit: of the numbers in the table, such as "us a step and seed".
        scale: how many of these units a second is.
        ways: by name, what makes the timer of a way; a timer gives the seconds that a unit of work took. The first way
            is what the others are compared with.
        roofs: by name of a way, the name of that which bounds it.
    """

    what: str
    unit: str
    scale: float
    ways: Mapping[str, Callable[[], Timer]]
    roofs: Mapping[str, str] = field(default_factory=dict)

    def without(self, word: str) -> Comparison:
        """The same without the ways that have ``word`` in their names; an empty word leaves all."""
        return replace(self, ways={way: make for way, make in self.ways.items() if not word or word not in way})

    def settings(self) -> list[Row]:
        """What tells the rows apart."""
        return [{"what": self.what, "way": way} for way in self.ways]

    def rows(self, repetitions: int) -> list[Row]:
        """Median, least and most of every way, its speed as a multiple of the first's, and as a share of its roof's."""
        timers, missing = {}, {}
        for way, make in self.ways.items():
            try:
                timers[way] = make()
            except Unavailable as reason:
                missing[way] = str(reason)
        try:
            seconds = interleave(timers, repetitions)
        finally:
            for timer in timers.values():
                if isinstance(timer, FitTimer):
                    timer.close()
        medians = {way: statistics.median(values) for way, values in seconds.items()}
        first = medians.get(next(iter(self.ways)), math.nan)
        found: list[Row] = []
        for way in self.ways:
            if way in missing:
                found.append({"unit": self.unit, "error": missing[way]})
                continue
            spread = {"median": medians[way], "low": min(seconds[way]), "high": max(seconds[way])}
            row = {name: _rounded(value * self.scale) for name, value in spread.items()}
            roof = medians.get(self.roofs.get(way, ""), math.nan)
            ratios = {"times_as_fast": first / medians[way], "of_roof": roof / medians[way]}
            found.append({"unit": self.unit} | row | {name: _rounded(value) for name, value in ratios.items()})
        return found


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def interleave(timers: Mapping[str, Timer], repetitions: int) -> dict[str, list[float]]:
    """Seconds of each way, taken in turn so that a busy machine slows all alike; a first round is not counted."""
    seconds: dict[str, list[float]] = {way: [] for way in timers}
    for repetition in range(repetitions + 1):
        for way, timer in timers.items():
            value = timer()
            if repetition:
                seconds[way].append(value)
    return seconds


def clock(device: torch.device) -> float:
    """Seconds of this thread on a CPU, where others may be busy; on CUDA those on the wall when all work is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()


def timed(run: Callable[[], object], device: torch.device, units: float = 1.0) -> Timer:
    """A timer of ``run``, which does so many units of work."""

    def timer() -> float:
        start = clock(device)
        run()
        return (clock(device) - start) / units

    return timer


class FitTimer:
    """A timer of the steps of one ``fit``, which rests between two calls, so that it is compiled once.

    It runs in a thread of its own until the timer is closed. The first call counts all that happens once, such as
    checks of the data and compiling.

    Args:
        model: untrained.
        objective: as for ``fit``.
        data: as for ``fit``.
        steps: of each call.
        units: of work in a step.
        options: of TrainConfig.

    Raises:
        Unavailable: if this machine lacks what the options ask for.
    """

    def __init__(
        self, model: nn.Module, objective: object, data: object, steps: int, units: float = 1.0, **options: object
    ) -> None:
        config = TrainConfig(steps=10**6 * steps, **options)
        self._device, self._units = config.resolve_device(), steps * units
        needs(self._device, config.compile is True, config.precision == "bfloat16")
        self._asked: Queue[bool] = Queue()
        self._answers: Queue[float | BaseException] = Queue()
        work = partial(fit, model, objective, data, config, recorders=[Recorder("clock", self._rest, steps)])
        Thread(target=self._run, args=(partial(work, progress=False), torch.get_num_threads()), daemon=True).start()

    def __call__(self) -> float:
        """Seconds for a unit of work."""
        self._asked.put(True)
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer / self._units

    def close(self) -> None:
        """End the run."""
        self._asked.put(False)

    def _run(self, work: Callable[[], object], threads: int) -> None:
        torch.set_num_threads(threads)  # each thread has its own setting
        try:
            if self._asked.get():
                self._start = clock(self._device)
                work()
        except _Closed:
            pass
        except BaseException as error:
            self._answers.put(error)

    def _rest(self, model: nn.Module, generator: Generator) -> Tensor:
        if not self._fresh:
            self._answers.put(clock(self._device) - self._start)
            if not self._asked.get():
                raise _Closed
            self._start = clock(self._device)
        self._fresh = False
        return torch.zeros(generator.members)

    _fresh = True  # until the measurement before the first step


class _Closed(Exception):
    """Nobody asks for more steps."""


def needs(device: torch.device, compiler: bool = False, bfloat16: bool = False) -> None:
    """Raise if the machine lacks a compiler, or units for bfloat16, and these are needed.

    Raises:
        Unavailable: if so.
    """
    if compiler and not compiler_exists(device):
        raise Unavailable("no compiler here")
    if bfloat16:
        if device.type == "cuda":
            able = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            able = any(there for name, there in torch.cpu.get_capabilities().items() if "bf16" in name)
        if not able:
            raise Unavailable("no units for bfloat16 here")


class PlainVAE(nn.Module):
    """One member of a stack as one would write it first: torch's own layers, one model, nothing general.

    Args:
        encoder: x -> means and log-variances side by side.
        decoder: z -> logits, or means of variance 1.
        bernoulli: whether the pixels are 0 or 1, or the likelihood is N(decoder, 1).
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, *, bernoulli: bool) -> None:
        super().__init__()
        self.encoder, self.decoder, self.bernoulli = encoder, decoder, bernoulli

    def parts(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Sample, mean and log-variance, reconstruction and KL, the last two averaged over the batch."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        z = mean + (log_variance / 2).exp() * noise
        decoded = self.decoder(z)
        if self.bernoulli:
            error = functional.binary_cross_entropy_with_logits(decoded, x, reduction="sum")
        else:
            error = 0.5 * (x - decoded).square().sum() + 0.5 * math.log(2 * math.pi) * x.numel()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
        return z, mean, log_variance, -error / len(x), kl / len(x)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """The negative ELBO, averaged over the batch."""
        *_, reconstruction, kl = self.parts(x, noise)
        return kl - reconstruction


def copied(network: Sequence[nn.Module], member: int = 0) -> nn.Sequential:
    """One member of a stacked network as a network of torch's own layers, with the same weights."""
    layers = []
    for part in network:
        if isinstance(part, Linear):
            layer = nn.utils.skip_init(nn.Linear, *part.weight.shape[1:], device=part.weight.device)
            with torch.no_grad():
                layer.weight.copy_(part.weight[member].T)
                layer.bias.copy_(part.bias[member, 0])
            part = layer
        layers.append(part)
    return nn.Sequential(*layers)
