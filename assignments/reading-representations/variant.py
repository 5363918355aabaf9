"""What a year of this assignment chooses: spreads, layouts, units, the prior's variance, thresholds, the experiment."""

from __future__ import annotations

import math

import numpy as np

_SPREADS = {
    "deviation": ("standard deviations", "deviation", "deviation**2"),
    "variance": ("variances", "variance**0.5", "variance"),
    "log_variance": ("log-variances", "np.exp(log_variance / 2)", "np.exp(log_variance)"),
}
_WRONG = {
    "deviation": ("deviation**0.5", "deviation"),
    "variance": ("variance", "variance**2"),
    "log_variance": ("np.exp(log_variance)", "np.exp(2 * log_variance)"),
}
_FROM = {"deviation": "np.sqrt({})", "variance": "{}", "log_variance": "np.log({})"}
_TORCH = {"deviation": "posterior.stddev", "variance": "posterior.variance", "log_variance": "posterior.variance.log()"}


def constants(rng: np.random.Generator) -> dict[str, object]:
    """What << >> may use."""
    spread = str(rng.choice(list(_SPREADS)))
    words, deviation, variance = _SPREADS[spread]
    bits, columns, factors_first = (bool(value) for value in rng.integers(2, size=3))
    sharp, off, steady = [(0.1, 0.1, 0.1), (0.2, 0.1, 0.05), (0.1, 0.2, 0.08)][rng.integers(3)]
    prior = float(rng.choice([0.5, 2.0, 4.0]))
    cases = int(rng.choice([3, 4, 6]))
    reliability = float(rng.choice([0.2, 0.25, 0.5]))
    counted, each = (bool(value) for value in rng.integers(2, size=2))
    return {
        "counted": counted,
        "given": "counts" if counted else "a, b",
        "given_says": (
            "from a table of counts, a row for each value of the one, a column for each value of the other"
            if counted
            else "of two integer arrays of the same length, from their counts"
        ),
        "of": lambda a, b: f"information(counts_of({a}, {b}))" if counted else f"information({a}, {b})",
        "each": each,
        "gap_says": "the gaps of all factors, an array (factors,)" if each else "their mean over factors, a number",
        "mean": "" if each else ".mean()",
        "averaged": "np.average" if each else "float",
        "spread": spread,
        "spread_words": words,
        "deviation": deviation,
        "variance": variance,
        "wrong_deviation": _WRONG[spread][0],
        "wrong_variance": _WRONG[spread][1],
        "from_variance": _FROM[spread].format,
        "from_posterior": _TORCH[spread],
        "bits": bits,
        "unit": "bits" if bits else "nats",
        "per_unit": " / math.log(2)" if bits else "",
        "columns": columns,
        "layout": "(latents, points)" if columns else "(points, latents)",
        "layout_says": "a column is a datum" if columns else "a row is a datum",
        "axis": 1 if columns else 0,
        "T": ".T" if columns else "",
        "factors_first": factors_first,
        "table": "(factors, latents)" if factors_first else "(latents, factors)",
        "table_T": ".T" if factors_first else "",
        "sharp": sharp,
        "off": off,
        "steady": steady,
        "prior": prior,
        "beta": int(rng.choice([8, 10, 12])),
        "repeats": cases,
        "hand_information": round(1 / 2 * (1 if bits else math.log(2)), 6),
        "reliability": reliability,
        "hand_reliability": cases * reliability / (1 + (cases - 1) * reliability),
    }
