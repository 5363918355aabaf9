"""What a year of this assignment chooses: the laws, the layout, the order of arguments, the units."""

from __future__ import annotations

import itertools
import math

import numpy as np

_RADIAL = {
    "log-normal": {
        "first": "centre",
        "seconds": ("deviation", "variance", "precision"),
        "widths": {"deviation": "deviation", "variance": "variance**0.5", "precision": "precision**-0.5"},
        "says": {
            "deviation": r"$\log\rho$ is normal with mean `centre` and standard deviation `deviation`",
            "variance": r"$\log\rho$ is normal with mean `centre` and variance `variance`",
            "precision": r"$\log\rho$ is normal with mean `centre` and precision (one over the variance) `precision`",
        },
        "law": "stats.lognorm({width}, scale=np.exp(centre))",
        "slip": {"deviation": "deviation**0.5", "variance": "variance", "precision": "precision"},
        "ranges": ((-0.5, 0.5), (0.3, 0.7)),
    },
    "Weibull": {
        "first": "shape",
        "seconds": ("scale", "rate"),
        "widths": {"scale": "scale", "rate": "1 / rate"},
        "says": {
            "scale": r"$P(\rho > r) = \exp(-(r/b)^k)$ with $k$ = `shape` and $b$ = `scale`",
            "rate": r"$P(\rho > r) = \exp(-(\lambda r)^k)$ with $k$ = `shape` and $\lambda$ = `rate`",
        },
        "law": "stats.weibull_min(shape, scale={width})",
        "slip": {"scale": "1 / scale", "rate": "rate"},
        "ranges": ((1.5, 3.0), (0.4, 0.8)),
    },
    "gamma": {
        "first": "shape",
        "seconds": ("scale", "rate"),
        "widths": {"scale": "scale", "rate": "1 / rate"},
        "says": {
            "scale": r"$\psi(r) \propto r^{k-1} e^{-r/b}$ with $k$ = `shape` and $b$ = `scale`",
            "rate": r"$\psi(r) \propto r^{k-1} e^{-\lambda r}$ with $k$ = `shape` and $\lambda$ = `rate`",
        },
        "law": "stats.gamma(shape, scale={width})",
        "slip": {"scale": "1 / scale", "rate": "rate"},
        "ranges": ((2.0, 4.0), (0.4, 0.8)),
    },
}

_FLAT = (
    ("arcsine", "the cosine of a uniform angle", "np.cos(rng.uniform(0, 2 * np.pi, size)) * 2**0.5", -1.5),
    ("semicircle", "a law whose density is a half circle", "4 * rng.beta(1.5, 1.5, size) - 2", -1.0),
)
_PEAKED = (
    ("hyperbolic secant", "density proportional to $1/\\cosh(\\pi s/2)$",
     "np.log(np.tan(np.pi / 2 * rng.uniform(size=size))) * 2 / np.pi", 2.0),
    ("product", "the product of two normal variables", "rng.normal(size=size) * rng.normal(size=size)", 6.0),
)  # fmt: skip

_ORDERS = tuple(itertools.permutations(("sizes", "outer", "inner")))


def constants(rng: np.random.Generator) -> dict[str, object]:
    """What << >> may use."""
    name = str(rng.choice(list(_RADIAL)))
    radial = _RADIAL[name]
    second = str(rng.choice(radial["seconds"]))
    columns = bool(rng.integers(2))
    order = _ORDERS[rng.integers(len(_ORDERS))]
    base = int(rng.integers(2))
    flat, peaked = _FLAT[rng.integers(len(_FLAT))], _PEAKED[rng.integers(len(_PEAKED))]
    bits, per_latent, radians = (bool(value) for value in rng.integers(2, size=3))
    costly, power_first, angle_first = (bool(value) for value in rng.integers(2, size=3))
    hand = [int(value) for value in rng.integers(1, 6, size=2)]
    return {
        "radial": name,
        "first": radial["first"],
        "second": second,
        "radial_says": radial["says"][second],
        "law": radial["law"].format(width=radial["widths"][second]),
        "wrong_law": radial["law"].format(width=radial["slip"][second]),
        "first_range": radial["ranges"][0],
        "second_range": radial["ranges"][1],
        "columns": columns,
        "axis": 0 if columns else 1,
        "layout": "`(latents, points)`: a column is a point" if columns else "`(points, latents)`: a row is a point",
        "T": ".T" if columns else "",
        "tree": ", ".join(order),
        "base": base,
        "pairs_name": "costly_pairs" if costly else "free_pairs",
        "pairs_says": "**costly** pairs, all that are not free" if costly else "**free** pairs",
        "costly": costly,
        "price": lambda s, R, p: f"price({p}, {s}, {R})" if power_first else f"price({s}, {R}, {p})",
        "turn": lambda x, p: f"chosen_turn({p}, {x})" if angle_first else f"chosen_turn({x}, {p})",
        "bits": bits,
        "unit": "bits" if bits else "nats",
        "per_unit": " / math.log(2)" if bits else "",
        "per_latent": per_latent,
        "whole_in_nats": ("1", "2", "math.log(2)", "2 * math.log(2)")[2 * bits + per_latent],
        "share": "divided by the number of latents" if per_latent else "of the whole vector, not per latent",
        "angle": "radians" if radians else "degrees",
        "to_radians": ("{}" if radians else "np.radians({})").format,
        "from_radians": ("{}" if radians else "np.degrees({})").format,
        "quarter": "[0, π/2)" if radians else "[0, 90)",
        "step": "0.01 radians" if radians else "half a degree",
        "flat": flat,
        "peaked": peaked,
        "points": int(rng.choice([250, 300, 400])),
        "hand": hand,
        "hand_norm": hand[0] + 5 * hand[1],
        "hand_price": round(-math.log(2) / 2 / (math.log(2) if bits else 1) / (2 if per_latent else 1), 4),
        "reference": _REFERENCE,
    }


_REFERENCE = """\
def tree_norm(z, sizes, outer, inner):  # rows are points
    parts = np.split(np.abs(z), np.cumsum(sizes)[:-1], axis=1)
    groups = [(part**p).sum(1) ** (1 / p) for part, p in zip(parts, inner, strict=True)]
    return sum(v**outer for v in groups) ** (1 / outer)"""
