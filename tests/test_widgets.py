"""The kernel-free slider: its pictures, its link, its words, its weight."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser

import ipywidgets
import matplotlib
import pytest
from matplotlib.image import imread

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from latentbook.widgets import slider


def picture(value, size=(2.0, 1.0)):
    figure, ax = plt.subplots(figsize=size)
    ax.bar([0], [value])
    ax.set_ylim(0, 10)
    return figure


def attributes(frame: ipywidgets.HTML) -> dict[str, str]:
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.append((tag, dict(attrs)))
    parser.feed(frame.value)
    ((tag, attrs),) = found
    assert tag == "img"
    return attrs


def pixels(frame: ipywidgets.HTML):
    return imread(io.BytesIO(base64.b64decode(attributes(frame)["src"].removeprefix("data:image/png;base64,"))))


def test_one_picture_a_value_of_one_size_and_each_with_its_words():
    box = slider(picture, [1, 2.5, 8], label="β", alt="a bar of height {}", start=1, dpi=150)
    control, stack = box.children
    assert control._options_labels == ("1", "2.5", "8") and control.description == "β"
    assert (control.index, stack.selected_index) == (1, 1)
    assert [attributes(frame)["alt"] for frame in stack.children] == [f"a bar of height {v}" for v in ("1", "2.5", "8")]
    images = [pixels(frame) for frame in stack.children]
    assert all(image.shape[:2] == (150, 300) for image in images)
    assert not (images[0] == images[2]).all()
    assert (attributes(stack.children[0])["width"], attributes(stack.children[0])["height"]) == ("200", "100")


def test_the_link_is_one_that_the_browser_follows():
    control, stack = slider(picture, [1, 2], label="β", alt="{}").children
    state = ipywidgets.Widget.get_manager_state()["state"]
    links = [entry["state"] for entry in state.values() if entry["model_name"] == "LinkModel"]
    ours = [link for link in links if link["source"] == [f"IPY_MODEL_{control.model_id}", "index"]]
    assert [link["target"] for link in ours] == [[f"IPY_MODEL_{stack.model_id}", "selected_index"]]


def bar(height, width):
    figure, ax = plt.subplots(figsize=(2, 1))
    ax.bar([0], [height], width)
    ax.set(xlim=(-1, 1), ylim=(0, 10))
    return figure


def test_two_sliders_choose_one_of_all_combinations():
    look = {"label": ("height", "width"), "alt": "height {}, width {}", "start": (1, 2)}
    *controls, stack = slider(bar, [2, 8], [0.1, 0.5, 1], **look).children
    assert [(c.description, c.index, len(c.options)) for c in controls] == [("height", 1, 2), ("width", 2, 3)]
    rows = [[attributes(frame)["alt"] for frame in inner.children] for inner in stack.children]
    assert rows == [[f"height {h}, width {w}" for w in ("0.1", "0.5", "1")] for h in ("2", "8")]
    assert (stack.selected_index, [inner.selected_index for inner in stack.children]) == (1, [2, 2])
    assert not (pixels(stack.children[0].children[2]) == pixels(stack.children[1].children[2])).all()
    state = ipywidgets.Widget.get_manager_state()["state"].values()
    links = [entry["state"] for entry in state if entry["model_name"] == "LinkModel"]
    for control, stacks in ((controls[0], [stack]), (controls[1], stack.children)):
        ours = [link["target"] for link in links if link["source"] == [f"IPY_MODEL_{control.model_id}", "index"]]
        assert ours == [[f"IPY_MODEL_{each.model_id}", "selected_index"] for each in stacks]


def test_two_sliders_each_with_its_own_words_or_the_same_for_both():
    look = {"label": ("height", "width"), "alt": lambda height, width: f"{height} by {width}"}
    own = slider(bar, [2, 8], [1, 2], value_format=("{} m", lambda v: f"{v} px"), start=1, **look)
    assert [control._options_labels for control in own.children[:2]] == [("2 m", "8 m"), ("1 px", "2 px")]
    assert [control.index for control in own.children[:2]] == [1, 1]
    assert attributes(own.children[2].children[1].children[0])["alt"] == "8 by 1"


@pytest.mark.parametrize(
    "options, words",
    [
        ({"label": "β"}, r"label is 'β'; expected a different name for each of 2"),
        ({"label": ("β",)}, r"label is \('β',\); expected one for each of 2"),
        ({"start": (0, 3)}, "start is 3; expected a position from 0 to 1"),
        ({"start": (0, 0, 0)}, "start is .*; expected one for each of 2"),
        ({"alt": lambda height, width: ""}, "alt is '' at 2, 1"),
        ({"max_megabytes": 1e-3}, "after 1 of 4"),
    ],
)
def test_two_sliders_refuse_bad_input_by_name(options, words):
    with pytest.raises(ValueError, match=words):
        slider(bar, [2, 8], [1, 2], **{"label": ("height", "width"), "alt": "{} {}", **options})


def test_no_values_are_refused_by_name():
    with pytest.raises(ValueError, match="values is missing"):
        slider(picture, label="β", alt="{}")


def test_no_figure_stays_open():
    other = plt.figure()
    slider(picture, [1, 2], label="β", alt="{}")
    assert plt.get_fignums() == [other.number]
    plt.close(other)


def test_no_figure_stays_open_when_drawing_fails():
    def fails(value):
        plt.figure()
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        slider(fails, [1, 2], label="β", alt="{}")
    assert plt.get_fignums() == []


def test_figures_made_without_pyplot_serve_too():
    assert slider(lambda value: Figure(figsize=(1, 1)), [1, 2], label="β", alt="{}")


def test_words_by_function_and_values_that_are_text():
    box = slider(
        picture, [1, 2], label="γ²", alt=lambda v: f'<a "bar"> of {v} & more', value_format=lambda v: f"10^{v}"
    )
    assert box.children[0]._options_labels == ("10^1", "10^2")
    assert attributes(box.children[1].children[1])["alt"] == '<a "bar"> of 2 & more'
    named = slider(lambda value: picture(len(value)), ["first", "second"], label="method", alt="{}")
    assert named.children[0]._options_labels == ("first", "second")


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"values": [1]}, ValueError, "values holds 1"),
        ({"label": " "}, ValueError, "label is ' '"),
        ({"alt": ""}, ValueError, "alt is ''"),
        ({"alt": lambda value: None}, ValueError, "alt is None at 1"),
        ({"start": 2}, ValueError, "start is 2; expected a position from 0 to 1"),
        ({"start": -1}, ValueError, "start is -1"),
        ({"values": [1.0, 1.0000001]}, ValueError, "writes two of the values alike"),
        ({"values": [(1, 2), (2, 3)]}, ValueError, "value_format is '{:g}'"),
        ({"render": lambda value: None}, TypeError, "render returned a NoneType at 1"),
        ({"render": lambda value: picture(value, (2, value))}, ValueError, r"expected \(2.0, 1.0\), as at 1"),
        ({"max_megabytes": 1e-3}, ValueError, "weigh more than max_megabytes = 0.001 after 1 of 2"),
    ],
)
def test_bad_input_is_refused_by_name(options, error, words):
    arguments = {"render": picture, "values": [1, 2], "label": "β", "alt": "a bar of {}", **options}
    with pytest.raises(error, match=words):
        slider(arguments.pop("render"), arguments.pop("values"), **arguments)
    assert plt.get_fignums() == []
