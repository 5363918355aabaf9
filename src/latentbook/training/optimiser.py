"""Adam over stacked parameters: one optimiser that is K independent ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latentbook.nn import per_member
from latentbook.objectives.loss import Loss
from latentbook.training.config import TrainConfig


class Optimiser:
    """Torch's Adam on a model and, where it has parameters of its own, on the objective.

    Args:
        model: module whose trained parameters carry a leading members axis.
        objective: anything; its parameters are trained if it is a module.
        config: learning rates and groups.
        device: where the parameters are.

    Raises:
        ValueError: if a group matches no parameter.
    """

    def __init__(self, model: nn.Module, objective: object, config: TrainConfig, device: torch.device) -> None:
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        owned = objective.named_parameters() if isinstance(objective, nn.Module) else ()
        owned = {f"objective.{name}": p for name, p in owned if p.requires_grad}
        self.own = list(owned.values())
        groups = [{"params": [], "rate": 1.0}]
        groups += [
            {"params": [], "rate": g.rate, "betas": g.betas or config.betas, "weight_decay": g.weight_decay}
            for g in config.groups
        ]
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad} | owned
        for name, parameter in trained.items():
            matches = [i for i, group in enumerate(config.groups, 1) if name.startswith(group.prefix)]
            groups[matches[0] if matches else 0]["params"].append(parameter)
        for group, wanted in zip(groups[1:], config.groups, strict=True):
            if not group["params"]:
                raise ValueError(
                    f"groups has the prefix {wanted.prefix!r}; expected the beginning of a parameter's name"
                )
        rates = config.learning_rate
        self._highest = max(rates) if isinstance(rates, tuple) else rates
        self._share: Tensor | None = None
        if isinstance(rates, tuple) and len(set(rates)) > 1:
            share = torch.tensor(rates, dtype=torch.float64) / self._highest
            self._share = share.to(device, self.parameters[0].dtype)
        groups = [group for group in groups if group["params"]]
        self.adam = torch.optim.Adam(groups, lr=self._highest, betas=config.betas, fused=True)

    def set_rate(self, multiplier: float) -> None:
        """Set every group's learning rate to this multiple of the configured one."""
        for group in self.adam.param_groups:
            group["lr"] = self._highest * group["rate"] * multiplier

    def descend(self, loss: Loss) -> None:
        """One step: the model on ``loss.value``, the objective's own parameters on ``loss.own``.

        Raises:
            ValueError: if an objective with parameters gives no loss for them, or one without gives one.
        """
        if bool(self.own) != (loss.own is not None):
            found = "no Loss.own" if loss.own is None else "Loss.own"
            raise ValueError(f"objective has {len(self.own)} parameters and gave {found}; expected both or neither")
        value = loss.value.sum()
        gradients = torch.autograd.grad(value, self.parameters, retain_graph=bool(self.own), allow_unused=True)
        if self.own:
            gradients += torch.autograd.grad(loss.own.sum(), self.own, allow_unused=True)
        trained = self.parameters + self.own
        for parameter, gradient in zip(trained, gradients, strict=True):
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

    @torch.no_grad()
    def erase(self, member: int) -> None:
        """Set a member's parameters to NaN, and those that the objective has for it."""
        for parameter in self.parameters + self._own_stacked():
            parameter[member] = torch.nan

    @torch.no_grad()
    def not_finite(self) -> list[int]:
        """The members for which a parameter, of the model or of the objective, is NaN or infinite."""
        stacked = self.parameters + self._own_stacked()
        bad = sum((~torch.isfinite(p)).reshape(len(p), -1).any(1).long() for p in stacked)
        return bad.nonzero().flatten().tolist()

    def _own_stacked(self) -> list[Tensor]:
        """The objective's parameters that carry a members axis."""
        members = len(self.parameters[0])
        return [parameter for parameter in self.own if parameter.dim() and len(parameter) == members]
