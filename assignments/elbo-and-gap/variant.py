"""What changes from one class to the next: the conventions of the functions asked for, the constants, the data."""

from __future__ import annotations

import math

import numpy as np

# `variance` reads the argument, `encode` writes it from the variance v, `mistaken` takes it for what it is not
SPREADS = (
    {
        "name": "standard deviation",
        "plural": "standard deviations",
        "argument": "deviation",
        "symbol": r"\sigma_k",
        "variance": "deviation.square()",
        "mistaken": "deviation",
        "encode": "v.sqrt()",
    },
    {
        "name": "precision",
        "plural": "precisions",
        "argument": "precision",
        "symbol": r"1 / \sigma_k^2",
        "variance": "(1 / precision)",
        "mistaken": "precision",
        "encode": "1 / v",
    },
    {
        "name": "variance",
        "plural": "variances",
        "argument": "variance",
        "symbol": r"\sigma_k^2",
        "variance": "variance",
        "mistaken": "variance.square()",
        "encode": "v",
    },
    {
        "name": "log-variance",
        "plural": "log-variances",
        "argument": "log_variance",
        "symbol": r"\log \sigma_k^2",
        "variance": "log_variance.exp()",
        "mistaken": "(2 * log_variance).exp()",
        "encode": "v.log()",
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
    {
        "name": "standard deviation",
        "argument": "noise_deviation",
        "symbol": r"\gamma^{-1}",
        "precision": "noise_deviation**-2",
        "encode": "g**-0.5",
    },
    {"name": "precision", "argument": "gamma2", "symbol": r"\gamma^2", "precision": "gamma2", "encode": "g"},
)
UNITS = (
    {"name": "nats", "here": "", "per": "", "to_nats": "", "open": "", "close": "", "exp": "log_w.exp()"},
    {
        "name": "bits",
        "here": ", in bits",
        "per": " / math.log(2)",
        "to_nats": " * math.log(2)",
        "open": "(",
        "close": ") / math.log(2)",
        "exp": "log_w.exp2()",
    },
)
AXES = (
    {"name": "first", "shape": "(S, n)", "noise": "(S, n, d)", "axis": 0},
    {"name": "last", "shape": "(n, S)", "noise": "(n, S, d)", "axis": 1},
)
ENCODED = {"variance": lambda v: v, "deviation": math.sqrt, "precision": lambda v: 1 / v, "log_variance": math.log}


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
    # code, as what is made of it below: a prior of variance 1 leaves no trace
    deviation = {1: 1.0, 2: "math.sqrt(2)", 4: 2.0}[prior]
    return {
        "spread": spread,
        "noise": noise,
        "units": units,
        "samples": samples,
        "prior": prior,
        "per_prior": "" if prior == 1 else f" / {prior}",
        "times_prior": "" if prior == 1 else f"{prior} * ",
        "tex_prior": "" if prior == 1 else rf"{prior}\, ",
        "tex_identity": "I" if prior == 1 else f"I/{prior}",
        "prior_deviation": deviation,
        "times_deviation": "" if prior == 1 else f"{deviation} * ",
        "warm": {"mean": mean, "spread": round(ENCODED[spread["argument"]](variance), 4), "weights": weights},
        "correlation": correlation,
        "answers": {"kl": kl, "tilt": -0.5 * math.log(1 - correlation**2) / unit, "bound": bound},
        "lengths": pick(((2.0, 0.4), (1.5, 0.3), (2.5, 0.5))),
        "level": pick((10.0, 16.0, 25.0)),
        "first_seed": int(rng.integers(100, 1000)),
    }
