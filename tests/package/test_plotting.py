"""Figures are checked on the data that they draw, not on their pixels."""

from __future__ import annotations

from itertools import pairwise

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.animation import FuncAnimation

from course_flows import plotting
from course_flows.diagnostics import Diagnosis, LayerReport


@pytest.fixture(autouse=True)
def _own_style():
    mpl.use("Agg")
    with mpl.rc_context():
        plotting.use_style()
        yield
    plt.close("all")


def luminance(color: str) -> float:
    r, g, b = mpl.colors.to_rgb(color)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_neighboring_lines_differ_in_gray_or_dash():
    styles = list(plt.rcParams["axes.prop_cycle"])
    assert len({str(s["linestyle"]) for s in styles}) == len(styles)
    assert len({s["color"] for s in styles}) == len(styles)
    for a, b in pairwise(styles):
        assert abs(luminance(a["color"]) - luminance(b["color"])) > 0.02


def test_density_is_painted_where_it_is():
    _, ax = plotting.figure()
    mesh = plotting.show_density_2d(ax, lambda x: -(x - torch.tensor([1.0, -2.0])).square().sum(-1), resolution=61)
    values = np.asarray(mesh.get_array())
    row, column = np.unravel_index(values.argmax(), values.shape)
    assert mesh.get_coordinates()[row, column].tolist() == pytest.approx([1.0, -2.0])
    assert values.max() == pytest.approx(1.0)


def test_grid_lines_go_through_the_map():
    _, ax = plotting.figure()
    plotting.show_deformed_grid(ax, lambda x: 2 * x + 1, bounds=(-1, 1, -1, 1), lines=3)
    assert len(ax.lines) == 6
    points = np.concatenate([line.get_xydata() for line in ax.lines])
    assert points.min() == pytest.approx(-1.0)
    assert points.max() == pytest.approx(3.0)


def test_image_sheets_keep_every_pixel_in_place():
    images = torch.arange(5 * 6, dtype=torch.uint8).reshape(5, 1, 2, 3)
    _, ax = plotting.figure()
    plotting.show_images(ax, images, columns=2, levels=30)
    sheet = np.asarray(ax.images[0].get_array())
    assert sheet.shape == (3 * 3 - 1, 2 * 4 - 1)
    assert sheet[3:5, 4:7] * 29 == pytest.approx(images[3, 0].numpy())
    _, ax = plotting.figure()
    plotting.show_images(ax, torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
    assert np.asarray(ax.images[0].get_array()).shape[-1] == 3


def test_matrices_are_colored_symmetrically():
    _, ax = plotting.figure()
    image = plotting.show_matrix(ax, torch.tensor([[1.0, -4.0], [0.0, 2.0]]), numbers=True)
    assert image.get_clim() == (-4.0, 4.0)
    assert [t.get_text() for t in ax.texts] == ["1", "-4", "0", "2"]


def test_samples_are_dots_at_their_place():
    _, ax = plotting.figure()
    x = torch.randn(7, 2)
    dots = plotting.show_samples(ax, x, color="red")
    assert np.allclose(dots.get_offsets(), x.numpy())


def test_animations_load_nothing_and_are_described():
    fig, ax = plotting.figure()
    (line,) = ax.plot([0, 1], [0, 1])
    html = plotting.animation_html(
        FuncAnimation(fig, lambda i: line.set_ydata([0, i]) or (line,), frames=2), 'a "line"'
    )
    assert "https://" not in html.replace("https://www.w3.org", "")
    assert 'alt="a &quot;line&quot;"' in html
    assert 'aria-label="Animation frame"' in html


def test_a_diagnosis_shows_each_layer_and_marks_the_ill_ones():
    layers = (
        LayerReport("a", "Diagonal", True, -1.0, 1.0, 1e-7, 1e-16, 0.0, 0.0, True, 5.0),
        LayerReport("b", "LULinear", False, -1.0, 1.0, warnings=("b is ill",)),
        LayerReport("c", "Squeeze", True, -1.0, 1.0, float("inf"), warnings=("c has no inverse",)),
    )
    _, ax = plotting.figure()
    plotting.show_diagnosis(ax, Diagnosis(layers, None, 10, "float32", ("b is ill",)))
    curves = {line.get_label(): np.asarray(line.get_xdata(), dtype=float) for line in ax.get_lines()}
    np.testing.assert_array_equal(curves["condition number"], [5.0, np.nan, np.nan])
    np.testing.assert_array_equal(curves["inverse error"], [1e-7, np.nan, np.nan])
    assert curves["log-det error"][0] == 1e-17
    marked = next(line for line in ax.get_lines() if line.get_label() == "warning")
    assert list(marked.get_ydata()) == [1, 2]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["Diagonal 0", "LULinear 1", "Squeeze 2"]
    assert ax.get_xscale() == "log"
    styles = {(line.get_marker(), line.get_linestyle()) for line in ax.get_lines()}
    assert len(styles) == 4
    ax.figure.canvas.draw()
