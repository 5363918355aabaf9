"""What changes from one class to the next: the conventions of the functions asked for, the constants, the data."""

from __future__ import annotations

import math

import numpy as np

from latentbook.classroom.conventions import ENCODED, NOISES, UNITS, prior_words, spreads

# a variance is taken for a standard deviation, or the other way round
SPREADS = spreads(
    {
        "deviation": "deviation",
        "precision": "precision",
        "variance": "variance.square()",
        "log_variance": "(2 * log_variance).exp()",
    }
)
NOISES = tuple(NOISES[argument] for argument in ("noise_variance", "noise_deviation", "gamma2"))
AXES = (
    {"name": "first", "shape": "(S, n)", "noise": "(S, n, d)", "axis": 0},
    {"name": "last", "shape": "(n, S)", "noise": "(n, S, d)", "axis": 1},
)


def constants(rng: np.random.Generator) -> dict[str, object]:
    """The values that the assignment and its marking may use."""

    def pick(choices: tuple) -> object:
        return choices[int(rng.integers(len(choices)))]

    spread, noise, units, samples = pick(SPREADS), pick(NOISES), pick(UNITS), pick(AXES)
    prior = pick((4, 2, 1))
    unit = math.log(2) if units["name"] == "bits" else 1.0
    mean, variance = pick((0.5, 0.8, 1.2)), pick((0.16, 0.25, 0.36)) * prior
    correlation, weights = pick((0.6, 0.8, 0.96)), pick(((0.0, 2.0), (-1.0, 1.5), (0.5, 3.0)))
    kl = 0.5 * ((variance + mean**2) / prior - 1 - math.log(variance / prior)) / unit
    bound = math.log(sum(math.exp(unit * w) for w in weights) / 2) / unit
    return {
        "spread": spread,
        "noise": noise,
        "units": units,
        "samples": samples,
        **prior_words(prior),
        "warm": {"mean": mean, "spread": round(ENCODED[spread["argument"]](variance), 4), "weights": weights},
        "correlation": correlation,
        "answers": {"kl": kl, "tilt": -0.5 * math.log(1 - correlation**2) / unit, "bound": bound},
        "lengths": pick(((2.0, 0.4), (1.5, 0.3), (2.5, 0.5))),
        "level": pick((10.0, 16.0, 25.0)),
        "first_seed": int(rng.integers(100, 1000)),
    }
