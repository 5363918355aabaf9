"""What changes from one class to the next: the conventions of the functions asked for, the constants, the data."""

from __future__ import annotations

import math

import numpy as np

from latentbook.classroom.conventions import ENCODED, NOISES, UNITS, prior_words, spreads

# a variance v is encoded as if it were a standard deviation, or the other way round
SPREADS = spreads({"log_variance": "v.log() / 2", "deviation": "v", "precision": "v", "variance": "v.sqrt()"})
NOISES = tuple(NOISES[argument] for argument in ("noise_variance", "gamma2", "noise_deviation"))
LAYOUTS = (
    {
        "name": "column",
        "shape": "(n, D, d)",
        "entry": r"J_{jk} = \partial f_j / \partial z_k",
        "sum": "-2",  # the axis of the features
        "flip": "",
        "gram": "J.mT @ J",
    },
    {
        "name": "row",
        "shape": "(n, d, D)",
        "entry": r"J_{kj} = \partial f_j / \partial z_k",
        "sum": "-1",
        "flip": ".mT",
        "gram": "J @ J.mT",
    },
)


def constants(rng: np.random.Generator) -> dict[str, object]:
    """The values that the assignment and its marking may use."""

    def pick(choices: tuple) -> object:
        return choices[int(rng.integers(len(choices)))]

    spread, noise, units, layout = pick(SPREADS), pick(NOISES), pick(UNITS), pick(LAYOUTS)
    prior = pick((1, 2, 4))
    unit = math.log(2) if units["name"] == "bits" else 1.0
    length, level, degrees = pick((0.5, 2.0, 3.0)), pick((50.0, 100.0, 400.0)), pick((30, 45, 60))
    squeeze, stretch = pick((0.35, 0.4, 0.45)), pick((4.0, 3.0, 3.5))
    variance = 1 / (1 / prior + level * length**2)
    return {
        "spread": spread,
        "noise": noise,
        "units": units,
        "layout": layout,
        **prior_words(prior),
        "warm": {"length": length, "level": level, "degrees": degrees},
        "answers": {
            "law": ENCODED[spread["argument"]](variance),
            "contrast": -math.log(math.sin(math.radians(degrees))) / unit,
            "squeezed": math.log((1 + squeeze**2) / (2 * squeeze)) / unit,
        },
        "squeeze": squeeze,
        "stretch": stretch,
        "level": pick((100.0, 120.0, 150.0)),
        "first_seed": int(rng.integers(100, 1000)),
    }
