"""The palette, seen by colour-blind eyes, and on the card that carries the figures in light and dark mode."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from latentbook.plotting import COLOURS
from latentbook.plotting.style import luminance, readable

# G. M. Machado, M. M. Oliveira and L. A. F. Fernandes (2009), severity 1, on linear RGB
EYES = {
    "all cones": np.eye(3),
    "no red cones": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green cones": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no blue cones": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour: str, eye: str) -> np.ndarray:
    """CIELAB coordinates (D65) of a colour as an eye sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(EYES[eye]) @ linear, 0, 1) / TO_XYZ.sum(1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(first: str, second: str, eye: str) -> float:
    return float(np.linalg.norm(lab(first, eye) - lab(second, eye)))


def contrast(colour, background="white") -> float:
    dark, light = sorted(luminance(np.array(to_rgb(c))) for c in (colour, background))
    return (light + 0.05) / (dark + 0.05)


def test_the_simulation_knows_what_each_eye_confuses():
    assert lab("white", "all cones") == pytest.approx([100, 0, 0], abs=0.02)
    assert lab("red", "all cones") == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    red, green = "#d62728", "#2ca02c"  # a red and a green that are not safe
    assert distance(red, green, "all cones") > 100
    assert min(distance(red, green, eye) for eye in EYES) < 35
    for eye in EYES:  # greys stay grey
        assert lab("#808080", eye) == pytest.approx(lab("#808080", "all cones"), abs=0.05)


@pytest.mark.parametrize("eye", EYES)
def test_any_two_colours_of_the_palette_differ_for_every_eye(eye):
    close = {
        (first, second): round(distance(COLOURS[first], COLOURS[second], eye), 1)
        for first, second in combinations(COLOURS, 2)
        if distance(COLOURS[first], COLOURS[second], eye) < 15
    }
    assert not close


def test_figures_draw_with_the_palette_alone(root: Path):
    with plt.style.context(root / "src" / "latentbook" / "latentbook.mplstyle"):
        cycle = [to_hex(entry["color"]) for entry in plt.rcParams["axes.prop_cycle"]]
        names = ("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor")
        letters = [plt.rcParams[name] for name in names]
        assert to_hex(plt.rcParams["figure.facecolor"]) == to_hex(plt.rcParams["savefig.facecolor"]) == "#ffffff"
    assert set(cycle) <= {colour.lower() for colour in COLOURS.values()}
    assert all(contrast(colour) >= 4.5 for colour in letters)


@pytest.mark.parametrize("name", COLOURS)
def test_letters_in_any_colour_can_be_read(name):
    assert contrast(readable(COLOURS[name])) >= 4.5
    if name in ("ink", "grey"):
        assert contrast(COLOURS[name]) >= 4.5


def test_the_card_is_white_in_both_modes(root: Path):
    css = (root / "book" / "assets" / "static" / "latentbook.css").read_text()
    assert re.findall(r"--lb-card:\s*(#\w+)", css) == ["#ffffff"]
