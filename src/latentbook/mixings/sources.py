"""Laws of one source, by name."""

from __future__ import annotations

import math

import torch
from torch.distributions import Distribution, Laplace, Normal, Uniform

Source = str | Distribution

_LAWS = {
    "normal": (Normal, 0.0, 1.0),
    "uniform": (Uniform, -0.5, 0.5),
    "laplace": (Laplace, 0.0, math.sqrt(0.5)),
}


def source_distribution(source: Source) -> Distribution:
    """The law of one source: "normal" N(0, 1), "uniform" on -1/2 to 1/2, "laplace" of unit variance; or itself.

    Raises:
        ValueError: for another name, or a distribution that is not of one number.
    """
    if isinstance(source, Distribution):
        if source.batch_shape or source.event_shape:
            raise ValueError(f"source is {source}; expected a distribution of one number, with no axes")
        return source
    if source not in _LAWS:
        raise ValueError(f"source is {source!r}; expected one of {sorted(_LAWS)} or a torch distribution")
    law, *numbers = _LAWS[source]
    return law(*(torch.tensor(number, dtype=torch.float64) for number in numbers), validate_args=False)
