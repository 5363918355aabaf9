"""What changes from one class to the next: the conventions of the functions asked for, the constants, the data."""

from __future__ import annotations

import math

import numpy as np

# `encode` writes a variance v, `mistaken` takes a standard deviation for what is asked, or the other way round
SPREADS = (
    {
        "name": "log-variance",
        "plural": "log-variances",
        "argument": "log_variance",
        "symbol": r"\log \sigma_k^2",
        "encode": "v.log()",
        "mistaken": "v.log() / 2",
    },
    {
        "name": "standard deviation",
        "plural": "standard deviations",
        "argument": "deviation",
        "symbol": r"\sigma_k",
        "encode": "v.sqrt()",
        "mistaken": "v",
    },
    {
        "name": "precision",
        "plural": "precisions",
        "argument": "precision",
        "symbol": r"1 / \sigma_k^2",
        "encode": "1 / v",
        "mistaken": "v",
    },
    {
        "name": "variance",
        "plural": "variances",
        "argument": "variance",
        "symbol": r"\sigma_k^2",
        "encode": "v",
        "mistaken": "v.sqrt()",
    },
)
NOISES = (
    {
        "name": "variance",
        "argument": "noise_variance",
        "symbol": r"\gamma^{-2}",
        "precision": "(1 / noise_variance)",
        "encode": "1 / g",
    },
    {"name": "precision", "argument": "gamma2", "symbol": r"\gamma^2", "precision": "gamma2", "encode": "g"},
    {
        "name": "standard deviation",
        "argument": "noise_deviation",
        "symbol": r"\gamma^{-1}",
        "precision": "noise_deviation**-2",
        "encode": "g**-0.5",
    },
)
UNITS = (
    {"name": "nats", "per": "", "open": "", "close": ""},
    {"name": "bits", "per": " / math.log(2)", "open": "(", "close": ") / math.log(2)"},
)
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
    encoded = {
        "variance": variance,
        "deviation": math.sqrt(variance),
        "precision": 1 / variance,
        "log_variance": math.log(variance),
    }
    # code, as what is made of it below: a prior of variance 1 leaves no trace
    deviation = {1: 1.0, 2: "math.sqrt(2)", 4: 2.0}[prior]
    return {
        "spread": spread,
        "noise": noise,
        "units": units,
        "layout": layout,
        "prior": prior,
        "per_prior": "" if prior == 1 else f" / {prior}",
        "times_prior": "" if prior == 1 else f"{prior} * ",
        "tex_prior": "" if prior == 1 else rf"{prior}\, ",
        "tex_precision": "1" if prior == 1 else f"1/{prior}",
        "prior_deviation": deviation,
        "times_deviation": "" if prior == 1 else f"{deviation} * ",
        "warm": {"length": length, "level": level, "degrees": degrees},
        "answers": {
            "law": encoded[spread["argument"]],
            "contrast": -math.log(math.sin(math.radians(degrees))) / unit,
            "squeezed": math.log((1 + squeeze**2) / (2 * squeeze)) / unit,
        },
        "squeeze": squeeze,
        "stretch": stretch,
        "level": pick((100.0, 120.0, 150.0)),
        "first_seed": int(rng.integers(100, 1000)),
    }
