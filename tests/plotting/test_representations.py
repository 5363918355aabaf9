"""Traversals, codes against factors, matrices and trade-offs: what is drawn is what was given."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("agg")
import matplotlib.pyplot as plt

from latentbook import plotting

GRID = torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(4), torch.arange(5))
NAMES = ["shape", "scale", "pos_x", "pos_y"]


@pytest.fixture(autouse=True)
def closed():
    with matplotlib.rc_context():
        yield
    plt.close("all")


def test_a_traversal_has_a_row_for_each_latent_and_a_column_for_each_value():
    images = torch.arange(6.0).reshape(2, 3, 1).expand(2, 3, 4) / 10
    drawn = plotting.traversal_grid(images, [-1.5, 0, 1.5], image_shape=(2, 2))
    sheet = np.ma.filled(drawn.get_array(), np.nan)
    assert np.allclose(sheet[0, [0, 3, 6]], [0.0, 0.1, 0.2]) and np.allclose(sheet[3, [0, 3, 6]], [0.3, 0.4, 0.5])
    assert [label.get_text() for label in drawn.axes.get_yticklabels()] == ["$z_{1}$", "$z_{2}$"]
    assert [label.get_text() for label in drawn.axes.get_xticklabels()] == ["-1.5", "0", "+1.5"]


def test_a_traversal_needs_a_picture_for_each_value():
    with pytest.raises(ValueError, match=r"images has shape \(2, 3, 4\); expected \(latents, 2"):
        plotting.traversal_grid(torch.zeros(2, 3, 4), [0, 1], image_shape=(2, 2))


def test_codes_are_averaged_over_what_is_not_shown():
    codes = torch.stack([GRID[:, 2] + 10.0 * GRID[:, 3], GRID[:, 1] - 0.5 * GRID[:, 0]], dim=1)
    figure = plotting.code_plots(codes, GRID, names=NAMES, group="shape")
    axes = np.array(figure.axes).reshape(2, 2)
    across, down = np.meshgrid(np.arange(4), np.arange(5))
    assert np.allclose(axes[0, 0].images[0].get_array(), across + 10 * down)
    assert np.ptp(axes[1, 0].images[0].get_array()) == 0
    square, ellipse = axes[1, 1].get_lines()[:2]
    assert np.allclose(square.get_ydata(), [0, 1, 2]) and np.allclose(ellipse.get_ydata(), [-0.5, 0.5, 1.5])
    assert square.get_linestyle() != ellipse.get_linestyle()
    assert [ax.get_title(loc="center") for ax in axes[0]] == ["position", "scale"]


def test_codes_without_a_position_and_of_some_latents_only():
    codes = torch.randn(len(GRID), 3, generator=torch.Generator().manual_seed(0))
    figure = plotting.code_plots(codes, GRID, names=NAMES, position=None, latents=[2], row_labels=["mine"])
    assert len(figure.axes) == 4 and figure.axes[0].get_ylabel() == "mine"


@pytest.mark.parametrize(
    "codes, options, words",
    [
        (torch.zeros(5, 2), {}, "codes has shape"),
        (torch.zeros(len(GRID), 2), {"names": NAMES[:3]}, "a column for each of names"),
        (torch.zeros(len(GRID), 2), {"position": ("pos_x", "depth")}, "'depth' is not among the factors"),
        (torch.zeros(len(GRID), 2), {"group": "colour"}, "'colour' is not among the factors"),
        (torch.full((len(GRID), 2), torch.nan), {}, "codes holds"),
        (torch.zeros(len(GRID), 2), {"latents": [2]}, r"latents is \[2\]; expected indices from 0 to 1"),
        (torch.zeros(len(GRID), 2), {"latents": []}, r"latents is \[\]"),
        (torch.zeros(len(GRID), 2), {"row_labels": ["one"]}, r"row_labels is \['one'\]; expected 2 words"),
    ],
)
def test_code_plots_refuse_bad_input_by_name(codes, options, words):
    with pytest.raises(ValueError, match=words):
        plotting.code_plots(codes, GRID, **{"names": NAMES, **options})


def test_a_matrix_shows_its_numbers_readably():
    _, ax = plt.subplots()
    plotting.matrix(ax, [[0.0, 1.0], [0.25, 0.5]], rows=["a", "b"], columns=["c", "d"], digits=1)
    assert [text.get_text() for text in ax.texts] == ["0.0", "1.0", "0.2", "0.5"]
    assert [text.get_color() == "white" for text in ax.texts] == [False, True, False, False]
    with pytest.raises(ValueError, match=r"values has shape \(1, 2\); expected \(2, 2\)"):
        plotting.matrix(ax, [[0.0, 1.0]], rows=["a", "b"], columns=["c", "d"])


def test_a_trade_off_has_the_means_and_their_errors():
    _, ax = plt.subplots()
    x, y = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 5.0])
    (first, second) = plotting.trade_off(ax, {"one": [(x, y), (x + 1, y)], "two": [(x, y)]})
    assert np.allclose(first.lines[0].get_xydata(), [[1, 3], [2, 3]])
    across, down = (bars.get_segments()[0] for bars in first.lines[2])
    assert np.allclose(np.ptp(across[:, 0]), 2 * 1.0) and np.allclose(np.ptp(down[:, 1]), 2 * 2.0)
    assert first.lines[0].get_marker() != second.lines[0].get_marker()
    (wide,) = plotting.trade_off(ax, {"one": [(x, y)]}, errors="deviation")
    assert np.allclose(np.ptp(wide.lines[2][0].get_segments()[0][:, 0]), 2 * np.sqrt(2.0))


@pytest.mark.parametrize(
    "series, options, words",
    [
        ({}, {}, "series is empty"),
        ({"one": []}, {}, r"series has no setting for \['one'\]"),
        ({"one": [([0.0], [1.0])]}, {}, "2 or more"),
        ({"one": [([0.0, 1.0], [1.0])]}, {}, r"series\['one'\]"),
        ({"one": [([0.0, np.inf], [1.0, 2.0])]}, {}, "x of one holds 1 values"),
        ({"one": [([0.0, 1.0], [1.0, 2.0])]}, {"errors": "range"}, "errors is 'range'"),
    ],
)
def test_a_trade_off_refuses_bad_input_by_name(series, options, words):
    with pytest.raises(ValueError, match=words):
        plotting.trade_off(plt.subplots()[1], series, **options)
