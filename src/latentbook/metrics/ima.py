r"""The IMA contrast: how far the columns of a Jacobian are from being orthogonal.

.. math:: c_{\mathrm{IMA}}(f, z) = \sum_k \log \lVert [J_f(z)]_{:k} \rVert - \tfrac12 \log\det J_f(z)^\top J_f(z) \ge 0

It is zero exactly when the columns are orthogonal (Hadamard's inequality). Rotating, reflecting or scaling ``x``,
permuting the latents and stretching each of them alone leave it as it is; a general linear map of ``x`` does not.

Source: L. Gresele, J. von Kügelgen, V. Stimper, B. Schölkopf, M. Besserve, *Independent mechanism analysis, a new
concept?*, NeurIPS 2021.
"""

from __future__ import annotations

from torch import Tensor

from latentbook.jacobian import column_norms, log_abs_det
from latentbook.metrics._matrices import matrices


def ima_contrast(jacobian: Tensor) -> Tensor:
    """The local contrast of every Jacobian, (..., d, k) -> (...), in nats.

    The columns are brought to unit length first, so the scale of a latent cannot spoil the result. What rounding
    leaves below zero becomes zero. The global contrast is the mean over the latents' distribution:
    ``ima_contrast(J).mean(-1)`` for the Jacobians (members, n, d, k) at n draws.

    Args:
        jacobian: J, (..., d, k) with d at least k; the leading axes are batch axes.

    Returns:
        (...). A singular Jacobian (dependent columns, or a column of zeros) has the contrast ``inf``; NaN stays NaN.

    Raises:
        ValueError: if the shape is another.

    Example:
        >>> ima_contrast(torch.tensor([[1.0, 1.0], [0.0, 1.0]]))  # log(2) / 2
        tensor(0.3466)
    """
    jacobian = matrices("jacobian", jacobian)
    largest = jacobian.detach().abs().amax(-2, keepdim=True)
    jacobian = jacobian / largest.where(largest != 0, 1)  # or else the squares of small entries were zero
    norms = column_norms(jacobian)
    unit = jacobian / norms.where(norms != 0, 1)[..., None, :]
    return (-log_abs_det(unit)).clamp(min=0)


def mean_jacobian_contrast(jacobian: Tensor) -> Tensor:
    """The contrast of the *mean* Jacobian, (..., n, d, k) -> (...), in nats: found in print, but not the IMA contrast.

    It is neither a bound nor an estimate of the mean local contrast. Averaging first mixes what the map does at
    different places, so this measure has a floor: the three-dimensional Möbius map of *Embrace the Gap* has a local
    contrast of zero everywhere, and 5.4e-4 here (batches of 64), so that published values around 1e-3 are near the
    floor. Nor does a zero say much: the local contrasts may be large and their causes cancel in the mean.

    Args:
        jacobian: J at n points, (..., n, d, k).

    Raises:
        ValueError: if the shape is another, or n is zero.

    Source: P. Reizinger, L. Gresele, J. Brady et al., *Embrace the Gap: VAEs Perform Independent Mechanism Analysis*,
    NeurIPS 2022; the published code averages first.
    """
    jacobian = matrices("jacobian", jacobian)
    if jacobian.dim() < 3 or not jacobian.shape[-3]:
        raise ValueError(f"jacobian has shape {tuple(jacobian.shape)}; expected (..., n, d, k) with n at least 1")
    return ima_contrast(jacobian.mean(-3))
