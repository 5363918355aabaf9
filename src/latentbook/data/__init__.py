"""Data sets: observations, and the factors that made them where known."""

from latentbook.data import digits, soft_sprites, toys
from latentbook.data.dataset import Dataset

__all__ = ["Dataset", "digits", "soft_sprites", "toys"]
