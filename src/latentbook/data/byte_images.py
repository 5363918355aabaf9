"""Pictures of many grey levels or colours, kept as bytes."""

from __future__ import annotations

import torch
from torch import Tensor

from latentbook.data.dataset import Dataset


class ByteImages(Dataset):
    """Pictures whose rows are kept as bytes, and become numbers from 0 to 1 a batch at a time.

    ``x`` is uint8 (n, features). A row of a colour picture holds its channels one after the other, (channels, height,
    width), as convolutional models take them; ``image_shape`` is (height, width, channels) all the same, and
    :meth:`pictures` puts the channels last. The other arguments are those of :class:`~latentbook.data.Dataset`.

    Raises:
        TypeError: if ``x`` or ``factors`` is not a tensor of the type named above.
        ValueError: if a shape or a class does not fit.
    """

    def _check_x(self) -> None:
        if not isinstance(self.x, Tensor) or self.x.dtype != torch.uint8:
            kind = getattr(self.x, "dtype", type(self.x).__name__)
            raise TypeError(f"x is {kind}; expected a uint8 tensor (n, features)")
        if self.x.ndim != 2 or not self.x.numel():
            raise ValueError(f"x has shape {tuple(self.x.shape)}; expected (n, features), at least one of each")
        self._check_image_shape()

    def batch(self, index: Tensor) -> Tensor:
        """The rows at ``index``, an int64 tensor of any shape ``s``: float32 (s, features) in [0, 1]."""
        return self.x[index].float() / 255

    def pictures(self, rows: Tensor) -> Tensor:
        """Rows, from this data set or from a model of it, as pictures with the channels last.

        Args:
            rows: (..., features).

        Returns:
            (..., height, width) or (..., height, width, channels).

        Raises:
            ValueError: if the rows are no pictures, or have another number of features than this data set.
        """
        images = super().pictures(rows)
        if len(self.image_shape) < 3:
            return images
        height, width, channels = self.image_shape
        return rows.reshape(*rows.shape[:-1], channels, height, width).movedim(-3, -1)
