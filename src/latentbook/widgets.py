"""Sliders that need no kernel: they move on the rendered page, in Jupyter, on Binder and on Colab alike.

Every position is drawn once, when the cell runs; moving a slider only chooses which picture is seen.
The choice is made by the browser (``jslink``), so the page needs neither Python nor a network.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from html import escape
from itertools import cycle, product
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

_POINTS_PER_INCH = 100  # CSS pixels on the page for an inch of the figure


def slider(
    render: Callable[..., Figure],
    *values: Sequence[Any],
    label: str | Sequence[str],
    alt: str | Callable[..., str],
    value_format: str | Callable[[Any], str] | Sequence[str | Callable[[Any], str]] = "{:g}",
    start: int | Sequence[int] = 0,
    dpi: int = 150,
    max_megabytes: float = 2.5,
) -> ipywidgets.VBox:
    """Draw one figure for each value, and a slider that chooses among them without a kernel.

    With several lists of values there is one slider for each, and a figure for each combination. Arrow keys, Page Up,
    Page Down, Home and End move a slider. Give ``render`` fixed axis limits, so that only what the parameter changes
    moves on the page.

    Args:
        render: takes a value (of each list) and returns a figure; it is closed after it has been drawn. All must have
            one size.
        values: the positions of a slider, in order, at least two; one such list for each slider.
        label: what the slider changes, in plain letters, such as ``"β"``; with several sliders a name for each.
        alt: for readers who cannot see the figure: what it shows at a value. Text in which ``{}`` stands for the
            formatted value (each ``{}`` for the next, with several sliders), or a function of the values.
        value_format: how a value is written: a format string or a function, or one for each slider. Values that are
            text stay as they are.
        start: the position at which the slider begins, or one for each slider.
        dpi: dots per inch of the pictures; they take 100 points an inch on the page.
        max_megabytes: what all pictures may weigh together on the page.

    Returns:
        The sliders above their pictures; the last line of a cell shows them.

    Raises:
        TypeError: if ``render`` does not return a figure.
        ValueError: if a list has fewer than two values, two are written alike, a ``label`` or an ``alt`` is empty,
            ``start`` is no position, the figures differ in size, or they weigh too much.
    """
    values = [list(positions) for positions in values]
    if not values:
        raise ValueError("values is missing; expected a list of positions for each slider")
    labels, formats, starts = (
        _for_each(given, len(values), name)
        for given, name in ((label, "label"), (value_format, "value_format"), (start, "start"))
    )
    words = [_check(*each) for each in zip(values, labels, formats, starts, strict=True)]
    if len(set(labels)) < len(labels):
        raise ValueError(f"label is {label!r}; expected a different name for each of {len(labels)} sliders")
    points, names = list(product(*values)), product(*words)
    texts = [_describe(point, name, alt) for point, name in zip(points, names, strict=True)]
    frames, size, weight = [], None, 0
    for point, text in zip(points, texts, strict=True):
        picture, inches = _draw(render, point, dpi)
        size = size or inches
        if inches != size:
            raise ValueError(
                f"render gave a figure of {inches} inches at {_said(point)}; expected {size}, as at {_said(points[0])}"
            )
        frames.append(_frame(picture, text, inches))
        weight += len(frames[-1].value)
        if weight > max_megabytes * 1e6:
            raise ValueError(
                f"the pictures weigh more than max_megabytes = {max_megabytes:g} after {len(frames)} of {len(points)}; "
                "expected less: take fewer values, a smaller figure or a lower dpi"
            )
    width = f"{min(size[0] * _POINTS_PER_INCH, 480):.0f}px"
    controls = [_control(*each, width) for each in zip(words, labels, starts, strict=True)]
    for control, first in zip(reversed(controls), reversed(starts), strict=True):  # the last slider moves fastest
        count = len(control.options)
        frames = [_stack(frames[i : i + count], control, first) for i in range(0, len(frames), count)]
    box = ipywidgets.VBox([*controls, *frames], layout={"width": "100%", "overflow": "visible"})
    box.add_class("latentbook-slider")
    return box


def _for_each(given: Any, count: int, name: str) -> list[Any]:
    """One entry for each slider: a list as it is, anything else the same for all."""
    entries = list(given) if isinstance(given, (list, tuple)) else [given] * count
    if len(entries) != count:
        raise ValueError(f"{name} is {given!r}; expected one for each of {count} sliders")
    return entries


def _check(values: list[Any], label: str, value_format: str | Callable[[Any], str], start: int) -> list[str]:
    """The words of one slider's values."""
    if len(values) < 2:
        raise ValueError(f"values holds {len(values)}; expected at least 2 positions")
    if not label.strip():
        raise ValueError(f"label is {label!r}; expected the name of what the slider changes")
    if not 0 <= start < len(values):
        raise ValueError(f"start is {start}; expected a position from 0 to {len(values) - 1}")
    words = [_write(value, value_format) for value in values]
    if len(set(words)) < len(words):
        raise ValueError(f"value_format writes two of the values alike ({', '.join(words)}); expected different words")
    return words


