"""Plot style and drawings."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex, to_rgb

from latentbook import plotting
from latentbook.plotting.style import luminance, readable


@pytest.fixture(autouse=True)
def fresh_style():
    threads = torch.get_num_threads()
    with matplotlib.rc_context():
        yield
    plt.close("all")
    torch.set_num_threads(threads)


@pytest.fixture
def ax():
    plotting.start_chapter()
    return plt.subplots()[1]


def test_start_chapter_sets_style_and_threads_and_may_be_called_twice():
    plotting.start_chapter(threads=2)
    once = dict(matplotlib.rcParams)
    assert torch.get_num_threads() == 2
    assert matplotlib.rcParams["figure.facecolor"] == "white"
    assert matplotlib.rcParams["figure.constrained_layout.use"]
    plotting.start_chapter(threads=2)
    assert dict(matplotlib.rcParams) == once


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_start_chapter_refuses_bad_threads(threads):
    with pytest.raises(ValueError, match="threads is"):
        plotting.start_chapter(threads)


def test_import_alone_changes_nothing():
    code = (
        "import matplotlib, torch\n"
        "before = dict(matplotlib.rcParams), torch.get_num_threads(), torch.get_default_dtype()\n"
        "import latentbook.plotting, latentbook.widgets, latentbook.checks, latentbook.data\n"
        "assert before == (dict(matplotlib.rcParams), torch.get_num_threads(), torch.get_default_dtype())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_style_draws_with_the_named_colours_and_none_is_pale():
    plotting.start_chapter()
    cycle = [to_hex(entry["color"]) for entry in matplotlib.rcParams["axes.prop_cycle"]]
    assert set(cycle) == {colour.lower() for name, colour in plotting.COLOURS.items() if name != "grey"}
    for colour in cycle:
        assert 1.05 / (luminance(np.array(to_rgb(colour))) + 0.05) > 2  # visible on the white card
        assert 1.05 / (luminance(np.array(readable(colour))) + 0.05) >= 4.5  # legible text


def test_image_grid_puts_every_picture_in_its_place():
    pictures = torch.arange(1, 6).reshape(5, 1, 1).expand(5, 4, 3) / 10
    drawn = plotting.image_grid(pictures, 2, 3, row_labels=["a", "b"], column_labels=["x", "y", "z"])
    sheet = np.ma.filled(drawn.get_array(), np.nan)
    assert sheet.shape == (2 * 4 + 1, 3 * 3 + 2)
    assert np.allclose(sheet[:4, :3], 0.1) and np.allclose(sheet[:4, 8:], 0.3) and np.allclose(sheet[5:, 4:7], 0.5)
    assert np.isnan(sheet[5:, 8:]).all() and np.isnan(sheet[4]).all()
    assert [label.get_text() for label in drawn.axes.get_yticklabels()] == ["a", "b"]
    assert drawn.get_clim() == (0.0, 1.0)


def test_image_grid_takes_rows_of_pixels_colours_and_given_axes(ax):
    flat = plotting.image_grid(np.arange(24.0).reshape(2, 12), 1, 2, image_shape=(4, 3), limits=None, ax=ax)
    assert flat.axes is ax and flat.get_clim() == (0.0, 23.0)
    colour = plotting.image_grid(np.full((1, 4, 4, 3), 0.5), 1, 2)
    assert np.allclose(colour.get_array()[:, :4], 0.5) and np.allclose(colour.get_array()[:, 4:], 1.0)


@pytest.mark.parametrize(
    "images, options, words",
    [
        (np.zeros((5, 2, 2)), {}, "images holds 5 pictures; expected at most 2 x 2"),
        (np.zeros((4, 9)), {}, "images has shape"),
        (np.zeros((4, 9)), {"image_shape": (2, 2)}, "image_shape is"),
        (np.zeros((4, 2, 2, 4)), {}, "images has shape"),
        (np.full((1, 2, 2), np.nan), {}, "images holds 4 values that are NaN"),
        (np.zeros((0, 2, 2)), {}, "images has shape"),
        (["a"], {}, "images is a list"),
        (np.zeros((1, 2, 2)), {"rows": 0}, "rows is 0"),
        (np.zeros((1, 2, 2)), {"row_labels": ["a"]}, "row_labels holds 1 words; expected 2"),
    ],
)
def test_image_grid_refuses_bad_input_by_name(images, options, words):
    with pytest.raises(ValueError, match=words):
        plotting.image_grid(images, **{"rows": 2, "columns": 2, **options})


def test_labels_stand_at_the_ends_in_order_and_do_not_overlap(ax):
    for i in range(6):
        ax.plot([0, 1], [0, 0.001 * i], label=f"line {i}")
    ax.plot([0, 1], [0, 5], label="_hidden")
    labels = plotting.label_lines(ax)
    assert [label.get_text() for label in labels] == [f"line {i}" for i in range(6)]
    ax.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in labels]
    assert all(upper.y0 >= lower.y1 for lower, upper in pairwise(boxes))
    assert boxes[0].y0 > ax.bbox.y0 - boxes[0].height and boxes[-1].x1 <= ax.figure.bbox.x1


def test_a_lone_label_stands_level_with_its_line_on_a_logarithmic_axis(ax):
    ax.set_yscale("log")
    ax.plot([2, 1, 0], [10, 100, np.nan], label="one")
    (label,) = plotting.label_lines(ax)
    assert label.xy == (2, 10)
    ax.figure.canvas.draw()
    box = label.get_window_extent()
    end = ax.transData.transform((2, 10))
    assert abs((box.y0 + box.y1) / 2 - end[1]) < 2 and box.x0 > end[0]


def test_label_lines_needs_labels(ax):
    ax.plot([0, 1])
    with pytest.raises(ValueError, match="no line with a label"):
        plotting.label_lines(ax)


def test_the_ellipse_is_the_level_set_of_the_gaussian(ax):
    covariance = torch.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=torch.float64, requires_grad=True)
    patch = plotting.ellipse(ax, torch.tensor([1.0, -2.0]), covariance, sigmas=1.5, linestyle="--")
    edge = patch.get_patch_transform().transform(patch.get_path().vertices) - [1, -2]
    on_the_curve = [0, 3, 6, 9, 12]  # ends of the Bezier arcs, where the path is exact
    level = np.einsum("ni,ij,nj->n", edge, np.linalg.inv(covariance.detach().numpy()), edge)[on_the_curve]
    assert np.allclose(level, 1.5**2)
    assert patch.get_linestyle() == "--"
    assert ax.get_xlim()[0] < 1 - 1.5 * 2**0.5 and ax.get_xlim()[1] > 1 + 1.5 * 2**0.5


def test_the_ellipse_of_two_variances_lies_along_the_axes(ax):
    patch = plotting.ellipse(ax, [0, 0], [4.0, 1.0], colour=plotting.COLOURS["green"], filled=False)
    assert np.allclose([patch.width, patch.height], [8, 4]) and patch.angle % 180 == 0
    assert patch.get_facecolor()[3] == 0
    assert to_hex(patch.get_edgecolor()) == plotting.COLOURS["green"].lower()


@pytest.mark.parametrize(
    "mean, covariance, sigmas, words",
    [
        ([0, 0, 0], [1, 1], 2, r"mean has shape \(3,\)"),
        ([0, 0], np.eye(3), 2, r"covariance has shape \(3, 3\)"),
        ([0, 0], [[1, 0.5], [0, 1]], 2, "symmetric"),
        ([0, 0], [[1, 2], [2, 1]], 2, "eigenvalue -1"),
        ([0, 0], [1, -1], 2, "eigenvalue -1"),
        ([0, 0], [1, 1], 0, "sigmas is 0"),
        ([0, np.nan], [1, 1], 2, "mean holds 1"),
    ],
)
def test_the_ellipse_refuses_bad_input_by_name(ax, mean, covariance, sigmas, words):
    with pytest.raises(ValueError, match=words):
        plotting.ellipse(ax, mean, covariance, sigmas=sigmas)


def test_spread_draws_the_mean_and_what_surrounds_it(ax):
    y = torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 9.0]])
    line, band = plotting.spread(ax, [0, 1, 2], y, label="ELBO")
    assert line.get_ydata().tolist() == [2, 3, 6] and line.get_label() == "ELBO"
    assert isinstance(band, PolyCollection)
    heights = band.get_paths()[0].vertices
    assert np.isclose(heights[heights[:, 0] == 2, 1].max(), 6 + 18**0.5)  # deviation with members - 1
    widest = plotting.spread(ax, [0, 1, 2], y, around="range").around.get_paths()[0].vertices
    assert widest[widest[:, 0] == 2, 1].max() == 9
    thin = plotting.spread(ax, [0, 1, 2], y, around="members", colour="#009E73").around
    assert isinstance(thin, LineCollection) and len(thin.get_segments()) == 2


def test_spread_of_a_single_seed_is_a_line(ax):
    band = plotting.spread(ax, [0, 1], [[1.0, 2.0]]).around.get_paths()[0].vertices
    assert set(band[:, 1]) == {1.0, 2.0}


@pytest.mark.parametrize(
    "x, y, around, words",
    [
        ([0, 1], [1.0, 2.0], "range", r"y \(2,\)"),
        ([0, 1], [[1.0, 2.0, 3.0]], "range", r"y \(1, 3\)"),
        ([0, 1], [[1.0, np.inf]], "range", "y holds 1"),
        ([0, 1], [[1.0, 2.0]], "error", "around is 'error'"),
    ],
)
def test_spread_refuses_bad_input_by_name(ax, x, y, around, words):
    with pytest.raises(ValueError, match=words):
        plotting.spread(ax, x, y, around=around)
