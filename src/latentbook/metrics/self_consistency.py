r"""Self-consistency: at the optimum of the ELBO the encoder inverts the decoder, and its variances follow from it.

Source: P. Reizinger, L. Gresele, J. Brady et al., *Embrace the Gap: VAEs Perform Independent Mechanism Analysis*,
NeurIPS 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latentbook.jacobian import column_norms
from latentbook.metrics._matrices import matrices
from latentbook.nn import per_member


def predicted_variance(jacobian: Tensor, gamma2: float | Tensor, curvature: float | Tensor = 1.0) -> Tensor:
    r"""The posterior variances that the decoder's Jacobian predicts, (..., d, k) -> (..., k).

    .. math:: \sigma_k^2 = \Big( -n''(\mu_k) + \gamma^2 \lVert [J_f(\mu)]_{:k} \rVert^2 \Big)^{-1}

    with :math:`n = \log m` the log-density of one latent under the prior. It is exact for a linear decoder with a
    normal prior, and the limit of large :math:`\gamma^2` for smooth invertible decoders.

    Args:
        jacobian: of the decoder at the posterior means (or at the inverse of x), (..., d, k).
        gamma2: the decoder's precision; one number, or one per member, (members,), the leading axis of ``jacobian``.
        curvature: :math:`-n''`, 1 for the standard normal prior; a number or a tensor that broadcasts to (..., k).

    Raises:
        ValueError: if a shape does not fit, or ``gamma2`` is negative or NaN.
    """
    jacobian = matrices("jacobian", jacobian)
    gamma2 = torch.as_tensor(gamma2, dtype=jacobian.dtype, device=jacobian.device)
    if gamma2.dim() > 1 or (gamma2.dim() and (jacobian.dim() < 3 or len(gamma2) not in (1, len(jacobian)))):
        found, wanted = tuple(gamma2.shape), tuple(jacobian.shape)
        raise ValueError(f"gamma2 has shape {found}; expected one number or (members,), as in jacobian {wanted}")
    if not bool((gamma2 >= 0).all()):
        raise ValueError(f"gamma2 is {gamma2.tolist()}; expected precisions of at least 0")
    squared = column_norms(jacobian).square()
    return (curvature + per_member(gamma2, squared.dim()) * squared).reciprocal()