def _control(words: list[str], label: str, start: int, width: str) -> ipywidgets.SelectionSlider:
    return ipywidgets.SelectionSlider(
        options=[(word, i) for i, word in enumerate(words)],
        index=start,
        description=label,
        tooltip=f"{label}: move with the arrow keys",
        style={"description_width": "initial"},
        layout={"width": "100%", "max_width": width, "margin": "0 0 4px 0"},
    )


def _stack(children: list[ipywidgets.Widget], control: ipywidgets.SelectionSlider, start: int) -> ipywidgets.Stack:
    """The children, of which the browser shows the one that the control chooses."""
    stack = ipywidgets.Stack(children, selected_index=start, layout={"width": "100%", "overflow": "visible"})
    ipywidgets.jslink((control, "index"), (stack, "selected_index"))
    return stack


def _write(value: Any, value_format: str | Callable[[Any], str]) -> str:
    if isinstance(value, str):
        return value
    if callable(value_format):
        return str(value_format(value))
    try:
        return value_format.format(value)
    except (ValueError, TypeError, IndexError, KeyError) as problem:
        raise ValueError(
            f"value_format is {value_format!r}; expected one that can write {value!r} ({problem})"
        ) from None


def _describe(point: tuple[Any, ...], words: tuple[str, ...], alt: str | Callable[..., str]) -> str:
    turn = cycle(words)
    text = alt(*point) if callable(alt) else re.sub(r"\{\}", lambda _: next(turn), alt)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"alt is {text!r} at {_said(point)}; expected words that say what the figure shows")
    return text


def _said(point: tuple[Any, ...]) -> str:
    return ", ".join(repr(value) for value in point)


def _draw(render: Callable[..., Figure], point: tuple[Any, ...], dpi: int) -> tuple[bytes, tuple[float, float]]:
    """The figure as PNG, and its width and height in inches; no figure stays open."""
    before = set(plt.get_fignums())
    try:
        figure = render(*point)
        if not isinstance(figure, Figure):
            raise TypeError(
                f"render returned a {type(figure).__name__} at {_said(point)}; expected a matplotlib figure"
            )
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi, bbox_inches=None, pil_kwargs={"optimize": True})
        plt.close(figure)
        return buffer.getvalue(), tuple(round(float(side), 4) for side in figure.get_size_inches())
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)


def _frame(picture: bytes, text: str, inches: tuple[float, float]) -> ipywidgets.HTML:
    """A picture with its description; it shrinks on a narrow page and keeps its proportions."""
    width, height = (round(side * _POINTS_PER_INCH) for side in inches)
    data = base64.b64encode(picture).decode()
    style = "display:block;max-width:100%;height:auto;background:white"
    attributes = f'alt="{escape(text)}" width="{width}" height="{height}" style="{style}"'
    return ipywidgets.HTML(
        f'<img src="data:image/png;base64,{data}" {attributes}>',
        layout={"width": "100%", "margin": "0", "overflow": "visible"},
    )
