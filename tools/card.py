"""Draw the picture that link previews show: ``python tools/card.py`` writes ``book/assets/static/card.png``."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch

from latentbook.plotting import COLOURS, ellipse

CARD = Path(__file__).resolve().parent.parent / "book" / "assets" / "static" / "card.png"
PRECISION = torch.diag(torch.tensor([17.0, 2.0], dtype=torch.float64))


def draw_model(ax: plt.Axes, degrees: float, title: str, gap: str) -> None:
    """A posterior, turned, and the best that an upright Gaussian can do."""
    angle = math.radians(degrees)
    turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    precision = turn @ PRECISION @ turn.mT
    ax.axhline(0, color="#c4ccd4", linewidth=1.2)
    ax.axvline(0, color="#c4ccd4", linewidth=1.2)
    ellipse(ax, [0, 0], precision.inverse(), colour=COLOURS["blue"])
    ellipse(ax, [0, 0], 1 / precision.diag(), colour=COLOURS["vermilion"], filled=False, linewidth=2.4)
    ax.set(xlim=(-1.35, 1.35), ylim=(-1.7, 1.7), aspect="equal")
    ax.axis("off")
    ax.set_title(title, fontsize=19, color=COLOURS["ink"])
    ax.text(0, -1.95, gap, ha="center", fontsize=17, color="#B34700")


def draw_card(path: Path = CARD) -> None:
    """Write the card, 1200 by 630 pixels."""
    with plt.rc_context({"font.family": "serif", "font.serif": ["DejaVu Serif"]}):
        figure = plt.figure(figsize=(12, 6.3), facecolor="white")
        figure.text(
            0.06, 0.60, "When does a VAE\nfind the true factors,\nand why?", fontsize=37, color="#222222", va="center"
        )
        figure.text(
            0.06,
            0.27,
            "Two models of equal likelihood.\nOnly one has found them.",
            fontsize=20,
            color="#555555",
            va="center",
        )
        figure.text(0.06, 0.10, "latentbook", fontsize=20, color="#00588a")
        draw_model(figure.add_axes((0.56, 0.17, 0.21, 0.66)), 0, "Model A", "gap 0")
        draw_model(figure.add_axes((0.77, 0.17, 0.21, 0.66)), -30, "Model B", "gap 0.40 nats")
        figure.savefig(path, dpi=100, metadata={"Software": None}, pil_kwargs={"optimize": True})
        plt.close(figure)


if __name__ == "__main__":
    draw_card()
