"""Data sets: observations, and the factors that made them where known."""

from latentbook.data import digits, loaders, soft_sprites, sprites, tcl, toys
from latentbook.data.byte_images import ByteImages
from latentbook.data.dataset import Dataset
from latentbook.data.stacked import Stacked

__all__ = ["ByteImages", "Dataset", "Stacked", "digits", "loaders", "soft_sprites", "sprites", "tcl", "toys"]
