"""Pictures of a representation: what each latent does to an image, and what it knows about each factor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from latentbook.plotting.drawings import image_grid
from latentbook.plotting.style import COLOURS, as_array

_CODES = "PuOr"  # of a code's sign: two ends that colour-blind readers tell apart, white between
_STROKES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def traversal_grid(
    images: Any,
    values: Sequence[float],
    *,
    image_shape: tuple[int, ...] | None = None,
    row_labels: Sequence[str] = (),
    ax: Axes | None = None,
) -> AxesImage:
    """Draw latent traversals: a row for each latent, a column for each value that it takes.

    Args:
        images: what ``VAE.traverse`` gives for one member, (latents, values, pixels) with ``image_shape``; or
            (latents, values, height, width), with a last axis of 3 for colours.
        values: the values, written above the columns.
        image_shape: the shape of one picture, where ``images`` holds rows of pixels.
        row_labels: a word beside each row, ``z1``, ``z2``, ... by default.
        ax: where to draw; a new figure of fitting size when None.

    Returns:
        The image; ``.axes`` and ``.figure`` lead on from it.

    Raises:
        ValueError: if shapes or counts do not fit, or ``images`` holds NaN or infinity.
    """
    pictures = as_array(images, "images")
    if pictures.ndim < 3 or pictures.shape[1] != len(values):
        expected = f"(latents, {len(values)}, ...), a picture for each of the values"
        raise ValueError(f"images has shape {pictures.shape}; expected {expected}")
    rows, columns = pictures.shape[:2]
    labels = list(row_labels) or [f"$z_{{{j + 1}}}$" for j in range(rows)]
    flat = pictures.reshape(rows * columns, *pictures.shape[2:])
    heads = [f"{value:+.1f}" if value else "0" for value in values]
    options = {"image_shape": image_shape, "row_labels": labels, "column_labels": heads, "ax": ax}
    return image_grid(flat, rows, columns, **options)


def code_plots(
    codes: Any,
    factors: Any,
    *,
    names: Sequence[str],
    position: tuple[str, str] | None = ("pos_x", "pos_y"),
    latents: Sequence[int] | None = None,
    group: str | None = None,
    row_labels: Sequence[str] = (),
) -> Figure:
    """Draw each latent's mean code against the factors, averaged over the factors that are not shown.

    The first column is a map over the position of the sprite, where there is one; each further column a curve over one
    other factor. A latent that follows one factor alone is flat in all panels but one.

    Args:
        codes: mean codes, (n, latents).
        factors: the class of every factor, integers (n, factors).
        names: a name for each factor.
        position: the two factors of the map, across and down; None for no map.
        latents: which latents to draw, from top to bottom; all when None.
        group: a factor that gets a line of its own for every class, such as the shape; None for one line.
        row_labels: a word beside each row, ``z1``, ``z2``, ... by default.

    Returns:
        The figure.

    Raises:
        ValueError: if shapes do not fit, a name is unknown, or a latent is out of range.

    Source: R. T. Q. Chen et al., *Isolating Sources of Disentanglement in Variational Autoencoders*, NeurIPS 2018,
    whose figures look like this.
    """
    values, classes = as_array(codes, "codes"), as_array(factors, "factors").astype(int)
    names, n = list(names), len(values)
    if values.ndim != 2 or classes.shape != (n, len(names)):
        found = f"codes has shape {values.shape} and factors {classes.shape}"
        raise ValueError(f"{found}; expected (n, latents) and (n, {len(names)}), a column for each of names")
    for name in (*(position or ()), *([] if group is None else [group])):
        if name not in names:
            raise ValueError(f"{name!r} is not among the factors; expected one of {names}")
    rows = list(range(values.shape[1])) if latents is None else list(latents)
    if not rows or not all(0 <= j < values.shape[1] for j in rows):
        raise ValueError(f"latents is {rows}; expected indices from 0 to {values.shape[1] - 1}")
    labels = list(row_labels) or [f"$z_{{{j + 1}}}$" for j in rows]
    if len(labels) != len(rows):
        raise ValueError(f"row_labels is {labels}; expected {len(rows)} words, one for each latent drawn")
    curves = [name for name in names if name not in (position or ()) and name != group]
    columns = [*([position] if position else []), *curves]
    figure, axes = plt.subplots(
        len(rows), len(columns), figsize=(1.75 * len(columns) + 0.6, 1.3 * len(rows) + 0.5), squeeze=False
    )
    limit = float(np.abs(values[:, rows]).max()) or 1.0
    for row, (j, label) in enumerate(zip(rows, labels, strict=True)):
        for ax, column in zip(axes[row], columns, strict=True):
            if column == position:
                across, down = (classes[:, names.index(name)] for name in position)
                ax.imshow(_mean_by(values[:, j], down, across), cmap=_CODES, vmin=-limit, vmax=limit)
                ax.set(xticks=[], yticks=[])
            else:
                _curves(ax, values[:, j], classes, names.index(column), None if group is None else names.index(group))
                ax.set(ylim=(-1.05 * limit, 1.05 * limit), xticks=[])
            if row == 0:
                ax.set_title("position" if column == position else column, loc="center")
        axes[row, 0].set_ylabel(label, rotation=0, ha="right", va="center")
    return figure


def matrix(
    ax: Axes,
    values: Any,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    limits: tuple[float, float] | None = None,
    digits: int = 2,
) -> AxesImage:
    """Draw a matrix as tinted squares with its numbers in them, such as mutual information of latents and factors.

    Args:
        ax: where to draw.
        values: the numbers, (rows, columns).
        rows: a word for each row.
        columns: a word for each column.
        limits: the values drawn as lightest and darkest; None takes 0 and the largest.
        digits: digits after the point.

    Raises:
        ValueError: if the words do not fit the numbers, or a number is NaN or infinite.
    """
    numbers = as_array(values, "values")
    if numbers.shape != (len(rows), len(columns)):
        raise ValueError(f"values has shape {numbers.shape}; expected ({len(rows)}, {len(columns)}), as rows, columns")
    low, high = limits or (0.0, float(numbers.max()) or 1.0)
    drawn = ax.imshow(numbers, cmap="Blues", vmin=low, vmax=high, aspect="auto")
    for (i, j), number in np.ndenumerate(numbers):
        dark = (number - low) / ((high - low) or 1.0) > 0.55
        colour = "white" if dark else COLOURS["ink"]
        ax.text(j, i, f"{number:.{digits}f}", ha="center", va="center", color=colour, fontsize=8.5)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    return drawn


def trade_off(
    ax: Axes, series: dict[str, Sequence[tuple[Any, Any]]], *, errors: str = "standard error"
) -> list[ErrorbarContainer]:
    """Draw two measures of several methods against each other: a path of means with error bars in both directions.

    Args:
        ax: where to draw.
        series: for each method, named as in the legend, its settings in order; a setting is a pair (x, y) of measures
            over seeds, each (members,).
        errors: "standard error" of the mean, or "deviation" over seeds (dividing by members - 1).

    Returns:
        What was drawn, one container a method.

    Raises:
        ValueError: if there is no method or setting, a pair differs in length or has fewer than two seeds, a number is
            NaN or infinite, or ``errors`` is neither of the two.
    """
    if errors not in ("standard error", "deviation"):
        raise ValueError(f"errors is {errors!r}; expected 'standard error' or 'deviation'")
    if not series or not all(map(len, series.values())):
        found = (
            "series is empty" if not series else f"series has no setting for {[k for k, v in series.items() if not v]}"
        )
        raise ValueError(f"{found}; expected at least one method, and one setting for each")
    drawn = []
    for (name, settings), marker, stroke in zip(series.items(), cycle(_MARKERS), cycle(_STROKES)):
        pairs = [(as_array(x, f"x of {name}"), as_array(y, f"y of {name}")) for x, y in settings]
        for x, y in pairs:
            if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
                found = f"{x.shape} and {y.shape}"
                raise ValueError(f"series[{name!r}] has measures of shapes {found}; expected (members,), 2 or more")
        spread = np.array([[v.std(ddof=1) for v in pair] for pair in pairs])
        if errors == "standard error":
            spread = spread / np.sqrt([[len(v) for v in pair] for pair in pairs])
        mean = np.array([[v.mean() for v in pair] for pair in pairs])
        bars = {"xerr": spread[:, 0], "yerr": spread[:, 1], "elinewidth": 0.9}
        drawn.append(ax.errorbar(*mean.T, **bars, marker=marker, linestyle=stroke, linewidth=1.1, label=name))
    return drawn


def _mean_by(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The mean of the values in every cell of a table of classes; NaN where there are none."""
    shape = (rows.max() + 1, columns.max() + 1)
    cells = rows * shape[1] + columns
    count = np.bincount(cells, minlength=shape[0] * shape[1])
    total = np.bincount(cells, weights=values, minlength=shape[0] * shape[1])
    return np.where(count > 0, total / count.clip(1), np.nan).reshape(shape)


def _curves(ax: Axes, values: np.ndarray, classes: np.ndarray, factor: int, group: int | None) -> None:
    """The mean over everything else against one factor, a line for each class of ``group``."""
    kinds = np.zeros(len(values), int) if group is None else classes[:, group]
    table = _mean_by(values, kinds, classes[:, factor])
    for row, stroke in zip(table, cycle(_STROKES), strict=False):
        ax.plot(row, stroke, linewidth=1.2)
    ax.axhline(0, color=COLOURS["grey"], linewidth=0.6, zorder=0)


__all__ = ["code_plots", "matrix", "trade_off", "traversal_grid"]
