"""Conventions that variants of assignments choose between: how a spread, a noise, a unit and a prior are told.

Each is a dictionary of words and of torch code for the templates. A solution written for one does not pass for another.
"""

from __future__ import annotations

import math
from collections.abc import Callable

SPREADS: dict[str, dict[str, str]] = {
    "variance": {
        "name": "variance",
        "plural": "variances",
        "argument": "variance",
        "symbol": r"\sigma_k^2",
        "variance": "variance",
        "encode": "v",
    },
    "deviation": {
        "name": "standard deviation",
        "plural": "standard deviations",
        "argument": "deviation",
        "symbol": r"\sigma_k",
        "variance": "deviation.square()",
        "encode": "v.sqrt()",
    },
    "precision": {
        "name": "precision",
        "plural": "precisions",
        "argument": "precision",
        "symbol": r"1 / \sigma_k^2",
        "variance": "(1 / precision)",
        "encode": "1 / v",
    },
    "log_variance": {
        "name": "log-variance",
        "plural": "log-variances",
        "argument": "log_variance",
        "symbol": r"\log \sigma_k^2",
        "variance": "log_variance.exp()",
        "encode": "v.log()",
    },
}
"""The spread of a diagonal Gaussian, by argument. "variance" is code that reads the argument, "encode" code that
writes it from a tensor v of variances."""

ENCODED: dict[str, Callable[[float], float]] = {
    "variance": lambda v: v,
    "deviation": math.sqrt,
    "precision": lambda v: 1 / v,
    "log_variance": math.log,
}
"""The spread as a number, by argument, from a variance."""

NOISES: dict[str, dict[str, str]] = {
    "gamma2": {
        "name": "precision",
        "argument": "gamma2",
        "symbol": r"\gamma^2",
        "precision": "gamma2",
        "encode": "g",
    },
    "noise_variance": {
        "name": "variance",
        "argument": "noise_variance",
        "symbol": r"\gamma^{-2}",
        "precision": "(1 / noise_variance)",
        "encode": "1 / g",
    },
    "noise_deviation": {
        "name": "standard deviation",
        "argument": "noise_deviation",
        "symbol": r"\gamma^{-1}",
        "precision": "noise_deviation**-2",
        "encode": "g**-0.5",
    },
}
"""The decoder's noise, by argument. "precision" is code that reads it, "encode" code that writes it from a precision
g."""

UNITS: tuple[dict[str, str], ...] = (
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
"""Units of a value. "per" is code behind a value in nats, "open" and "close" are code around a sum of such values."""


def spreads(mistaken: dict[str, str]) -> tuple[dict[str, str], ...]:
    """The spreads in a given order, each with code for what a mistaken solution makes of it.

    Args:
        mistaken: such code by argument, in the order that the choice is to be made in.

    Raises:
        ValueError: for an argument that is none of :data:`SPREADS`.
    """
    unknown = sorted(set(mistaken) - set(SPREADS))
    if unknown:
        raise ValueError(f"mistaken has the arguments {unknown}; expected some of {sorted(SPREADS)}")
    return tuple({**SPREADS[argument], "mistaken": code} for argument, code in mistaken.items())


def prior_words(variance: int) -> dict[str, object]:
    """Code and formulas around the variance of the prior; a variance of one leaves no trace in them.

    Raises:
        ValueError: for another variance than 1, 2 or 4.
    """
    deviations = {1: 1.0, 2: "math.sqrt(2)", 4: 2.0}
    if variance not in deviations:
        raise ValueError(f"variance is {variance!r}; expected one of {sorted(deviations)}")
    deviation, one = deviations[variance], variance == 1
    return {
        "prior": variance,
        "per_prior": "" if one else f" / {variance}",
        "times_prior": "" if one else f"{variance} * ",
        "tex_prior": "" if one else rf"{variance}\, ",
        "tex_identity": "I" if one else f"I/{variance}",
        "tex_precision": "1" if one else f"1/{variance}",
        "prior_deviation": deviation,
        "times_deviation": "" if one else f"{deviation} * ",
    }
