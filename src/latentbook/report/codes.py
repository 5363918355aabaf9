"""Codes from anywhere, and the columns of them that are worth keeping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentbook.metrics._codes import as_numbers


@dataclass(frozen=True, eq=False)
class Codes:
    """Posterior means and variances as arrays, from a model of any library.

    Args:
        means: (n, latents), or (members, n, latents) for several seeds.
        variances: the same shape, relative to the prior's where that is not standard normal; None for codes without
            a posterior, such as those of an autoencoder.

    Attributes:
        means: float64 tensor (members, n, latents), on the CPU.
        variances: the same, or None.

    Raises:
        ValueError: for other shapes, variances that are not positive, or values that are not finite.

    Example:
        ``report(Codes(means, variances), factors=labels).table`` says what your model has learned.
    """

    means: Tensor
    variances: Tensor | None = None

    def __post_init__(self) -> None:
        means = as_numbers("means", self.means)
        if means.dim() not in (2, 3) or 0 in means.shape:
            raise ValueError(f"means has shape {tuple(means.shape)}; expected (n, latents) or (members, n, latents)")
        if not bool(means.isfinite().all()):
            raise ValueError("means holds NaN or infinity; expected finite numbers, and diverged members left out")
        object.__setattr__(self, "means", means.reshape(-1, *means.shape[-2:]))
        if self.variances is None:
            return
        variances = as_numbers("variances", self.variances)
        if variances.shape != means.shape:
            shapes = f"variances has shape {tuple(variances.shape)}"
            raise ValueError(f"{shapes}; expected {tuple(means.shape)}, as means has")
        if not bool(((variances > 0) & variances.isfinite()).all()):
            raise ValueError("variances holds values that are not positive and finite; expected sigma^2, no logarithms")
        object.__setattr__(self, "variances", variances.reshape(-1, *variances.shape[-2:]))

    def __len__(self) -> int:
        return self.means.shape[1]


def select(codes: Tensor, roles: Sequence, keep: str | Sequence[str] = ("active", "mixed")) -> Tensor | list[Tensor]:
    """The columns of codes whose latents have one of the roles: passive ones dropped, by default.

    Args:
        codes: means or samples, a tensor or array, (n, latents) or (members, n, latents).
        roles: what :func:`~latentbook.metrics.latent_roles` says of them, or another criterion: a word per latent; a
            list of such lists where there are members.
        keep: the role, or roles, to keep.

    Returns:
        (n, kept) for (n, latents). Members keep different numbers, so for (members, n, latents) a list with one entry
        per member. There may be nothing left: (n, 0).

    Raises:
        ValueError: if roles and codes do not fit, or no latent of any member could have the role ``keep``.
    """
    words = np.asarray(roles)
    codes = codes if hasattr(codes, "shape") else torch.as_tensor(codes)
    wanted = (codes.shape[-1],) if len(codes.shape) == 2 else (*codes.shape[:1], *codes.shape[-1:])
    if len(codes.shape) not in (2, 3) or words.shape != wanted or words.dtype.kind != "U":
        shapes = f"codes has shape {tuple(codes.shape)} and roles {words.shape}"
        raise ValueError(f"{shapes}; expected (n, latents) and a word per latent, or one more axis first in both")
    keep = (keep,) if isinstance(keep, str) else tuple(keep)
    unknown = set(keep) - {"active", "passive", "mixed", "intermediate"}
    if unknown or not keep:
        raise ValueError(f"keep is {list(keep)}; expected some of 'active', 'mixed', 'passive' and 'intermediate'")
    mask = np.isin(words, keep)
    if mask.ndim == 1:
        return codes[:, mask]
    return [member[:, chosen] for member, chosen in zip(codes, mask, strict=True)]


__all__ = ["Codes", "select"]
