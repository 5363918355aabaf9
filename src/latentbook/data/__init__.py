"""Data sets: observations, and the factors that made them where known."""

from latentbook.data import digits, toys
from latentbook.data.dataset import Dataset

__all__ = ["Dataset", "digits", "toys"]
