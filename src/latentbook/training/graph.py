"""The whole step, gradient and Adam, as one graph: traced once, compiled, and on CUDA recorded.

A step is a function of tensors alone: parameters, moments, buffers, a batch, the number of the step and the learning
rate. Run once on tensors without content, it leaves a list of operations, which the compiler fuses. On CUDA the
launches of the compiled step are recorded as well, so that a step is one launch.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from latentbook.objectives.loss import Batch
from latentbook.training.batches import Epochs, Fresh, as_tuple
from latentbook.training.config import TrainConfig
from latentbook.training.losses import Losses, rows
from latentbook.training.optimiser import Optimiser

_COST = 60.0  # seconds that compiling takes at worst
_SAVED_PER_MODEL = 40e-6  # seconds that a compiled step saves on a CPU for each member,
_SAVED_PER_PRODUCT = 3e-12  # and for each data point and weight
_SAVED_PER_LAUNCH = 1e-3  # seconds that a recorded step saves on CUDA
_MOST = 3000  # operations that the compiler gets through in a minute or so
_WARM_UP = 3  # steps before recording
_PLAIN = (bool, int, float, str, type(None))


def compiler_exists(device: torch.device) -> bool:
    """Whether there is what torch compiles with: a C++ compiler, on CUDA Triton."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return any(map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++", "cl"))))


def worth_compiling(config: TrainConfig, parameters: Sequence[Tensor]) -> bool:
    """Whether the step is to be compiled: what the config says, by default where that repays itself.

    The answer depends on the whole run, not on what is left of it, so that a resumed run gives the same.
    """
    if config.compile != "auto":
        return bool(config.compile)
    device, members = parameters[0].device, len(config.seeds)
    if device.type == "cuda":
        saved = _SAVED_PER_LAUNCH
    else:
        weights = sum(parameter.numel() for parameter in parameters)
        saved = members * _SAVED_PER_MODEL + weights * config.batch_size * _SAVED_PER_PRODUCT
    return config.steps * saved > _COST and compiler_exists(device)


class Graph:
    """A step as one compiled function.

    Args:
        losses: the objective on the model.
        source: where batches come from.
        optimiser: Adam over the parameters of both.
        drawn: what the source draws for a step; all are of one shape.
        patient: whether to compile however many operations a step has.

    Raises:
        RuntimeError: if a step has too many operations, or depends on more than tensors: it branches on their values,
            or changes a plain attribute of model or objective.
    """

    def __init__(
        self, losses: Losses, source: Epochs | Fresh, optimiser: Optimiser, drawn: Batch, patient: bool
    ) -> None:
        self.losses, self.source, self.optimiser, self.drawn = losses, source, optimiser, drawn
        device = losses.noise.device
        self.number = torch.zeros((), dtype=torch.int64, device=device)
        self.rate = torch.zeros((), dtype=torch.float64, device=device)
        self._launch: Callable[[], Tensor] = self._run
        self._recorded = device.type == "cuda"
        if self._recorded:  # what is recorded reads from one place
            self._launch = Recorded(self._run)
            self.drawn = drawn.clone() if isinstance(drawn, Tensor) else tuple(part.clone() for part in drawn)
        named = dict(losses.named_parameters()) | dict(losses.named_buffers())
        names = {id(tensor): name for name, tensor in named.items()}
        self._trained = [names[id(parameter)] for parameter in optimiser.trained]
        self._others = [name for name in named if name not in set(self._trained)]
        self._state = [[parameter.detach() for parameter in optimiser.trained], *optimiser.moments()]
        self._state.append([named[name].detach() for name in self._others])
        self._call = self._compile(patient)

    def __call__(self, drawn: Batch, number: int) -> Tensor:
        """Take the step of that number on what was drawn; the losses and terms before it, (1 + terms, members)."""
        if self._recorded:
            for held, part in zip(as_tuple(self.drawn), as_tuple(drawn), strict=True):
                held.copy_(part)
        else:
            self.drawn = drawn
        self.number.fill_(number)
        self.rate.fill_(self.optimiser.rate)
        return self._launch()

    def _run(self) -> Tensor:
        return self._call(*self._arguments())

    def _arguments(self) -> list[object]:
        return [*self._state, self.source.look_up(self.drawn), self.number, self.rate]

    def _compile(self, patient: bool) -> Callable[..., Tensor]:
        import torch._inductor  # takes a second: only where it is used

        arguments, before = self._arguments(), self._plain()
        traced = make_fx(lambda *all: self._whole(*all), tracing_mode="fake", _allow_non_fake_inputs=True)(*arguments)
        for (part, name), value in self._plain().items():
            if repr(before.get((part, name))) != repr(value):
                setattr(part, name, before.get((part, name)))
                raise RuntimeError(f"{type(part).__name__}.{name} changes from step to step; expected it to stay")
        operations = len(traced.graph.nodes)
        if operations > _MOST and not patient:
            raise RuntimeError(f"it has {operations} operations, and compiling would take too long")
        return torch._inductor.compile(traced, arguments)

    def _plain(self) -> dict[tuple[nn.Module, str], object]:
        """The plain attributes of all modules, which a graph takes for constants."""
        parts = self.losses.modules()
        return {(part, k): v for part in parts for k, v in vars(part).items() if isinstance(v, _PLAIN) and k != "names"}

    def _whole(self, trained, first, second, others, batch: Batch, number: Tensor, rate: Tensor) -> Tensor:
        """The step as a function of tensors, the first three of which it changes in place."""
        leaves = [parameter.detach().requires_grad_() for parameter in trained]
        tensors = dict(zip(self._trained + self._others, [*leaves, *others], strict=True))
        loss = functional_call(self.losses, tensors, (batch, number))
        gradients = self.optimiser.gradients(loss, leaves)
        self.optimiser.move(trained, first, second, gradients, number.double() + 1, rate)
        return rows(loss)


class Recorded:
    """A function whose launches on CUDA are recorded after some calls, and from then on played back.

    What it reads and writes must stay where it is in memory. If recording fails, a warning says so and the function
    goes on being called.

    Args:
        run: the function; its result, one tensor, is overwritten by the next call.
        record: ``record(run) -> (replay, result)``.
        warm_up: ``warm_up(run) -> result``, for the calls before that.
    """

    def __init__(
        self,
        run: Callable[[], Tensor],
        record: Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]] | None = None,
        warm_up: Callable[[Callable[[], Tensor]], Tensor] | None = None,
    ) -> None:
        self.run, self.record, self.warm_up = run, record or _record, warm_up or _aside
        self.calls, self.replay, self.result = 0, None, None

    def __call__(self) -> Tensor:
        """The function's result."""
        self.calls += 1
        if self.calls <= _WARM_UP:
            return self.warm_up(self.run)
        if self.calls == _WARM_UP + 1:
            try:
                self.replay, self.result = self.record(self.run)
            except RuntimeError as error:
                message = f"the step is not recorded as a CUDA graph, and the run is slower: {error}"
                warnings.warn(message, RuntimeWarning, stacklevel=4)
        if self.replay is None:
            return self.run()
        self.replay()
        return self.result


def _record(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Record the launches of ``run`` without executing them."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()
    return graph.replay, result


def _aside(run: Callable[[], Tensor]) -> Tensor:
    """Call ``run`` on a stream of its own, as recording asks for beforehand."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        result = run()
    torch.cuda.current_stream().wait_stream(stream)
    return result
