"""The few drawings that every chapter on VAEs needs.

Arrays may be numpy arrays, nested lists or torch tensors, on any device, with or without gradient. Lines are labelled
where they end rather than in a legend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from matplotlib.text import Annotation
from scipy.optimize import isotonic_regression

from latentbook.plotting.style import COLOURS, as_array, readable


def image_grid(
    images: Any,
    rows: int,
    columns: int,
    *,
    image_shape: tuple[int, ...] | None = None,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    limits: tuple[float, float] | None = (0.0, 1.0),
    cmap: str = "gray_r",
    ax: Axes | None = None,
) -> AxesImage:
    """Draw pictures in a grid, row by row, as one image.

    Args:
        images: (n, height, width) or (n, height, width, 3), or rows of pixels (n, pixels) with ``image_shape``; at most
            ``rows * columns`` pictures. Places left over stay blank.
        rows: pictures from top to bottom.
        columns: pictures from left to right.
        image_shape: the shape of one picture, where ``images`` holds rows of pixels.
        row_labels: a word beside each row.
        column_labels: a word above each column.
        limits: the values drawn as lightest and darkest; None takes the smallest and largest in ``images``.
        cmap: matplotlib's name of a colour map, for pictures without colour.
        ax: where to draw; a new figure of fitting size when None.

    Returns:
        The image; ``.axes`` and ``.figure`` lead on from it.

    Raises:
        ValueError: if shapes or counts do not fit, or ``images`` holds NaN or infinity.
    """
    pictures = as_array(images, "images")
    for name, number in (("rows", rows), ("columns", columns)):
        if number < 1:
            raise ValueError(f"{name} is {number}; expected at least 1")
    if image_shape is not None:
        if pictures.size != len(pictures) * math.prod(image_shape):
            raise ValueError(
                f"image_shape is {image_shape}; expected the pixels of images, whose shape is {pictures.shape}"
            )
        pictures = pictures.reshape(len(pictures), *image_shape)
    if pictures.ndim not in (3, 4) or (pictures.ndim == 4 and pictures.shape[-1] != 3):
        raise ValueError(
            f"images has shape {pictures.shape}; expected (n, height, width) or (n, height, width, 3), "
            "or rows of pixels together with image_shape"
        )
    if len(pictures) > rows * columns:
        raise ValueError(f"images holds {len(pictures)} pictures; expected at most {rows} x {columns}")
    for name, words, number in (("row_labels", row_labels, rows), ("column_labels", column_labels, columns)):
        if len(words) not in (0, number):
            raise ValueError(f"{name} holds {len(words)} words; expected {number}")
    low, high = limits or (float(pictures.min()), float(pictures.max()))
    height, width = pictures.shape[1:3]
    gap = max(1, round(max(height, width) / 12))
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, *pictures.shape[3:]), np.nan)
    for place, picture in enumerate(pictures):
        top, left = place // columns * (height + gap), place % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    if sheet.ndim == 3:  # colours: scale to [0, 1], and leave the gaps white
        sheet = np.nan_to_num(np.clip((sheet - low) / ((high - low) or 1.0), 0, 1), nan=1.0)
    if ax is None:
        across = min(6.4, 0.62 * columns)
        tall = across * sheet.shape[0] / sheet.shape[1]
        _, ax = plt.subplots(figsize=(across + 0.2 + 0.9 * bool(row_labels), tall + 0.3))
    drawn = ax.imshow(sheet, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    ax.spines[:].set_visible(False)
    ax.set_yticks([i * (height + gap) + (height - 1) / 2 for i in range(rows)][: len(row_labels)], row_labels)
    ax.set_xticks([j * (width + gap) + (width - 1) / 2 for j in range(columns)][: len(column_labels)], column_labels)
    ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    return drawn


def label_lines(ax: Axes, lines: Sequence[Line2D] | None = None, *, offset: float = 6.0) -> list[Annotation]:
    """Write every line's label at its right end, in its colour, moved apart where labels would overlap.

    Call it when the axes are finished: limits set afterwards move the lines and not the labels.

    Args:
        ax: axes with lines drawn with ``label=...``; lines without a label are passed over.
        lines: the lines to label; all of ``ax`` when None.
        offset: points between a line's end and its label.

    Returns:
        The labels, in the order of the lines.

    Raises:
        ValueError: if no line has a label.
    """
    lines = [line for line in (ax.get_lines() if lines is None else lines) if not line.get_label().startswith("_")]
    ends = [_last_point(line) for line in lines]
    found = [(line, end) for line, end in zip(lines, ends, strict=True) if end is not None]
    if not found:
        raise ValueError("ax has no line with a label; expected lines drawn with label='...'")
    figure = ax.figure
    figure.draw_without_rendering()  # settles the layout, so that heights on the page are known
    low, high = sorted(ax.transAxes.transform([(0, 0), (0, 1)])[:, 1])
    heights = [ax.transData.transform(end)[1] for _, end in found]
    size = plt.rcParams["font.size"] - 0.5
    points = 72 / figure.dpi
    apart = _spread_out(np.array(heights) * points, gap=1.25 * size, limits=(low * points, high * points))
    labels = []
    for (line, end), height, place in zip(found, heights, apart, strict=True):
        labels.append(
            ax.annotate(
                line.get_label(),
                xy=end,
                xytext=(offset, place - height * points),
                textcoords="offset points",
                va="center",
                fontsize=size,
                color=readable(line.get_color()),
                annotation_clip=False,
            )
        )
    return labels


def ellipse(
    ax: Axes,
    mean: Any,
    covariance: Any,
    *,
    sigmas: float = 2.0,
    colour: str = COLOURS["blue"],
    filled: bool = True,
    **style: Any,
) -> Ellipse:
    r"""Draw a Gaussian as an ellipse, :math:`(z - \mu)^\top \Sigma^{-1} (z - \mu) = k^2`.

    With ``sigmas`` k = 2 it holds 86 % of the probability (:math:`1 - e^{-k^2/2}` in two dimensions).

    Args:
        ax: where to draw; its limits grow to hold the ellipse.
        mean: :math:`\mu`, two numbers.
        covariance: :math:`\Sigma`, (2, 2); or two variances, for a diagonal one.
        sigmas: k, in standard deviations.
        colour: of the outline, and paler inside.
        filled: whether to tint the inside.
        **style: anything :class:`matplotlib.patches.Ellipse` takes, such as ``linestyle`` or ``label``.

    Returns:
        The ellipse.

    Raises:
        ValueError: if a shape does not fit, the covariance is not symmetric or has a negative eigenvalue, or ``sigmas``
            is not positive.
    """
    centre, matrix = as_array(mean, "mean"), as_array(covariance, "covariance")
    if centre.shape != (2,):
        raise ValueError(f"mean has shape {centre.shape}; expected (2,)")
    matrix = np.diag(matrix) if matrix.shape == (2,) else matrix
    if matrix.shape != (2, 2):
        raise ValueError(f"covariance has shape {matrix.shape}; expected (2, 2), or (2,) for two variances")
    if not np.allclose(matrix, matrix.T, rtol=1e-4, atol=1e-12):
        raise ValueError(f"covariance is {matrix.tolist()}; expected a symmetric matrix")
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    if values[0] < -1e-6 * max(values[1], 0):
        raise ValueError(f"covariance has the eigenvalue {values[0]:.3g}; expected none below zero")
    if not sigmas > 0:
        raise ValueError(f"sigmas is {sigmas}; expected a positive number of standard deviations")
    width, height = 2 * sigmas * np.sqrt(values.clip(0))[::-1]
    angle = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1]))
    face = (*to_rgb(colour), 0.15 if filled else 0.0)
    patch = Ellipse(tuple(centre), width, height, angle=angle, **{"facecolor": face, "edgecolor": colour, **style})
    ax.add_patch(patch)
    ax.autoscale_view()
    return patch


class Spread(NamedTuple):
    """What :func:`spread` drew: the line of the mean, and the band or thin lines around it."""

    line: Line2D
    around: PolyCollection | LineCollection


def spread(
    ax: Axes,
    x: Any,
    y: Any,
    *,
    around: Literal["deviation", "range", "members"] = "deviation",
    colour: str | None = None,
    label: str | None = None,
    **style: Any,
) -> Spread:
    """Draw a result over seeds: the mean as a line, and how much the seeds differ around it.

    Args:
        ax: where to draw.
        x: positions, (points,).
        y: one row per seed, (members, points).
        around: a band of one standard deviation on either side (``"deviation"``, dividing by members - 1), a band
            from the smallest to the largest (``"range"``), or a thin line for each seed (``"members"``).
        colour: of line and band; the next of the palette when None.
        label: of the line, for :func:`label_lines`.
        **style: anything :meth:`matplotlib.axes.Axes.plot` takes, for the line of the mean.

    Returns:
        The line and what surrounds it.

    Raises:
        ValueError: if shapes do not fit, a number is NaN or infinite, or ``around`` is none of the three.
    """
    places, values = as_array(x, "x"), as_array(y, "y")
    if places.ndim != 1 or values.ndim != 2 or values.shape[1] != len(places):
        raise ValueError(f"x has shape {places.shape} and y {values.shape}; expected (points,) and (members, points)")
    if around not in ("deviation", "range", "members"):
        raise ValueError(f"around is {around!r}; expected 'deviation', 'range' or 'members'")
    mean = values.mean(axis=0)
    (line,) = ax.plot(places, mean, label=label, **({} if colour is None else {"color": colour}), **style)
    if around == "members":
        thin = LineCollection([np.column_stack([places, row]) for row in values], colors=line.get_color())
        thin.set(linewidths=0.7, alpha=0.45, zorder=line.get_zorder() - 0.1)
        ax.add_collection(thin)
        ax.autoscale_view()
        return Spread(line, thin)
    deviation = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(mean)
    edges = (mean - deviation, mean + deviation) if around == "deviation" else (values.min(axis=0), values.max(axis=0))
    return Spread(line, ax.fill_between(places, *edges, color=line.get_color(), alpha=0.2, linewidth=0))


def _last_point(line: Line2D) -> tuple[float, float] | None:
    """The right end of a line, or None where it has no finite point."""
    points = line.get_xydata()
    points = points[np.isfinite(points).all(axis=1)]
    return tuple(points[points[:, 0].argmax()]) if len(points) else None


def _spread_out(heights: np.ndarray, gap: float, limits: tuple[float, float]) -> np.ndarray:
    """The heights nearest to the given ones (least squares), in the same order, at least ``gap`` apart.

    They stay within ``limits`` where there is room for all.
    """
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    low, high = limits[0], max(limits[0], limits[1] - steps[-1])
    apart = np.empty(len(heights))
    apart[order] = isotonic_regression(heights[order] - steps).x.clip(low, high) + steps
    return apart


__all__ = ["Spread", "ellipse", "image_grid", "label_lines", "spread"]
