"""What every metric of codes asks of its argument, and the correlations that several of them begin with."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def as_codes(name: str, value: object, *, latents: int = 1) -> tuple[Tensor, Tensor]:
    """Codes (..., n, latents) as float64 on the CPU, and which batch entries are finite throughout, (...).

    Entries that are not, such as a member that diverged, are set to zero; their results are to become NaN.

    Args:
        name: what the error message calls them.
        value: a tensor, an array or nested lists.
        latents: fewest latents that make sense.

    Raises:
        ValueError: for another shape, fewer latents, or no more points than latents.
    """
    codes = as_numbers(name, value)
    if codes.dim() < 2 or 0 in codes.shape:
        raise ValueError(f"{name} has shape {tuple(codes.shape)}; expected (..., n, latents), not empty")
    n, found = codes.shape[-2:]
    if found < latents:
        raise ValueError(f"{name} has {found} latent(s); expected at least {latents}")
    if n <= found:
        raise ValueError(f"{name} has {n} point(s) for {found} latents; expected more points than latents")
    finite = codes.isfinite().all(-1).all(-1)
    return codes.where(finite[..., None, None], 0), finite


def as_numbers(name: str, value: object) -> Tensor:
    """A tensor, array or nested lists as a float64 tensor on the CPU.

    Raises:
        ValueError: if it is something else.
    """
    try:  # lists are read as float64 at once, or Python's numbers would be rounded to float32
        tensor = torch.as_tensor(value, dtype=None if hasattr(value, "dtype") else torch.float64)
        return tensor.detach().to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} is a {type(value).__name__}; expected an array or tensor of numbers") from error


def as_covariance(name: str, value: object, *, latents: int = 1) -> tuple[Tensor, Tensor]:
    """The covariance of codes (..., n, latents), or a covariance itself, (..., latents, latents); and what is finite.

    A square matrix is read as a covariance: codes have more points than latents.

    Raises:
        ValueError: as :func:`as_codes`; for a square matrix that is not symmetric or has a negative eigenvalue.
    """
    matrix = as_numbers(name, value)
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2]:
        codes, finite = as_codes(name, matrix, latents=latents)
        codes = codes - codes[..., :1, :]  # a constant column is zero from here on, without rounding
        codes = codes - codes.mean(-2, keepdim=True)
        return codes.mT @ codes / (codes.shape[-2] - 1), finite
    if matrix.shape[-1] < latents:
        raise ValueError(f"{name} has {matrix.shape[-1]} latent(s); expected at least {latents}")
    finite = matrix.isfinite().all(-1).all(-1)
    matrix = matrix.where(finite[..., None, None], 0)
    scale = matrix.diagonal(dim1=-2, dim2=-1).abs().amax(-1).clamp(min=1e-300)[..., None, None]
    asymmetry = float(((matrix - matrix.mT) / scale).abs().max())
    if asymmetry > 1e-6:
        shape = tuple(matrix.shape)
        raise ValueError(
            f"{name} has shape {shape} and is not symmetric; expected a covariance, since it is square, or codes "
            "(..., n, latents) with more points than latents"
        )
    smallest = float(torch.linalg.eigvalsh((matrix + matrix.mT) / 2 / scale).min())
    if smallest < -1e-6:
        raise ValueError(f"{name} has a negative eigenvalue; expected a covariance, positive semi-definite")
    return (matrix + matrix.mT) / 2, finite


def correlation_of(covariance: Tensor) -> Tensor:
    """Correlations from covariances (..., k, k): ones on the diagonal, zero beside it for a constant."""
    deviation = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    unit = deviation.where(deviation > 0, math.inf)
    correlation = (covariance / unit[..., :, None] / unit[..., None, :]).clamp(-1, 1)
    diagonal = torch.eye(covariance.shape[-1], dtype=torch.bool)
    return correlation.masked_fill(diagonal, 1.0)


def as_mask(subset: object, shape: torch.Size) -> Tensor:
    """Which latents a subset names, bool (..., latents): from a mask, or from indices that hold for all entries.

    Args:
        subset: None (all), truth values (latents,) or (..., latents), or a list of indices.
        shape: (..., latents) of what is indexed.

    Raises:
        ValueError: for indices out of range or named twice, or a mask of another shape.
    """
    latents = shape[-1]
    if subset is None:
        return torch.ones(shape, dtype=torch.bool)
    chosen = torch.as_tensor(subset).detach().cpu()
    if chosen.dtype == torch.bool:
        if chosen.shape not in ((latents,), shape):
            wanted = f"({latents},)" if len(shape) == 1 else f"({latents},) or {tuple(shape)}"
            raise ValueError(f"subset has shape {tuple(chosen.shape)}; expected truth values {wanted}")
        return chosen.expand(shape)
    index = chosen.tolist()
    whole = chosen.dim() == 1 and (not index or not (chosen.is_floating_point() or chosen.is_complex()))
    if not whole or len(set(index)) < len(index) or any(not 0 <= i < latents for i in index):
        raise ValueError(f"subset is {index}; expected different indices from 0 to {latents - 1}, or truth values")
    mask = torch.zeros(latents, dtype=torch.bool)
    mask[chosen.long()] = True
    return mask.expand(shape)


def as_result(value: Tensor) -> float | Tensor:
    """A float where there are no batch axes, else the tensor."""
    return value if value.dim() else float(value)
