"""What changes from one class to the next: the conventions of the functions asked for, the constants, the data."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from latentbook.classroom.conventions import NOISES, prior_words, spreads

# a standard deviation is taken for a variance, or the other way round
SPREADS = spreads(
    {
        "deviation": "deviation",
        "precision": "precision",
        "log_variance": "(log_variance / 2).exp()",
        "variance": "variance.sqrt()",
    }
)
NOISES = tuple(NOISES[argument] for argument in ("noise_variance", "noise_deviation", "gamma2"))
WEIGHTS = (
    {
        "argument": "alpha",
        "symbol": r"1/\beta",
        "objective": r"\tfrac1\beta\, \mathbb E_q \log p(x \mid z) - \mathrm{KL}(q \Vert p)",
        "words": r"$\alpha = 1/\beta$, a factor on the reconstruction",
        "beta": "(1 / alpha)",
        "encode": "1 / b",
        "scale": "1.0",
        "unscaled": "(1 / alpha)",
        "of": lambda b: 1 / b,
    },
    {
        "argument": "beta",
        "symbol": r"\beta",
        "objective": r"\mathbb E_q \log p(x \mid z) - \beta\, \mathrm{KL}(q \Vert p)",
        "words": r"$\beta$, a factor on the KL",
        "beta": "beta",
        "encode": "b",
        "scale": "beta",
        "unscaled": "1.0",
        "of": lambda b: b,
    },
)
LENGTHS = (
    {"name": "squared lengths", "encode": "squared", "square": "found"},
    {"name": "lengths", "encode": "squared.sqrt()", "square": "found.square()"},
)
ORDERS = (
    {"name": "the smallest first", "turn": "", "step": ">", "first": "<"},
    {"name": "the largest first", "turn": ".flip(1)", "step": "<", "first": ">"},
)


def constants(rng: np.random.Generator) -> dict[str, object]:
    """The values that the assignment and its marking may use."""

    def pick(choices: tuple) -> object:
        return choices[int(rng.integers(len(choices)))]

    spread, noise, weight = pick(SPREADS), pick(NOISES), pick(WEIGHTS)
    length, order, prior = pick(LENGTHS), pick(ORDERS), pick((4, 2, 1))
    level, signals = pick((8.0, 10.0, 12.0)), pick(((4.0, 1.0, 0.3), (5.0, 1.2, 0.35), (4.5, 1.1, 0.3)))
    cosine = 0.6  # between the first two columns of the leaning world
    first, second, third = signals
    trace, det = first + second, first * second * (1 - cosine**2)
    smaller = trace / 2 - math.sqrt(trace**2 / 4 - det)  # eigenvalue of the two leaning columns' signal
    marks = [1.0, 1 + level * third, 1 + level * smaller, 1 + level * second, 1 + level * first]
    betas = [1.0, *(round(math.sqrt(a * b), 1) for a, b in pairwise(marks))]
    squared, strength, degrees = pick((0.5, 0.8, 1.5)), pick((1.5, 2.0, 5.0)), pick((30, 45, 60))
    beta, lean = pick((2.0, 3.0, 4.0)), math.cos(math.radians(degrees))
    share = lean * level / beta / (1 / prior + level / beta)
    tilt = -0.5 * math.log(1 - share**2) * (beta if weight["argument"] == "beta" else 1)
    return {
        "spread": spread,
        "noise": noise,
        "weight": weight,
        "length": length,
        "order": order,
        **prior_words(prior),
        "level": level,
        "signals": signals,
        "cosine": cosine,
        "betas": betas,
        "marks": marks,
        "warm": {"squared": squared, "strength": strength, "degrees": degrees, "beta": beta},
        "warm_weight": round(weight["of"](beta), 4),
        "answers": {
            "threshold": weight["of"](1 + level * prior * squared),
            "lost": 0.5 * (strength - math.log(1 + strength)),
            "tilt": tilt,
        },
        "first_seed": int(rng.integers(100, 1000)),
    }
