"""dSprites, rendered here bit for bit: nothing is downloaded.

The data set of L. Matthey, I. Higgins, D. Hassabis and A. Lerchner, *dSprites: Disentanglement testing Sprites dataset*
(2017, https://github.com/google-deepmind/dsprites-dataset, Apache-2.0 licence): a white square, ellipse or heart on
black, 64 x 64 pixels, with every combination of

======================  =======  =============================================
factor                  classes  values
======================  =======  =============================================
shape                         3  square, ellipse, heart
scale                         6  0.5 to 1
orientation                  40  0 to 360 degrees, so that class 39 repeats 0
pos_x, left to right         32  0 to 1
pos_y, top to bottom         32  0 to 1
======================  =======  =============================================

That is 737,280 pictures; pos_y runs fastest and shape slowest. :func:`render` makes any of them, :func:`load` all.
The renderer agrees with 254 pictures published beside the data set in every pixel (the tests hold them).

For runs of a few seconds there are reduced sets, :func:`hearts`, :func:`ellipses` and :func:`squares`. They are halved
to 32 x 32 pixels, where a pixel is on if two of its four are; they take every other position, about one of their pixels
apart; and their rows leave out the pixels that are never on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from latentbook.data import _cache, _raster
from latentbook.data._raster import FACTORS, SHAPES, SIDE, SIZES
from latentbook.data.dataset import Dataset

SHA256 = "3a228f4037ef3d42a42588e0e01f1078aa2df13cfa17584e88c95ed9fb5672da"
"""Of all pictures: the bytes of ``load().images``."""

_BYTES = SIDE * SIDE // 8
_CHUNK = 1024  # pictures rendered at a time


def render(factors: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """Pictures of sprites.

    Args:
        factors: the classes of shape, scale, orientation, pos_x and pos_y, integers (..., 5).

    Returns:
        uint8 (..., 64, 64), 1 where the sprite is; a tensor on the device of ``factors`` if that is one, else an array.

    Raises:
        TypeError: if ``factors`` does not hold integers.
        ValueError: if ``factors`` has another shape, or a class is outside its factor's range.

    Example:
        >>> render(np.array([[2, 5, 0, 16, 16]])).sum()  # pixels of a large heart
        226
    """
    classes = np.asarray(factors.cpu() if isinstance(factors, Tensor) else factors)
    _check_classes(classes)
    bits = np.unpackbits(_raster.packed(classes.reshape(-1, len(SIZES)).astype(np.int64)), axis=1)
    images = bits.reshape(*classes.shape[:-1], SIDE, SIDE)
    return torch.from_numpy(images).to(factors.device) if isinstance(factors, Tensor) else images


class Sprites(Dataset):
    """Black-and-white pictures of 64 x 64 pixels, kept as bits and unpacked a batch at a time.

    ``x`` holds 8 pixels a byte, row by row in the order of ``numpy.packbits``: uint8 (n, 512). The other arguments are
    those of :class:`~latentbook.data.Dataset`.

    Raises:
        TypeError: if ``x`` or ``factors`` is not a tensor of the type named above.
        ValueError: if a shape or a class does not fit.
    """

    def _check_x(self) -> None:
        if not isinstance(self.x, Tensor) or self.x.dtype != torch.uint8:
            kind = getattr(self.x, "dtype", type(self.x).__name__)
            raise TypeError(f"x is {kind}; expected a uint8 tensor (n, {_BYTES}) of packed bits")
        if self.x.ndim != 2 or self.x.shape[1] != _BYTES or not len(self.x):
            raise ValueError(f"x has shape {tuple(self.x.shape)}; expected (n, {_BYTES}) with at least one row")
        self._check_image_shape()

    @property
    def features(self) -> int:
        """How many numbers a row of :meth:`batch` has: 4096."""
        return SIDE * SIDE

    @property
    def images(self) -> Tensor:
        """The packed bits of all pictures, uint8 (n, 512); see also :meth:`~latentbook.data.Dataset.pictures`."""
        return self.x

    def batch(self, index: Tensor) -> Tensor:
        """The rows at ``index``, an int64 tensor of any shape ``s``, unpacked: float32 (s, 4096) of 0 and 1."""
        return functional.embedding(self.x[index].int(), _pixels(self.x.device)).flatten(-2)


@lru_cache
def _pixels(device: torch.device) -> Tensor:
    """The 8 pixels of every byte, (256, 8)."""
    return torch.from_numpy(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)).float().to(device)


def load(cache: str | os.PathLike[str] | None = None, *, progress: bool = True) -> Sprites:
    """All 737,280 pictures, rendered at the first call and kept on disk from then on.

    Args:
        cache: the folder to keep them in, 377 MB; by default $LATENTBOOK_CACHE, else ``latentbook`` in the user's cache
            folder. A file there that is damaged is made again, with a warning.
        progress: whether to show a bar while rendering.

    Returns:
        ``images`` uint8 (737280, 512), packed bits in the official order, mapped from the file; ``factors`` int64
        (737280, 5). A batch is float32 (..., 4096).

    Raises:
        RuntimeError: if this machine renders other bits than it should.
    """

    def make() -> np.ndarray:
        images = np.empty((len(factors), _BYTES), np.uint8)
        starts = range(0, len(factors), _CHUNK)
        for start in tqdm(starts, desc="sprites", disable=None if progress else True):
            images[start : start + _CHUNK] = _raster.packed(factors[start : start + _CHUNK].numpy())
        return images

    factors = torch.cartesian_prod(*map(torch.arange, SIZES))
    images = _cache.stored(_cache.folder(cache) / "sprites.npy", make, SHA256)
    return packed(torch.from_numpy(images), factors, "sprites")


def packed(images: Tensor, factors: Tensor, name: str) -> Sprites:
    """A data set of packed pictures with the five factors of dSprites."""
    return Sprites(images, factors, SIZES, FACTORS, name, (SIDE, SIDE))


@dataclass(frozen=True, eq=False, repr=False)
class LiveSprites(Dataset):
    """A reduced set of sprites, whose rows hold only the pixels that are ever on.

    Args:
        live: which pixels those are, bool (height, width); the other arguments are those of
            :class:`~latentbook.data.Dataset`.
    """

    live: Tensor | None = None

    def _check_image_shape(self) -> None:
        shape, count = (None, 0) if self.live is None else (tuple(self.live.shape), int(self.live.sum()))
        if shape is None or shape != self.image_shape or count != self.features:
            words = f"{self.image_shape} with {self.features} True, one per feature"
            raise ValueError(f"live has shape {shape} with {count} True; expected a mask {words}")

    def pictures(self, rows: Tensor) -> Tensor:
        """Rows, from this data set or from a model of it, put back into their frame.

        Args:
            rows: (..., live pixels).

        Returns:
            (..., height, width), 0 where a pixel is never on.

        Raises:
            ValueError: if the rows have another number of pixels.
        """
        if rows.shape[-1:] != (self.features,):
            raise ValueError(f"rows has shape {tuple(rows.shape)}; expected (..., {self.features}), as x has")
        frame = rows.new_zeros(*rows.shape[:-1], *self.image_shape)
        frame[..., self.live.to(rows.device)] = rows
        return frame


def hearts() -> LiveSprites:
    """The reduced set for live runs: an upright heart in 6 scales at 16 x 16 positions.

    Returns:
        1,536 rows, all distinct, of 599 pixels out of 32 x 32; factors scale, pos_x and pos_y.
    """
    return _reduced("sprites: hearts", shape=[2], scale=range(6), orientation=[0])


def ellipses() -> LiveSprites:
    """The reduced set that turns: an ellipse in 6 scales, 10 orientations over half a turn, 16 x 16 positions.

    Returns:
        15,360 rows, 15,347 of them distinct, of 783 pixels; factors scale, orientation, pos_x and pos_y.
    """
    return _reduced("sprites: ellipses", shape=[1], scale=range(6), orientation=range(0, 20, 2))


def squares(scale: int = 5) -> LiveSprites:
    """The toy: one upright square at 16 x 16 positions.

    Args:
        scale: the class of its scale, 0 to 5.

    Returns:
        256 rows, all distinct, of 675 pixels at scale 5; factors pos_x and pos_y.

    Raises:
        ValueError: if ``scale`` is no class.
    """
    return _reduced("sprites: squares", shape=[0], scale=[scale], orientation=[0])


def _reduced(name: str, **classes: Iterable[int]) -> LiveSprites:
    """Every combination of ``classes``, at every other position and half the size."""
    positions = range(0, SIZES[-1], 2)
    levels = [torch.tensor(list(classes.get(factor, positions))) for factor in FACTORS]
    images = render(torch.cartesian_prod(*levels))
    half = SIDE // 2
    pooled = images.reshape(-1, half, 2, half, 2).sum((2, 4), dtype=torch.uint8) >= 2
    live, sizes = pooled.any(0), [len(level) for level in levels]
    varied = [j for j, size in enumerate(sizes) if size > 1]
    return LiveSprites(
        x=pooled[:, live].float(),
        factors=torch.cartesian_prod(*map(torch.arange, sizes))[:, varied],
        factor_sizes=tuple(sizes[j] for j in varied),
        factor_names=tuple(FACTORS[j] for j in varied),
        name=name,
        image_shape=(half, half),
        live=live,
    )


def _check_classes(classes: np.ndarray) -> None:
    if not np.issubdtype(classes.dtype, np.integer):
        raise TypeError(f"factors has dtype {classes.dtype}; expected integers, the classes of {', '.join(FACTORS)}")
    if classes.shape[-1:] != (len(SIZES),):
        raise ValueError(f"factors has shape {classes.shape}; expected (..., 5): {', '.join(FACTORS)}")
    for j, (factor, size) in enumerate(zip(FACTORS, SIZES, strict=True)):
        column = classes[..., j]
        if column.size and (column.min() < 0 or column.max() >= size):
            value = int(column[(column < 0) | (column >= size)].flat[0])
            raise ValueError(f"factors[..., {j}], {factor}, holds {value}; expected 0 to {size - 1}")


__all__ = ["FACTORS", "SHAPES", "SIZES", "LiveSprites", "Sprites", "ellipses", "hearts", "load", "render", "squares"]
