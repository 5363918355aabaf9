"""Adam over stacked parameters: one optimiser that is K independent ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from latentbook.nn import per_member
from latentbook.objectives.loss import Loss
from latentbook.training.config import TrainConfig

_EPSILON = 1e-8


class Optimiser:
    """Torch's Adam on a model and, where it has parameters of its own, on the objective.

    Args:
        model: module whose trained parameters carry a leading members axis.
        objective: anything; if it is a module, its parameters are trained and carry a members axis as well.
        config: learning rates and groups.
        device: where the parameters are.

    Attributes:
        parameters: those of the model that are trained.
        own: those of the objective.
        rate: the learning rate in force, before the factors of groups and members.

    Raises:
        ValueError: if a group matches no parameter.
    """

    def __init__(self, model: nn.Module, objective: object, config: TrainConfig, device: torch.device) -> None:
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        owned = objective.named_parameters() if isinstance(objective, nn.Module) else ()
        owned = {f"objective.{name}": p for name, p in owned if p.requires_grad}
        self.own = list(owned.values())
        default = {"rate": 1.0, "betas": config.betas, "weight_decay": 0.0}
        groups = [{"params": [], **default}]
        groups += [
            {"params": [], "rate": g.rate, "betas": g.betas or config.betas, "weight_decay": g.weight_decay}
            for g in config.groups
        ]
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad} | owned
        self._groups: list[dict[str, object]] = []  # of every trained parameter
        for name, parameter in trained.items():
            matches = [i for i, group in enumerate(config.groups, 1) if name.startswith(group.prefix)]
            self._groups.append(groups[matches[0] if matches else 0])
            self._groups[-1]["params"].append(parameter)
        for group, wanted in zip(groups[1:], config.groups, strict=True):
            if not group["params"]:
                raise ValueError(
                    f"groups has the prefix {wanted.prefix!r}; expected the beginning of a parameter's name"
                )
        rates = config.learning_rate
        self._highest = self.rate = max(rates) if isinstance(rates, tuple) else rates
        self._share: Tensor | None = None
        if isinstance(rates, tuple) and len(set(rates)) > 1:
            share = torch.tensor(rates, dtype=torch.float64) / self._highest
            self._share = share.to(device, self.parameters[0].dtype)
        groups = [group for group in groups if group["params"]]
        self.adam = torch.optim.Adam(groups, lr=self._highest, eps=_EPSILON, fused=True)

    @property
    def trained(self) -> list[Tensor]:
        """All parameters that are trained: the model's, then the objective's."""
        return self.parameters + self.own

    def set_rate(self, multiplier: float) -> None:
        """Set every group's learning rate to this multiple of the configured one."""
        self.rate = self._highest * multiplier
        for group in self.adam.param_groups:
            group["lr"] = self.rate * group["rate"]

    def gradients(self, loss: Loss, trained: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Gradients of ``loss.value`` in the model's parameters and of ``loss.own`` in the objective's.

        Args:
            loss: what the objective returned.
            trained: :attr:`trained`, or what stands in their place.

        Raises:
            ValueError: if an objective with parameters gives no loss for them, or one without gives one.
        """
        if bool(self.own) != (loss.own is not None):
            found = "no Loss.own" if loss.own is None else "Loss.own"
            raise ValueError(f"objective has {len(self.own)} parameters and gave {found}; expected both or neither")
        parameters, own = trained[: len(self.parameters)], trained[len(self.parameters) :]
        value = loss.value.sum()
        gradients = torch.autograd.grad(value, parameters, retain_graph=bool(own), allow_unused=True)
        return gradients + (torch.autograd.grad(loss.own.sum(), own, allow_unused=True) if own else ())

    def descend(self, loss: Loss) -> None:
        """One step: the model on ``loss.value``, the objective's own parameters on ``loss.own``.

        Raises:
            ValueError: as :meth:`gradients`.
        """
        trained = self.trained
        for parameter, gradient in zip(trained, self.gradients(loss, trained), strict=True):
            parameter.grad = gradient
        if self._share is None:
            self.adam.step()
        else:
            before = [parameter.detach().clone() for parameter in trained]
            self.adam.step()
            with torch.no_grad():  # a member with a smaller learning rate takes that share of the step
                for parameter, old in zip(trained, before, strict=True):
                    parameter.copy_(old.lerp(parameter, per_member(self._share, old.dim())))
        self.adam.zero_grad(set_to_none=True)

    def moments(self) -> tuple[list[Tensor], list[Tensor]]:
        """Adam's first and second moments of every trained parameter, made where there are none yet."""
        for parameter in self.trained:
            state = self.adam.state[parameter]
            if not state:
                state["step"] = torch.zeros((), device=parameter.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        states = [self.adam.state[parameter] for parameter in self.trained]
        return [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]

    @torch.no_grad()
    def move(self, trained, first, second, gradients, step: Tensor, rate: Tensor) -> None:
        """The step of :meth:`descend` written out, for a graph that holds all of it.

        Args:
            trained: parameters, changed in place.
            first: their first moments, changed in place.
            second: their second moments, changed in place.
            gradients: their gradients, None for a parameter that stands still.
            step: number of the step, () in float64; the first is 1.
            rate: the learning rate, () in float64.
        """
        for p, m, v, gradient, group in zip(trained, first, second, gradients, self._groups, strict=True):
            if gradient is None:
                continue
            if group["weight_decay"]:
                gradient = gradient + group["weight_decay"] * p
            one, two = group["betas"]
            m.lerp_(gradient, 1 - one)
            v.mul_(two).addcmul_(gradient, gradient, value=1 - two)
            length = rate * group["rate"] / (1 - one**step)
            change = length * m / (v.sqrt() / (1 - two**step).sqrt() + _EPSILON)
            p.sub_(change if self._share is None else change * per_member(self._share, p.dim()))

    @torch.no_grad()
    def count(self, step: int) -> None:
        """Tell Adam how many steps were taken."""
        for state in self.adam.state.values():
            state["step"].fill_(step)

    @torch.no_grad()
    def erase(self, member: int) -> None:
        """Set a member's parameters to NaN, and those that the objective has for it."""
        for parameter in self.trained:
            parameter[member] = torch.nan

    @torch.no_grad()
    def not_finite(self) -> list[int]:
        """The members for which a parameter, of the model or of the objective, is NaN or infinite."""
        bad = sum((~torch.isfinite(p)).reshape(len(p), -1).any(1).long() for p in self.trained)
        return bad.nonzero().flatten().tolist()
