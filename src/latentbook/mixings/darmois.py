"""The Darmois construction: independent factors for any data whatever, and in general the wrong ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latentbook.jacobian import jacobian
from latentbook.mixings.base import Compose, Inverse, Mixing
from latentbook.mixings.conditional import Conditional, KernelConditional, quadrature_conditional
from latentbook.mixings.linear import Linear
from latentbook.mixings.rotated_gaussian import FromNormal


class Darmois(Mixing):
    r"""The map whose inverse makes any data uniform and independent, by one conditional distribution function a time.

    .. math:: s_i = P(X_i \le x_i \mid x_1, \dots, x_{i-1}) - \tfrac12

    Both directions are triangular, so the contrast is positive wherever two features depend on each other. The sources
    are uniform on -1/2 to 1/2, as those of the other mixings are; ``Compose(FromNormal("uniform"), darmois)`` has
    standard normal ones. The inverse is a formula; the forward direction solves it, coordinate by coordinate.

    Args:
        conditional: gives :math:`P(X_i \le x_i \mid x_1, \dots, x_{i-1})`, (..., n), from the first i coordinates,
            (..., n, i), for every i from 1 to the number of sources. It must increase in the last one.
        lower: below all data, (size,).
        upper: above all data, (size,).

    Raises:
        ValueError: if the limits do not fit; on use, if a source lies outside -1/2 to 1/2.

    Source:
        G. Darmois, *Analyse des liaisons de probabilité*, 1951; A. Hyvärinen and P. Pajunen, *Nonlinear independent
        component analysis: existence and uniqueness results*, 1999; L. Gresele et al., *Independent mechanism analysis,
        a new concept?*, arXiv:2106.05200, for its contrast.
    """

    def __init__(self, conditional: Conditional, lower: Tensor, upper: Tensor) -> None:
        super().__init__()
        lower, upper = self._hold("lower", lower, 1), self._hold("upper", upper, 1)
        if lower.dim() != 1 or lower.shape != upper.shape or not bool((lower < upper).all()):
            raise ValueError(f"lower is {lower.tolist()} and upper {upper.tolist()}; expected (size,), lower below")
        self.size, self.conditional = len(lower), conditional

    @staticmethod
    def gaussian(covariance: Tensor, mean: Tensor | None = None) -> Compose:
        r"""The construction for normal data in closed form.

        .. math:: x = m + L\, \Phi^{-1}(s + \tfrac12), \qquad L L^\top = C, \quad L \text{ lower triangular}

        For two features of correlation :math:`\rho` its contrast is
        :math:`\tfrac12 \log(1 + \rho^2 \sigma_2^2 / \sigma_1^2)` everywhere.

        Args:
            covariance: C, (size, size) or (members, size, size).
            mean: m, (size,) or (members, size); zero when None.

        Raises:
            ValueError: if ``covariance`` is not symmetric and positive definite.
        """
        covariance = covariance if isinstance(covariance, Tensor) else torch.tensor(covariance, dtype=torch.float64)
        factor, info = torch.linalg.cholesky_ex(covariance)
        if bool(info.any()) or not torch.allclose(covariance, covariance.mT):
            raise ValueError(f"covariance is {covariance.tolist()}; expected it symmetric and positive definite")
        return Compose(Inverse(FromNormal("uniform")), Linear(factor, mean))

    @classmethod
    def from_samples(cls, samples: Tensor, bandwidth: Tensor | None = None) -> Darmois:
        r"""The construction for a kernel density estimate of some samples.

        .. math:: P(X_i \le x_i \mid x_{<i}) = \sum_j w_j(x_{<i})\, \Phi\Bigl(\frac{x_i - x_i^{(j)}}{h_i}\Bigr), \quad
            w_j \propto \prod_{l<i} \varphi\Bigl(\frac{x_l - x_l^{(j)}}{h_l}\Bigr)

        It is exact for the estimate, which is wider than the data by the bandwidth. Time and memory grow with the
        number of rows times that of samples.

        Args:
            samples: (count, size) or (members, count, size).
            bandwidth: h, (size,) or (members, size); by default the standard deviation times
                :math:`(4 / ((d + 2) N))^{1/(d + 4)}`, best for N normal samples.

        Raises:
            ValueError: if there are fewer than two samples, one is not finite, or a bandwidth is not positive.
        """
        if samples.dim() not in (2, 3) or samples.shape[-2] < 2 or not bool(torch.isfinite(samples).all()):
            raise ValueError(f"samples is {tuple(samples.shape)}; expected finite (count, size), count at least 2")
        count, size = samples.shape[-2:]
        if bandwidth is None:
            bandwidth = samples.std(-2) * (4 / ((size + 2) * count)) ** (1 / (size + 4))
        if bandwidth.shape not in (samples.shape[-1:], samples.mean(-2).shape) or not bool((bandwidth > 0).all()):
            raise ValueError(f"bandwidth is {bandwidth.tolist()}; expected one positive number per feature")
        flat, margin = samples.flatten(0, -2), 9 * bandwidth.reshape(-1, size).amax(0)
        return cls(KernelConditional(samples, bandwidth), flat.amin(0) - margin, flat.amax(0) + margin)

    @classmethod
    def from_density(
        cls, log_density: Callable[[Tensor], Tensor], lower: Tensor, upper: Tensor, *, nodes: int = 48
    ) -> Darmois:
        """The construction for a known density, by quadrature on a box.

        The density must be smooth on the box and negligible outside; it need not be normalised. A row of ``inverse``
        takes ``2 * nodes ** size`` evaluations of the density, and one of ``forward`` or ``jacobian`` some ten times
        as many: meant for two features, bearable for three.

        Args:
            log_density: log-density of every row, (..., size) to (...), such as ``mixing.log_prob``.
            lower: lower ends of the box, (size,).
            upper: upper ends of the box, (size,).
            nodes: of the Gauss-Legendre rule for each axis.

        Raises:
            ValueError: if the limits do not fit or there are fewer than two nodes.
        """
        if nodes < 2:
            raise ValueError(f"nodes is {nodes}; expected at least 2")
        lower, upper = (torch.as_tensor(end, dtype=torch.float64) for end in (lower, upper))
        return cls(quadrature_conditional(log_density, lower, upper, nodes), lower, upper)

    def inverse(self, x: Tensor) -> Tensor:
        """The conditional distribution functions, less 1/2."""
        x = self._rows("x", x)
        if x.dim() == 1:
            return self.inverse(x[None])[0]
        return torch.stack([self.conditional(x[..., : i + 1]) for i in range(self.size)], dim=-1) - 0.5

    def forward(self, s: Tensor) -> Tensor:
        """The data whose conditional distribution functions are ``s`` + 1/2."""
        s = self._rows("s", s)
        if s.dim() == 1:
            return self.forward(s[None])[0]
        if bool((s.abs() >= 0.5).any()):
            raise ValueError(f"s holds {float(s.abs().max()):.6g} in size; expected sources between -1/2 and 1/2")
        x = s[..., :0]
        for i in range(self.size):
            x = torch.cat([x, self._solve(x, s[..., i] + 0.5, i)[..., None]], dim=-1)
        return x

    def jacobian(self, s: Tensor) -> Tensor:
        """The inverse of the triangular Jacobian of ``inverse``, (..., size, size)."""
        return torch.linalg.inv(jacobian(self.inverse, self.forward(s)))

    def _solve(self, before: Tensor, target: Tensor, i: int) -> Tensor:
        """The next coordinate, by Newton steps on the log-odds, kept inside a shrinking bracket."""
        goal, fixed = target.detach(), before.detach()
        low, high = self.lower[i].to(goal).expand_as(goal), self.upper[i].to(goal).expand_as(goal)
        z, precision = (low + high) / 2, torch.finfo(goal.dtype).eps ** 0.6
        for _ in range(100):
            value, slope = self._conditional_at(fixed, z)
            low, high = torch.where(value < goal, z, low), torch.where(value < goal, high, z)
            step = z - (value.logit() - goal.logit()) * value * (1 - value) / slope
            step = torch.where((step >= low) & (step <= high), step, (low + high) / 2)
            moved, z = (step - z).abs(), step
            if bool((moved <= precision * (1 + z.abs())).all()):
                break
        value, slope = self._conditional_at(before, z)
        return z - (value - target) / slope

    def _conditional_at(self, before: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The conditional distribution function of the next coordinate at z, and its slope."""

        def function(z: Tensor) -> Tensor:
            return self.conditional(torch.cat([before, z[..., None]], dim=-1))

        return torch.func.jvp(function, (z,), (torch.ones_like(z),))
