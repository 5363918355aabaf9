"""A slider that needs no kernel: it moves on the rendered page, in Jupyter, on Binder and on Colab alike.

Every position of the slider is drawn once, when the cell runs; moving the slider only chooses which picture is seen.
The choice is made by the browser (``jslink``), so the page needs neither Python nor a network.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

_POINTS_PER_INCH = 100  # CSS pixels on the page for an inch of the figure


def slider(
    render: Callable[[Any], Figure],
    values: Sequence[Any],
    *,
    label: str,
    alt: str | Callable[[Any], str],
    value_format: str | Callable[[Any], str] = "{:g}",
    start: int = 0,
    dpi: int = 150,
    max_megabytes: float = 2.5,
) -> ipywidgets.VBox:
    """Draw one figure for each value, and a slider that chooses among them without a kernel.

    Arrow keys, Page Up, Page Down, Home and End move it. Give ``render`` fixed axis limits, so that only what the
    parameter changes moves on the page.

    Args:
        render: takes a value and returns a figure; it is closed after it has been drawn. All must have one size.
        values: the positions of the slider, in order; at least two.
        label: what the slider changes, in plain letters, such as ``"β"``.
        alt: for readers who cannot see the figure: what it shows at a value. Text in which ``{}`` stands for the
            formatted value, or a function of the value.
        value_format: how a value is written: a format string or a function. Values that are text stay as they are.
        start: the position at which the slider begins.
        dpi: dots per inch of the pictures; they take 100 points an inch on the page.
        max_megabytes: what all pictures may weigh together on the page.

    Returns:
        The slider above its pictures; the last line of a cell shows it.

    Raises:
        TypeError: if ``render`` does not return a figure.
        ValueError: if there are fewer than two values, two are written alike, ``label`` or an ``alt`` is empty,
            ``start`` is no position, the figures differ in size, or they weigh too much.
    """
    values = list(values)
    if len(values) < 2:
        raise ValueError(f"values holds {len(values)}; expected at least 2 positions")
    if not label.strip():
        raise ValueError(f"label is {label!r}; expected the name of what the slider changes")
    if not 0 <= start < len(values):
        raise ValueError(f"start is {start}; expected a position from 0 to {len(values) - 1}")
    words = [_write(value, value_format) for value in values]
    if len(set(words)) < len(words):
        raise ValueError(f"value_format writes two of the values alike ({', '.join(words)}); expected different words")
    texts = [_describe(value, word, alt) for value, word in zip(values, words, strict=True)]
    frames, size, weight = [], None, 0
    for value, text in zip(values, texts, strict=True):
        picture, inches = _draw(render, value, dpi)
        size = size or inches
        if inches != size:
            raise ValueError(
                f"render gave a figure of {inches} inches at {value!r}; expected {size}, as at {values[0]!r}"
            )
        frames.append(_frame(picture, text, inches))
        weight += len(frames[-1].value)
        if weight > max_megabytes * 1e6:
            raise ValueError(
                f"the pictures weigh more than max_megabytes = {max_megabytes:g} after {len(frames)} of {len(values)}; "
                "expected less: take fewer values, a smaller figure or a lower dpi"
            )
    control = ipywidgets.SelectionSlider(
        options=[(word, i) for i, word in enumerate(words)],
        index=start,
        description=label,
        tooltip=f"{label}: move with the arrow keys",
        style={"description_width": "initial"},
        layout={"width": "100%", "max_width": f"{min(size[0] * _POINTS_PER_INCH, 480):.0f}px", "margin": "0 0 4px 0"},
    )
    stack = ipywidgets.Stack(frames, selected_index=start, layout={"width": "100%", "overflow": "visible"})
    ipywidgets.jslink((control, "index"), (stack, "selected_index"))
    box = ipywidgets.VBox([control, stack], layout={"width": "100%", "overflow": "visible"})
    box.add_class("latentbook-slider")
    return box


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


def _describe(value: Any, word: str, alt: str | Callable[[Any], str]) -> str:
    text = alt(value) if callable(alt) else alt.replace("{}", word)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"alt is {text!r} at {value!r}; expected words that say what the figure shows")
    return text


def _draw(render: Callable[[Any], Figure], value: Any, dpi: int) -> tuple[bytes, tuple[float, float]]:
    """The figure as PNG, and its width and height in inches; no figure stays open."""
    before = set(plt.get_fignums())
    try:
        figure = render(value)
        if not isinstance(figure, Figure):
            raise TypeError(f"render returned a {type(figure).__name__} at {value!r}; expected a matplotlib figure")
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
