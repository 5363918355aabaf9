r"""The geometry of dSprites, and its scan conversion in whole numbers.

Lengths are in pixels, y points down, and the pixel in row r and column c has its centre at (c + 1/2, r + 1/2). The
outline of a sprite of scale s is 9.6 s times one of

- square: the corners :math:`(\pm 1, \pm 1)`;
- ellipse: 100 vertices :math:`(1.33 \cos t,\ \sin t / 1.33)`;
- heart: 150 vertices :math:`(\sin^3 t,\ -0.15 - (13 \cos t - 5 \cos 2t - 2 \cos 3t - \cos 4t) / 14.5)`,

turned counter-clockwise as seen on the screen, with its centre at 16 + 32 p. Vertices are rounded to 1/256 pixel. A
pixel is on where its centre is inside; a centre on a left or lower edge counts as inside, on a right or upper edge as
outside.

From there on everything is whole numbers, so that the pictures are the same on every machine. In each row, each edge
that crosses the line of centres switches every pixel from the crossing on: a row is a word of 64 bits, and the switches
are combined by exclusive or.

Found by fitting to the pictures of L. Matthey, I. Higgins, D. Hassabis and A. Lerchner, *dSprites* (2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SIDE = 64
SHAPES = ("square", "ellipse", "heart")
FACTORS = ("shape", "scale", "orientation", "pos_x", "pos_y")
SIZES = (3, 6, 40, 32, 32)

_ALL_ON = np.uint64(2**64 - 1)
_CHUNK = 1024  # pictures at a time, so that intermediate arrays stay small


@dataclass(frozen=True)
class Geometry:
    """The numbers of the renderer; its default values are those of dSprites."""

    unit: float = 9.6
    """Pixels that a length of 1 has at scale 1."""
    ellipse: int = 100
    """Vertices of the ellipse."""
    heart: int = 150
    """Vertices of the heart."""
    grid: int = 256
    """Steps in a pixel to which vertices are rounded; even, so that centres lie on the grid."""


DSPRITES = Geometry()


def packed(factors: np.ndarray, geometry: Geometry = DSPRITES) -> np.ndarray:
    """Pictures as bits, 8 pixels a byte in the order of ``numpy.packbits``.

    Args:
        factors: classes inside their sizes, integers (n, 5): shape, scale, orientation, pos_x and pos_y.
        geometry: the numbers of the renderer.

    Returns:
        uint8 (n, 512).
    """
    rows = np.empty((len(factors), SIDE), np.uint64)
    for shape in np.unique(factors[:, 0]):
        chosen = np.flatnonzero(factors[:, 0] == shape)
        for some in np.split(chosen, range(_CHUNK, len(chosen), _CHUNK)):
            rows[some] = _scan(*_vertices(int(shape), factors[some], geometry), geometry.grid)
    return rows.astype(">u8").view(np.uint8).reshape(len(factors), SIDE * SIDE // 8)


def _outline(shape: int, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """The vertices of a shape at its own size, across and down."""
    if SHAPES[shape] == "square":
        return np.array([-1.0, 1, 1, -1]), np.array([-1.0, -1, 1, 1])
    corners = geometry.ellipse if SHAPES[shape] == "ellipse" else geometry.heart
    t = 2 * math.pi * np.arange(corners) / corners
    if SHAPES[shape] == "ellipse":
        return 1.33 * np.cos(t), np.sin(t) / 1.33
    lobes = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.sin(t) ** 3, -0.15 - lobes / 14.5


def _vertices(shape: int, factors: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """The vertices of pictures that share a shape, across and down, in steps of the grid, int64 (n, vertices)."""
    across, down = _outline(shape, geometry)
    scale, turn, x, y = (factors[:, j, None] / (SIZES[j] - 1) for j in range(1, 5))
    size, angle = geometry.unit * (1 + scale) / 2, 2 * math.pi * turn
    cos, sin = size * np.cos(angle), size * np.sin(angle)
    centre_x, centre_y = SIDE / 4 + SIDE / 2 * x, SIDE / 4 + SIDE / 2 * y
    places = cos * across + sin * down + centre_x, cos * down - sin * across + centre_y
    return tuple(np.rint(geometry.grid * place).astype(np.int64) for place in places)


def _scan(x: np.ndarray, y: np.ndarray, grid: int) -> np.ndarray:
    """Fill polygons with vertices (n, vertices): a word of 64 bits for each row, the leftmost pixel its highest bit."""
    n, corners = x.shape
    half = grid // 2
    to_x, to_y = np.roll(x, -1, axis=1), np.roll(y, -1, axis=1)
    first = ((np.minimum(y, to_y) - half) // grid + 1).ravel()  # an edge owns its lower end, not its upper one
    crossings = (np.maximum(y, to_y) - half).ravel() // grid - first + 1
    edge = np.repeat(np.arange(n * corners), crossings)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(crossings) - crossings - first, crossings)
    from_x, from_y = x.ravel()[edge], y.ravel()[edge]
    run, rise = to_x.ravel()[edge] - from_x, to_y.ravel()[edge] - from_y
    column = -(((half - from_x) * rise - (grid * row + half - from_y) * run) // (grid * rise))
    words = np.zeros(n * SIDE, np.uint64)
    np.bitwise_xor.at(words, edge // corners * SIDE + row, _ALL_ON >> column.astype(np.uint64))
    return words.reshape(n, SIDE)
