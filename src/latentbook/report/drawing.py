"""The figure of a report, and the same in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from latentbook.plotting import COLOURS

_LOOKS = {  # a marker for each role, so that colour is not needed
    "active": {"marker": "o", "facecolors": COLOURS["blue"], "edgecolors": COLOURS["blue"]},
    "mixed": {"marker": "D", "facecolors": COLOURS["orange"], "edgecolors": COLOURS["ink"]},
    "passive": {"marker": "o", "facecolors": "none", "edgecolors": COLOURS["grey"]},
}


def draw(latents: pd.DataFrame, correlations: Mapping[str, Tensor], factors: Sequence[str]) -> Figure:
    """One panel for the latents' roles, one for each matrix there is."""
    matrices = len(correlations) + bool(factors)
    roles = "role" in latents
    widths = [1.0] * len(correlations) + [0.25 + 0.1 * min(len(factors), 7)] * bool(factors) or [1.0]
    size = (2.9 * max(sum(widths), 2), 2.6 * roles + 2.8 * bool(matrices))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(roles + bool(matrices), len(widths), width_ratios=widths)
    if roles:
        _draw_roles(figure.add_subplot(grid[0, :]), latents)
    order = _order(latents)
    for place, (name, matrix) in enumerate(correlations.items()):
        ax = figure.add_subplot(grid[-1, place])
        image = _draw_matrix(ax, matrix.numpy()[np.ix_(order, order)], order, order, 1.0)
        ax.set_title(f"|corr| of {name}", fontsize="medium")
        figure.colorbar(image, ax=ax, shrink=0.8)
    if factors:
        ax = figure.add_subplot(grid[-1, len(correlations)])
        image = _draw_matrix(ax, _of_first(latents)[list(factors)].to_numpy()[order], order, factors, None)
        ax.set_title("factors", fontsize="medium")
        ax.tick_params(axis="x", rotation=90)
        figure.colorbar(image, ax=ax, shrink=0.8)
    return figure


def describe(latents: pd.DataFrame, correlations: Mapping[str, Tensor], factors: Sequence[str]) -> str:
    """The figure in words, for those who cannot see it."""
    parts = []
    if "role" in latents:
        alive = latents[latents["role"] != ""]  # a member that diverged has no roles
        counts = alive.groupby("member")["role"].value_counts().unstack(fill_value=0)
        words = [f"{counts[role].mean():.1f} {role}" for role in _LOOKS if role in counts]
        parts.append(f"{latents['member'].nunique()} members, on average {', '.join(words)} latents")
    for name, matrix in correlations.items():
        apart = matrix.numpy()[~np.eye(len(matrix), dtype=bool)]
        largest = f"{apart.max():.2f}" if apart.size else "none"
        parts.append(f"largest absolute correlation of {name} {largest}")
    if factors:
        best = _of_first(latents)[list(factors)].to_numpy().argmax(0)
        parts.append(", ".join(f"{name} told best by latent {k}" for name, k in zip(factors, best, strict=True)))
    return "; ".join(parts) + "."


def _draw_roles(ax: Axes, latents: pd.DataFrame) -> None:
    """Every latent of every member, members side by side, the best informed first."""
    height, label = ("KL", "KL in nats") if "KL" in latents else ("reliability", "reliability")
    for role, look in _LOOKS.items():
        rows = latents.sort_values(["member", height], ascending=[True, False])
        rank = rows.groupby("member").cumcount()
        shift = 0.5 * (rows["member"] / max(1, rows["member"].max()) - 0.5)
        chosen = (rows["role"] == role).to_numpy()
        if not chosen.any():
            continue
        ax.scatter((rank + shift)[chosen], rows[height][chosen], s=22, label=role, linewidths=1, **look)
    ax.set(xlabel="latents, by what they carry", ylabel=label)
    places = range(latents["latent"].max() + 1)
    ax.set(xticks=places, xticklabels=[place + 1 for place in places], ylim=(min(-0.05, ax.get_ylim()[0]), None))
    ax.legend(loc="upper right", ncols=3, frameon=False)


def _draw_matrix(ax: Axes, matrix: np.ndarray, rows: Sequence, columns: Sequence, most: float | None):
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks(range(len(columns)), columns)
    ax.tick_params(length=0, labelsize="x-small")
    ax.grid(False)
    return ax.imshow(matrix, vmin=0, vmax=most, cmap="Blues", aspect="auto")


def _of_first(latents: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first member whose numbers are numbers."""
    columns = [name for name in latents.select_dtypes("number") if name not in ("member", "latent")]
    good = latents.groupby("member")[columns].apply(lambda rows: bool(rows.notna().all(axis=None)))
    return latents[latents["member"] == (good.idxmax() if len(columns) else 0)]


def _order(latents: pd.DataFrame) -> list[int]:
    """Latents of the first member, the best informed first."""
    first = _of_first(latents)
    for name in ("KL", "reliability"):
        if name in first:
            return np.argsort(-first[name].to_numpy(), kind="stable").tolist()
    return list(range(len(first)))


__all__ = ["describe", "draw"]
