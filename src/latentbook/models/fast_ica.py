"""FastICA for a stack of data sets: scikit-learn's, in double precision."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.decomposition import FastICA
from torch import Tensor


def fast_ica(
    x: Tensor, *, seed: int = 0, function: str = "logcosh", iterations: int = 500, tolerance: float = 1e-3
) -> Tensor:
    """The independent components of every data set, by linear ICA, (..., n, features) -> (..., n, features).

    Everything is computed in float64 whatever the type of ``x``: on data that are white already, FastICA in single
    precision may stop at a wrong answer without saying so.

    Args:
        x: data, (..., n, features); the leading axes are batch axes, such as the members of a stack.
        seed: of the random starts, the same for every data set.
        function: the contrast, scikit-learn's ``fun``: "logcosh", "exp" or "cube".
        iterations: most steps; scikit-learn warns where they did not suffice.
        tolerance: change of the unmixing matrix at which to stop.

    Returns:
        Components of zero mean and unit variance, in any order and with any signs, float64, on the CPU. NaN for a data
        set that is not finite, as the features of a member that diverged.

    Raises:
        ValueError: if ``x`` has fewer than two axes or no more points than features, or a data set has linearly
            dependent features: then there are fewer components than asked for.

    Source: A. Hyvärinen, *Fast and robust fixed-point algorithms for independent component analysis*, IEEE Transactions
    on Neural Networks 1999.
    """
    x = torch.as_tensor(x).detach().to("cpu", torch.float64)
    if x.dim() < 2 or not 1 <= x.shape[-1] < x.shape[-2]:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (..., n, features) with more points than features")
    flat = x.reshape(-1, *x.shape[-2:])
    components = torch.full_like(flat, torch.nan)
    options = {"fun": function, "max_iter": iterations, "tol": tolerance, "random_state": seed}
    for number, data in enumerate(flat):
        if not bool(data.isfinite().all()):
            continue
        scaled = (data - data.mean(0)) / data.std(0, correction=0).clamp(min=torch.finfo(data.dtype).tiny)
        rank = int(torch.linalg.matrix_rank(scaled, rtol=1e-7))
        if rank < data.shape[1]:
            raise ValueError(f"data set {number} of x has rank {rank}; expected {data.shape[1]}, as it has features")
        method = FastICA(whiten="unit-variance", **options)
        components[number] = torch.from_numpy(np.ascontiguousarray(method.fit_transform(scaled.numpy())))
    return components.view_as(x)


__all__ = ["fast_ica"]
