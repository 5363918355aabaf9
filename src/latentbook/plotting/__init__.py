"""The look of the book's figures, and the drawings that its chapters share.

Arrays may be numpy arrays, nested lists or torch tensors, on any device, with or without gradient. Colours come from
``COLOURS``; lines are labelled where they end rather than in a legend.
"""

from latentbook.plotting.drawings import Spread, ellipse, image_grid, label_lines, spread
from latentbook.plotting.representations import code_plots, matrix, trade_off, traversal_grid
from latentbook.plotting.style import COLOURS, start_chapter

__all__ = [
    "COLOURS",
    "start_chapter",
    "Spread",
    "ellipse",
    "image_grid",
    "label_lines",
    "spread",
    "code_plots",
    "matrix",
    "trade_off",
    "traversal_grid",
]
