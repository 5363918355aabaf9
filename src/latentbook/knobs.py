"""Numbers that steer training, fixed or learned, moved by schedules."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Knob(nn.Module):
    """A number that steers training (``beta``, ``gamma2``): fixed or learned, one for all members or one each.

    Calling a knob returns ``value * multiplier``. The multiplier is 1 until :meth:`set_multiplier` changes it, as the
    schedules of ``fit`` do (:class:`~latentbook.training.Ramp`); ``fit`` finds a knob by the name of the attribute
    that holds it.

    Args:
        value: positive number, or a tensor (members,).
        members: give every member its own copy of a common ``value``; needed for a learned one.
        learned: optimise the logarithm of the value together with the other parameters.
        name: what error messages call it.
        minimum: smallest admissible value; itself admissible.

    Raises:
        ValueError: if a value is not finite, is below ``minimum``, or does not fit ``members``.
    """

    def __init__(
        self,
        value: float | Sequence[float] | Tensor,
        *,
        members: int | None = None,
        learned: bool = False,
        name: str = "value",
        minimum: float = 0.0,
    ) -> None:
        super().__init__()
        tensor = torch.as_tensor(value, dtype=torch.get_default_dtype()).detach().clone()
        if tensor.dim() > 1 or (members is not None and tensor.dim() == 1 and len(tensor) != members):
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected one number or {members or 'members'}")
        if not bool(torch.isfinite(tensor).all() and (tensor >= minimum).all()):
            raise ValueError(f"{name} is {value}; expected finite values of at least {minimum:g}")
        if learned and not bool((tensor > 0).all()):
            raise ValueError(f"{name} is {value}; expected positive values, since its logarithm is learned")
        if members is not None:
            tensor = tensor.expand(members).clone()
        self.learned, self.name, self.minimum = learned, name, minimum
        if learned:
            if members is None and tensor.dim() == 0:
                raise ValueError(f"members is None; expected the number of members, since {name} is learned")
            self.log_value = nn.Parameter(tensor.log())
        else:
            self.register_buffer("value", tensor)
        self.register_buffer("multiplier", torch.ones_like(tensor))
        self._moved = False

    @property
    def members(self) -> int | None:
        """Number of members, None where one value serves all."""
        return None if self.multiplier.dim() == 0 else len(self.multiplier)

    @property
    def stacked_buffers(self) -> tuple[str, ...]:
        """The buffers that carry a members axis, for :func:`latentbook.nn.select`."""
        return () if self.multiplier.dim() == 0 else tuple(name for name, _ in self.named_buffers())

    @property
    def moved(self) -> bool:
        """False where the multiplier is known to be 1, so that what depends on it need not be computed."""
        return self._moved

    def base(self) -> Tensor:
        """The value before the multiplier, () or (members,)."""
        return self.log_value.exp() if self.learned else self.value

    def forward(self, members: int | None = None) -> Tensor:
        """The value in force, () or (members,).

        Raises:
            ValueError: if there is one value per member, for another number than ``members``.
        """
        if members is not None and self.members not in (None, members):
            expected = f"one number or {members}, one per member"
            raise ValueError(f"{self.name} has {self.members} values; expected {expected}")
        return self.base() * self.multiplier

    @torch.no_grad()
    def set_multiplier(self, value: float | Tensor) -> None:
        """Put the multiplier at ``value``: one number, or (members,).

        A fixed knob with one value for all members gets one each when ``value`` has.

        Raises:
            ValueError: if ``value`` is negative or not finite (or zero, for a knob that must be positive), or does not
                fit the knob's members.
        """
        if not isinstance(value, Tensor) and not hasattr(value, "__len__"):
            self._check_multiplier(value, 0 <= value < math.inf and (value > 0 or self.minimum == 0))
            self.multiplier.fill_(value)
            self._moved = value != 1
            return
        value = torch.as_tensor(value)
        if value.dim() > 1 or (value.dim() == 1 and self.members not in (None, len(value))):
            found, expected = tuple(value.shape), self.members or "members"
            raise ValueError(f"multiplier of {self.name} has shape {found}; expected one number or ({expected},)")
        if value.device.type == "cpu":  # elsewhere the check would wait for the device
            enough = value >= 0 if self.minimum == 0 else value > 0
            self._check_multiplier(value.tolist(), bool((enough & value.isfinite()).all()))
        if value.dim() == 1 and self.members is None:
            self.value = self.value.expand(len(value)).clone()
            self.multiplier = self.multiplier.expand(len(value)).clone()
        self.multiplier.copy_(value)
        self._moved = True

    def _load_from_state_dict(self, *args: object) -> None:
        super()._load_from_state_dict(*args)
        self._moved = bool((self.multiplier != 1).any())

    def _check_multiplier(self, value: object, good: bool) -> None:
        if not good:
            least = "at least 0" if self.minimum == 0 else "more than 0"
            raise ValueError(f"multiplier of {self.name} is {value}; expected finite numbers of {least}")
