r"""Jacobians of row-wise functions, all rows of a batch at once.

A function here maps every row of its argument by itself, :math:`f: \mathbb R^k \to \mathbb R^d` applied along the last
axis, as decoders, mixings and flows do. Then one forward-mode product gives one column of every row's Jacobian, and
k of them give all of it, for a batch and for a stack of members alike. The results are differentiable in their turn.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

RowWise = Callable[[Tensor], Tensor]


def jacobian(function: RowWise, z: Tensor) -> Tensor:
    r"""The Jacobian of a row-wise function at every row of ``z``.

    .. math:: [J_f(z)]_{jk} = \partial f_j / \partial z_k

    Args:
        function: maps (..., k) to (..., d), each row by itself; it may put a members axis in front. A function that
            mixes rows, such as batch normalisation, is not seen to do so and gets a wrong answer.
        z: where, floating point (..., k).

    Returns:
        (..., d, k); columns say how the output moves when one input moves.

    Raises:
        ValueError: if ``z`` is not floating point, or ``function`` does not keep the rows of ``z``.

    Example:
        >>> jacobian(lambda z: torch.stack([z[..., 0] * z[..., 1], z[..., 1]], -1), torch.tensor([[2.0, 3.0]])).tolist()
        [[[3.0, 2.0], [0.0, 1.0]]]
    """
    _check_floating("z", z)
    columns, z = [], z.contiguous()
    for axis in torch.eye(z.shape[-1], dtype=z.dtype, device=z.device):
        value, column = torch.func.jvp(function, (z,), (axis.expand_as(z),))
        _check_rows(value, z)
        columns.append(column)
    return torch.stack(columns, dim=-1)


def _check_floating(name: str, value: Tensor) -> None:
    if not isinstance(value, Tensor) or not value.is_floating_point() or not value.dim():
        kind = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{name} is {kind}; expected a floating-point tensor (..., k)")


def _check_rows(value: Tensor, z: Tensor) -> None:
    rows = z.shape[:-1]
    if value.dim() < z.dim() or value.shape[value.dim() - z.dim() : -1] != rows:
        raise ValueError(
            f"function maps {tuple(z.shape)} to {tuple(value.shape)}; expected a row-wise one, (..., k) to (..., d)"
        )


def column_norms(J: Tensor) -> Tensor:
    r"""Lengths of the columns, :math:`\lVert [J]_{:k} \rVert`: (..., d, k) to (..., k)."""
    return torch.linalg.vector_norm(_as_matrices(J), dim=-2)


def log_abs_det(J: Tensor) -> Tensor:
    r"""Log-volume by which a map with Jacobian J stretches, :math:`\tfrac12 \log\det J^\top J`: (..., d, k) to (...).

    For a square J this is :math:`\log|\det J|`. A singular J gives minus infinity; one that is singular only up to
    rounding gives a large negative number, since rounding cannot be told from truth.

    Raises:
        ValueError: if J has fewer rows than columns, so that no such map is one-to-one.
    """
    rows, columns = _as_matrices(J).shape[-2:]
    if rows < columns:
        raise ValueError(f"J has shape {tuple(J.shape)}; expected (..., d, k) with d at least k")
    if rows == columns:
        return torch.linalg.slogdet(J).logabsdet
    return torch.linalg.qr(J).R.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)


def _as_matrices(J: Tensor) -> Tensor:
    if J.dim() < 2:
        raise ValueError(f"J has shape {tuple(J.shape)}; expected (..., d, k)")
    return J


@torch.no_grad()
def invert(function: RowWise, x: Tensor, start: Tensor, *, steps: int = 50, tolerance: float | None = None) -> Tensor:
    r"""Solve :math:`f(z) = x` for every row by a damped Newton method, in the least-squares sense where d > k.

    A row's step is halved until it brings f(z) closer to x, and doubled again, up to the full step, when it has. The
    method is local: with several solutions, it finds one near the start. Where d > k it is the Gauss-Newton method: it
    finds the closest f(z) for an x near the surface that f spans, and may fail for one far from it.

    Args:
        function: row-wise, (..., k) to (..., d), d at least k.
        x: targets, (..., d).
        start: where to begin, (..., k); without the members axis that ``function`` or ``x`` has, shared by all members.
        steps: most evaluations of the function and its Jacobian.
        tolerance: a row has converged when its full step is shorter than this times :math:`1 + \lVert z \rVert`; by
            default the machine's precision to the power 2/3, 4e-11 in float64.

    Returns:
        z, (..., k), without a gradient. **Rows that did not converge hold NaN.**

    Raises:
        ValueError: if ``start`` is not floating point, shapes do not fit, or a number is not positive.
    """
    _check_floating("start", start)
    tolerance = torch.finfo(start.dtype).eps ** (2 / 3) if tolerance is None else tolerance
    if steps < 1 or not tolerance > 0:
        raise ValueError(f"steps is {steps} and tolerance is {tolerance}; expected positive numbers")
    value = function(start)
    if value.shape[-1] != x.shape[-1] or x.shape[-1] < start.shape[-1]:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and start {tuple(start.shape)}, which function maps to "
            f"{tuple(value.shape)}; expected (..., d) and (..., k), d at least k"
        )
    rows = torch.broadcast_shapes(value.shape[:-1], x.shape[:-1])
    z = start.expand(*rows, start.shape[-1]).clone()
    best, step = z.clone(), torch.zeros_like(z)
    error = z.new_full(rows, torch.inf)
    rounding = 10 * torch.finfo(z.dtype).eps * (1 + torch.linalg.vector_norm(x, dim=-1))
    damping, done = z.new_ones(rows), torch.zeros(rows, dtype=torch.bool, device=z.device)
    for _ in range(steps):
        residual = function(z) - x
        size = torch.linalg.vector_norm(residual, dim=-1)
        closer = (size < error + rounding) & ~done
        best = torch.where(closer[..., None], z, best)
        error = torch.where(closer, size, error)
        step = torch.where(closer[..., None], _full_step(jacobian(function, z), residual), step)
        damping = torch.where(closer, 2 * damping, damping / 2).clamp(max=1)
        length, scale = torch.linalg.vector_norm(step, dim=-1), 1 + torch.linalg.vector_norm(best, dim=-1)
        arrived = closer & (length <= tolerance * scale)
        best = torch.where(arrived[..., None], best - step, best)
        done |= arrived
        if bool(done.all()):
            break
        z = torch.where(done[..., None], best, best - damping[..., None] * step)
    return torch.where(done[..., None], best, torch.nan)


def _full_step(J: Tensor, residual: Tensor) -> Tensor:
    """The Newton or Gauss-Newton step, (..., k); not finite where J is singular."""
    if J.shape[-2] == J.shape[-1]:
        return torch.linalg.solve_ex(J, residual[..., None]).result[..., 0]
    q, r = torch.linalg.qr(J)
    return torch.linalg.solve_triangular(r, q.mT @ residual[..., None], upper=True)[..., 0]


__all__ = ["jacobian", "column_norms", "log_abs_det", "invert"]
