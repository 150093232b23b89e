"""Names in any script, of any length, in figures and in pictures."""

import warnings
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from conceptlab.views import fonts
from conceptlab.views.fonts import drawable, picture_font
from conceptlab.views.pictures.overlay import strip
from conceptlab.views.style import LONGEST, plain


@pytest.fixture(autouse=True)
def own_fonts(monkeypatch):
    """Each test finds fonts for itself, and leaves matplotlib's settings as they were."""
    fonts._covered.cache_clear()
    with matplotlib.rc_context():
        yield
    fonts._covered.cache_clear()


def ink(text, family=None):
    """(h, w) what a figure with a text alone looks like; warnings are errors."""
    figure = Figure(figsize=(3, 1))
    canvas = FigureCanvasAgg(figure)
    figure.text(0.1, 0.4, text, family=family)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., 0]


@pytest.mark.parametrize("name", ["天空", "आकाश", "سماء", "🌲", "Ωμέγα", "небо", "天 sky\t"])
def test_every_name_is_drawn_without_a_warning(name):
    assert (ink(plain(name)) < 128).any()


def test_unequal_names_stay_unequal():
    names = ["天空", "天室", "\U000f0000", "\U000f0001"]  # the last two are nobody's
    assert len({plain(name) for name in names}) == 4
    pictures = [ink(plain(name)) for name in names]
    assert all((one != other).any() for one, other in pairwise(pictures))


def test_a_character_without_a_font_is_its_code_and_told_once(caplog):
    assert drawable("a\U000f0000") == "a\\uf0000"
    assert drawable("\U000f0000b") == "\\uf0000b"
    assert caplog.text.count("U+F0000") == 1


def test_what_the_user_set_comes_first():
    matplotlib.rcParams["font.family"] = ["monospace"]
    drawable("天")
    assert matplotlib.rcParams["font.family"][0] == "monospace"


def test_long_names_keep_their_ends():
    name = "a" * 120 + "b" * 120
    short = plain(name)
    assert len(short) == LONGEST
    assert short.startswith("a" * 20)
    assert short.endswith("b" * 10)
    assert plain("x" * LONGEST) == "x" * LONGEST


def test_captions_of_pictures():
    grey = Image.new("RGB", (60, 20), "gray")
    known = [c for c in "天水" if not drawable(c).startswith("\\")]
    if len(known) < 2:
        pytest.skip("no font with Chinese characters is installed")
    rows = [np.asarray(strip([grey], [c])) for c in known]
    assert (rows[0] != rows[1]).any()  # no boxes, which would be alike
    assert picture_font("plain", 11).getlength("plain") > 0
