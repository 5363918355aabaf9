"""What a year of this assignment chooses: how spreads are counted, layouts, numbering, units, the statistics."""

from __future__ import annotations

import numpy as np

_SPREADS = {
    "deviation": ("standard deviations", "deviation", "deviation**2", lambda v: v**0.5),
    "variance": ("variances", "variance**0.5", "variance", lambda v: v),
    "precision": ("precisions (one over the variance)", "precision**-0.5", "1 / precision", lambda v: 1 / v),
}
_SLIPS = {"deviation": "variance", "variance": "deviation", "precision": "variance"}


def constants(rng: np.random.Generator) -> dict[str, object]:
    """What << >> may use."""
    spread = str(rng.choice(list(_SPREADS)))
    words, deviation, variance, of_variance = _SPREADS[spread]
    slip = _SPREADS[_SLIPS[spread]]
    columns, spearman, of_source, half, interleaved, missing, inverse, bits = (
        bool(value) for value in rng.integers(2, size=8)
    )
    base = int(rng.integers(2))
    ratio = int(rng.choice([4, 9, 16]))
    wide, total, match_first = (bool(value) for value in rng.integers(2, size=3))
    return {
        "wide": wide,
        "wide_says": "(kd, segments): a column a segment" if wide else "(segments, kd): a row a segment",
        "wide_T": ".T" if wide else "",
        "total": total,
        "average": "Sum" if total else "Mean",
        "add": "sum" if total else "mean",
        "pair": "match, score" if match_first else "score, match",
        "score_at": "[1]" if match_first else "[0]",
        "spread": spread,
        "spread_words": words,
        "deviation": deviation,
        "variance": variance,
        "wrong_deviation": slip[1].replace(_SLIPS[spread], spread),
        "wrong_variance": slip[2].replace(_SLIPS[spread], spread),
        "from_variance": {"deviation": "**0.5", "variance": "", "precision": "**-1"}[spread],
        "to_variance": {"deviation": "**2", "variance": "", "precision": "**-1"}[spread],
        "columns": columns,
        "layout": "`(latents, points)`: a column is a point" if columns else "`(points, latents)`: a row is a point",
        "T": ".T" if columns else "",
        "kind": "Spearman" if spearman else "Pearson",
        "spearman": spearman,
        "kind_says": "Spearman's, that is Pearson's of the ranks" if spearman else "Pearson's",
        "of_source": of_source,
        "match_says": f"the {'latent' if of_source else 'source'} of each {'source' if of_source else 'latent'}",
        "base": base,
        "half": half,
        "statistics": r"T(z) = (z, -\tfrac12 z^2)" if half else "T(z) = (z, z^2)",
        "second": "1 / variance" if half else "-0.5 / variance",
        "second_unit": 1.0 if half else -0.5,
        "square": "-0.5 * z**2" if half else "z**2",
        "interleaved": interleaved,
        "joined": (
            "np.stack([first, second], axis=2).reshape(len(mean), -1)"
            if interleaved
            else "np.concatenate([first, second], axis=1)"
        ),
        "order_says": (
            "source by source: the two parameters of the first source, then those of the second, and so on"
            if interleaved
            else "first the parameters of $z$ for all sources, then those of the second statistic"
        ),
        "missing": missing,
        "rank_name": "missing_directions" if missing else "known_directions",
        "rank_says": (
            "how many of its $kd$ directions are **missing**, $kd$ less the rank of $L$"
            if missing
            else "how many of its $kd$ directions are **known**, the rank of $L$"
        ),
        "inverse": inverse,
        "turn_says": r"\tilde s = R z" if inverse else r"z = R \tilde s",
        "turn_code": "rotation" if inverse else "rotation.T",
        "wrong_turn": "rotation.T" if inverse else "rotation",
        "bits": bits,
        "unit": "bits" if bits else "nats",
        "per_unit": " / math.log(2)" if bits else "",
        "ratio": ratio,
        "hand": of_variance(float(ratio)),
        "hand_answer": 1 / ratio if half else -0.5 / ratio,
        "segments": int(rng.choice([12, 16, 20])),
        "sources": int(rng.choice([4, 5, 6])),
    }
