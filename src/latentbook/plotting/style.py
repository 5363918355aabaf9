"""The look of the book's figures: colours, style, and what every drawing asks of its numbers."""

from __future__ import annotations

from importlib.resources import as_file, files
from types import MappingProxyType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb

COLOURS = MappingProxyType(
    {
        "blue": "#0072B2",
        "vermilion": "#D55E00",
        "green": "#009E73",
        "purple": "#CC79A7",
        "orange": "#E69F00",
        "sky": "#56B4E9",
        "ink": "#333333",
        "grey": "#666666",
    }
)
"""The colours by name: the palette of M. Okabe and K. Ito without its yellow, and two greys. Any two differ enough for
colour-blind readers, too."""


def start_chapter(threads: int = 1) -> None:
    """Set the plot style, sharp pictures in notebooks, and torch's thread count: the first call of every chapter.

    Nothing else in the package sets any of them. Calling it again does no harm. The models of this book are small, and
    several times faster on one thread of a busy machine than on many.

    Args:
        threads: CPU threads for torch.

    Raises:
        ValueError: if ``threads`` is not a positive integer.
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads is {threads!r}; expected a positive integer")
    with as_file(files("latentbook") / "latentbook.mplstyle") as path:
        plt.style.use(path)
    torch.set_num_threads(threads)
    _sharp_pictures()


def _sharp_pictures() -> None:
    """In a notebook, pictures with two pixels for each point of the screen."""
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    if getattr(get_ipython(), "kernel", None) is not None:
        set_matplotlib_formats("retina")


def as_array(values: Any, name: str) -> np.ndarray:
    """Finite float64 numbers from a tensor, array or nested list."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is a {type(values).__name__}; expected an array or tensor of numbers") from None
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; expected at least one entry along at least one axis")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name} holds {int((~np.isfinite(array)).sum())} values that are NaN or infinite; expected finite numbers"
        )
    return array


def readable(colour: Any) -> tuple[float, float, float]:
    """The colour, darkened until text in it stands out from white with a contrast of at least 4.5 (WCAG 2, AA)."""
    rgb = np.array(to_rgb(colour))
    while 1.05 / (luminance(rgb) + 0.05) < 4.5:
        rgb = rgb * 0.95
    return tuple(rgb)


def luminance(rgb: np.ndarray) -> float:
    """Relative luminance of an sRGB colour (WCAG 2)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


__all__ = ["COLOURS", "as_array", "luminance", "readable", "start_chapter"]
