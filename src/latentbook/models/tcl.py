r"""Time-contrastive learning: classify segments, and find the sources in the classifier's features.

Let the sources be independent given the segment u, with densities :math:`p(s_i | u) \propto
\exp(q(s_i)\, \lambda_i(u))` up to a base that does not depend on u. Then the log-odds of two segments are *linear* in
the q(s_i), and so the features of a perfect linear classifier of segments are a linear map of them; linear ICA undoes
that map. With Gaussian sources whose variances change, :math:`q(s) = s^2`; with Laplace sources, :math:`|s|`.

Source: A. Hyvärinen, H. Morioka, *Unsupervised Feature Extraction by Time-Contrastive Learning and Nonlinear ICA*,
NIPS 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from latentbook.models.assembly import check_data, check_sizes
from latentbook.models.fast_ica import fast_ica
from latentbook.nn import Affine, Linear, activation_module
from latentbook.random import Generator, check_members

FEATURES = {"abs": torch.abs, "square": torch.square, "identity": lambda h: h}


class Maxout(nn.Module):
    """K affine layers whose units are the largest of several affine maps.

    Args:
        inputs: size of the input.
        outputs: number of units.
        pieces: affine maps of which a unit takes the largest.
        generator: source of the initial weights, one seed a member.

    Source: I. Goodfellow, D. Warde-Farley, M. Mirza, A. Courville, Y. Bengio, *Maxout Networks*, ICML 2013.
    """

    def __init__(self, inputs: int, outputs: int, pieces: int = 2, *, generator: Generator) -> None:
        super().__init__()
        self.linear, self.pieces = Linear(inputs, outputs * pieces, generator=generator), pieces

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs) or (members, ..., inputs) to (members, ..., outputs)."""
        return self.linear(x).unflatten(-1, (-1, self.pieces)).amax(-1)


class TCL(nn.Module):
    """K classifiers of segments: a network of features, and a linear layer that gives the logits.

    Hidden layers of maxout units with two maps each are those of the published code. It puts the absolute value on the
    features, which suits Laplace sources; the default here is the square, which suits Gaussian ones. Train it with
    :class:`latentbook.objectives.SegmentCrossEntropy`.

    Args:
        data_size: number of features of x.
        latent_size: number of features that the last layer sees, one for each source.
        segments: number of segments, at least 2.
        hidden: hidden units.
        activation: "maxout", or one that :class:`latentbook.nn.MLP` takes.
        feature: what is applied to the network's outputs: "square", "abs" or "identity".
        data: data (n, data_size), or (members, n, data_size) where each member has data of its own, from which a fixed
            whitening layer is computed.
        whiten: "zca", "standardise" or None (no such layer).
        generator: source of the initial weights, one seed a member. The model is made on its device.

    Raises:
        ValueError, TypeError: for sizes, names or data that are not valid or do not fit together.
    """

    def __init__(
        self,
        data_size: int,
        latent_size: int,
        segments: int,
        *,
        hidden: Sequence[int] = (32, 32),
        activation: str = "maxout",
        feature: str = "square",
        data: Tensor | None = None,
        whiten: str | None = "zca",
        generator: Generator,
    ) -> None:
        super().__init__()
        check_members(generator)
        check_sizes(data_size=data_size, latent_size=latent_size, hidden=hidden)
        if isinstance(segments, bool) or not hasattr(segments, "__index__") or segments < 2:
            raise ValueError(f"segments is {segments!r}; expected at least 2 to tell apart")
        if feature not in FEATURES:
            raise ValueError(f"feature is {feature!r}; expected one of {sorted(FEATURES)}")
        data = check_data(data, data_size, None, generator)
        self.segments, self.feature = int(segments), feature
        self.whiten = None if data is None or whiten is None else Affine.whiten(data, method=whiten)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((data_size, *hidden)):
            if activation == "maxout":
                layers.append(Maxout(inputs, outputs, generator=generator))
            else:
                layers += [Linear(inputs, outputs, generator=generator), activation_module(activation)]
        self.network = nn.Sequential(*layers, Linear((data_size, *hidden)[-1], latent_size, generator=generator))
        self.classifier = Linear(latent_size, self.segments, generator=generator)

    @property
    def members(self) -> int:
        """Number of members K."""
        return len(self.classifier.weight)

    def features(self, x: Tensor) -> Tensor:
        """What the linear classifier sees of x (n, data_size) or (members, n, data_size): (members, n, latents)."""
        x = x.to(self.classifier.weight.device)
        return FEATURES[self.feature](self.network(x if self.whiten is None else self.whiten(x)))

    def forward(self, x: Tensor) -> Tensor:
        """The logits of the segments, (members, n, segments)."""
        return self.classifier(self.features(x))

    @torch.no_grad()
    def components(self, x: Tensor, *, seed: int = 0) -> Tensor:
        """The independent components of the features, (members, n, latents), float64: estimates of the q(s_i).

        They are to be compared with :math:`s^2` or :math:`|s|`, not with s: whatever the segments change about a source
        that is symmetric at zero, its sign stays unknown.

        Args:
            x: data, (n, data_size) or (members, n, data_size), more points than latents.
            seed: of :func:`latentbook.models.fast_ica`.
        """
        return fast_ica(self.features(x), seed=seed)


__all__ = ["TCL", "Maxout"]
