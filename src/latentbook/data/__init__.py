"""Data sets: observations, and the factors that made them where known."""

from latentbook.data import digits, soft_sprites, sprites, tcl, toys
from latentbook.data.dataset import Dataset
from latentbook.data.stacked import Stacked

__all__ = ["Dataset", "Stacked", "digits", "soft_sprites", "sprites", "tcl", "toys"]
