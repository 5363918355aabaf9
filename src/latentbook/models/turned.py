r"""A VAE that knows its decoder but for a turn of the latents, and has the turn to learn.

.. math:: h_\theta(z) = f(R_\theta z), \qquad q(z|x) = N\big(R_\theta^\top m(x), \operatorname{diag} \sigma^2(x)\big)

Under the prior N(0, I) the likelihood is the same for every angle, so whatever moves :math:`\theta` is the gap. Since
:math:`m` is a network of its own, the posteriors are as free as with any encoder. The rotation in front of it makes the
encoder turn with the decoder; without it, a precise decoder could not turn before the encoder had.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from latentbook.models.encoders import GaussianEncoder
from latentbook.models.fixed import FixedDecoder
from latentbook.models.likelihoods import GaussianLikelihood
from latentbook.models.priors import NormalPrior
from latentbook.models.vae import VAE
from latentbook.nn import MLP, per_member
from latentbook.random import Generator, check_members


class TurnedDecoder(nn.Module):
    """A fixed map of two latents behind a rotation by an angle that is learned.

    Args:
        decode: f, row-wise, (members, n, 2) to (members, n, features); held fixed, see
            :class:`~latentbook.models.FixedDecoder`.
        angle: where the angles start, in radians, (members,).
    """

    def __init__(self, decode: Callable[[Tensor], Tensor], angle: Tensor) -> None:
        super().__init__()
        self.angle = nn.Parameter(angle.detach().clone())
        self.decode = FixedDecoder(decode, members=len(angle))

    def turn(self, z: Tensor) -> Tensor:
        """R z at every row, (members, ..., 2)."""
        return _rotate(z, self.angle)

    def turn_back(self, z: Tensor) -> Tensor:
        """R^T z at every row, (members, ..., 2)."""
        return _rotate(z, -self.angle)

    def forward(self, z: Tensor) -> Tensor:
        """f(R z), (members, ..., 2) to (members, ..., features)."""
        return self.decode(self.turn(z))


class TurnedVAE(VAE):
    r"""A stack of K VAEs with two latents that learn the angle of their decoder, and their encoder, from data.

    Args:
        decode: f, a row-wise map from standard normal latents to the mean of x, (members, n, 2) to
            (members, n, features), such as a mixing.
        angle: where the angles start, in radians, (members,).
        gamma2: the decoder's precision, one number or (members,).
        features: number of features of x.
        hidden: hidden units of the networks for m and :math:`\log \sigma^2`.
        generator: source of their initial weights, one seed a member. The model is made on its device.

    Raises:
        TypeError: if ``generator`` is no Generator.
        ValueError: if ``angle`` is not one floating-point number per seed, or ``gamma2`` does not fit.
    """

    def __init__(
        self,
        decode: Callable[[Tensor], Tensor],
        angle: Tensor,
        gamma2: float | Tensor,
        *,
        features: int = 2,
        hidden: Sequence[int] = (32, 32),
        generator: Generator,
    ) -> None:
        check_members(generator)
        if not angle.is_floating_point() or angle.shape != (generator.members,):
            found = f"{angle.dtype} {tuple(angle.shape)}"
            raise ValueError(f"angle is {found}; expected floating point ({generator.members},), one per seed")
        networks = (MLP((features, *hidden, 2), generator=generator) for _ in range(2))
        encoder, likelihood = GaussianEncoder(*networks), GaussianLikelihood(gamma2)
        encoder.start_log_variance(-(1 + likelihood.gamma2()).log())
        decoder = TurnedDecoder(decode, angle.to(torch.get_default_dtype()))
        super().__init__(encoder, decoder, NormalPrior(2), likelihood)
        self.to(generator.device)

    @property
    def angle(self) -> Tensor:
        """The angles, (members,), in radians."""
        return self.decoder.angle

    def encode(self, x: Tensor, u: Tensor | None = None) -> Normal:
        """The posterior q(z|x), batch shape (members, batch, 2)."""
        posterior = super().encode(x, u)
        return Normal(self.decoder.turn_back(posterior.mean), posterior.stddev, validate_args=False)


def _rotate(z: Tensor, angle: Tensor) -> Tensor:
    cosine, sine = (per_member(value, z.dim() - 1) for value in (angle.cos(), angle.sin()))
    return torch.stack([cosine * z[..., 0] - sine * z[..., 1], sine * z[..., 0] + cosine * z[..., 1]], dim=-1)


__all__ = ["TurnedDecoder", "TurnedVAE"]
