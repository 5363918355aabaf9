"""dSprites, rendered here bit for bit: nothing is downloaded.

The data set of L. Matthey, I. Higgins, D. Hassabis and A. Lerchner, *dSprites: Disentanglement testing Sprites dataset*
(2017, https://github.com/google-deepmind/dsprites-dataset, Apache-2.0 licence): a white square, ellipse or heart on black,
64 x 64 pixels, with every combination of

======================  =======  =============================================
factor                  classes  values
======================  =======  =============================================
shape                         3  square, ellipse, heart
scale                         6  0.5 to 1
orientation                  40  0 to 360 degrees, so that class 39 repeats 0
pos_x, left to right         32  0 to 1
pos_y, top to bottom         32  0 to 1
======================  =======  =============================================

That is 737,280 pictures; pos_y runs fastest and shape slowest. :func:`render` makes any of them, :func:`load` all of them.
The renderer agrees with the 254 pictures published beside the data set in every pixel (the tests hold them).

For runs of a few seconds there are reduced sets, :func:`hearts`, :func:`ellipses` and :func:`squares`. They are halved to
32 x 32 pixels, where a pixel is on if two of its four are; they take every other position, about one of their pixels apart;
and their rows leave out the pixels that are never on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentbook.data import _raster
from latentbook.data._raster import FACTORS, SHAPES, SIDE, SIZES
from latentbook.data.dataset import Dataset


def render(factors: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """Pictures of sprites.

    Args:
        factors: the classes of shape, scale, orientation, pos_x and pos_y, integers (..., 5).

    Returns:
        uint8 (..., 64, 64), 1 where the sprite is; a tensor on the device of ``factors`` if that is a tensor, else an array.

    Raises:
        TypeError: if ``factors`` does not hold integers.
        ValueError: if ``factors`` has another shape, or a class is outside its factor's range.

    Example:
        >>> render(np.array([[2, 5, 0, 16, 16]])).sum()  # pixels of a large heart
        295
    """
    classes = np.asarray(factors.cpu() if isinstance(factors, Tensor) else factors)
    _check_classes(classes)
    bits = np.unpackbits(_raster.packed(classes.reshape(-1, len(SIZES)).astype(np.int64)), axis=1)
    images = bits.reshape(*classes.shape[:-1], SIDE, SIDE)
    return torch.from_numpy(images).to(factors.device) if isinstance(factors, Tensor) else images


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
            raise ValueError(
                f"rows has shape {tuple(rows.shape)}; expected (..., {self.features}), as the data set has"
            )
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
    """The reduced set with a turning factor: an ellipse in 6 scales, 10 orientations over half a turn, 16 x 16 positions.

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
    levels = [list(classes.get(factor, positions)) for factor in FACTORS]
    images = render(np.stack(np.meshgrid(*levels, indexing="ij"), axis=-1).reshape(-1, len(SIZES)))
    half = SIDE // 2
    pooled = torch.from_numpy(images.reshape(-1, half, 2, half, 2).sum((2, 4)) >= 2)
    live, sizes = pooled.any(0), [len(level) for level in levels]
    varied = [j for j, size in enumerate(sizes) if size > 1]
    return LiveSprites(
        x=pooled[:, live].float(),
        factors=torch.from_numpy(np.indices(sizes).reshape(len(sizes), -1).T[:, varied].astype(np.int64)),
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


__all__ = ["FACTORS", "SHAPES", "SIZES", "LiveSprites", "ellipses", "hearts", "render", "squares"]
