"""The page of an atlas: what it holds, and what a browser does with it by mouse, touch and keys."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from conceptlab.errors import InputError
from conceptlab.views.atlas.page import SHEET, shades, view_of, write_atlas
from tests.views.atlases import BLUE, HOSTILE, RED, icons_of, planted
from tests.views.browser import BROWSER, browse

needs_browser = pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
CANVAS = "document.getElementById('atlas')"


def view(name="all", atlas=None, **more):
    atlas = atlas or planted()
    return view_of(name, atlas, icons_of(atlas), model="net", layer="conv", **more)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("atlas")
    second = view(HOSTILE, planted((4,), focus=HOSTILE), optimised=True)
    return write_atlas(folder / "atlas.html", [view(), second], "Two <atlases>")


def pixels(uri):
    head, text = uri.split(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def tile(sheets, number):
    """A picture cut out of its sheet as the page cuts it."""
    place, step = number % sheets["sheet"], sheets["pitch"]
    y, x = place // sheets["line"] * step, place % sheets["line"] * step
    whole = pixels(sheets["uris"][number // sheets["sheet"]])
    return whole[y + 1 : y + sheets["size"] - 1, x + 1 : x + sheets["size"] - 1].astype(int)


def test_a_view_tells_each_cell_as_the_atlas_does():
    atlas, found = planted(), view()
    assert found["classes"] == ["west", HOSTILE.replace("\udcff", "?")]  # 'never' is nowhere first
    assert found["concepts"] == ["north"]  # a concept that says the same of all cells is none
    for grid, own in zip(found["grids"], atlas.grids, strict=True):
        assert grid["resolution"] == own.resolution
        for i, (row, column) in enumerate(zip(own.rows, own.columns, strict=True)):
            assert (grid["rows"][i], grid["columns"][i]) == (row, column)
            assert grid["counts"][i] == 5 + row
            place = (column + 0.5) / own.resolution - 0.5
            value = pytest.approx(abs(place), rel=0.01)
            assert grid["classes"]["top"][i] == [[int(place > 0), value]]
            most = 0.5 - 0.5 / own.resolution
            shade = round(100 * max(-place, 0) / most)
            assert grid["classes"]["shades"][0][i] == shade
            assert grid["images"][i] == [f"train/{k:03d}" for k in own.nearest[i] if k >= 0]


def test_the_first_five_are_listed_in_order():
    rng = np.random.default_rng(0)
    atlas = planted((4,), tuple(f"c{i}" for i in range(40)))
    values = rng.normal(size=(15, 40)).astype(np.float32)
    atlas = replace(atlas, grids=(replace(atlas.grids[0], attributions=values),))
    found = view(atlas=atlas)
    for row, cell in zip(values, found["grids"][0]["classes"]["top"], strict=True):
        assert [found["classes"][i] for i, _ in cell] == [f"c{i}" for i in np.argsort(-row)[:5]]
    assert set(found["classes"]) == {f"c{i}" for row in values for i in np.argsort(-row)[:5]}


def test_shades_are_shares_of_the_largest_and_none_where_all_speak_against():
    values = np.array([[-1.0, -2.0, 0.0], [0.5, -1.0, 4.0], [2.0, -3.0, 1.0]])
    assert shades(values).tolist() == [[0, 0, 0], [25, 0, 100], [100, 0, 25]]


def test_pictures_come_back_from_their_sheets():
    rng = np.random.default_rng(0)
    atlas = planted((4,))
    own = icons_of(atlas)[0]
    colors = rng.integers(0, 256, (15, 1, 1, 3))
    own = replace(own, icons=np.broadcast_to(colors, (15, 20, 20, 3)).astype(np.uint8))
    found = view_of("a", atlas, (own,), model="net", layer="conv")["grids"][0]
    for i in range(15):
        assert np.abs(tile(found["icons"], i) - colors[i]).max() < 12  # up to its border
        for k in range(2):
            assert np.abs(tile(found["patches"], 2 * i + k) - 4 * i).max() < 4


def test_large_pictures_are_shrunk_and_many_fill_more_sheets():
    atlas = planted((38,))
    count = len(atlas.grids[0])
    greys = np.linspace(0, 255, count).astype(np.uint8)[:, None, None, None]
    own = icons_of(atlas)[0]
    own = replace(own, icons=np.broadcast_to(greys, (count, 130, 130, 3)).copy())
    sheets = view_of("a", atlas, (own,), model="net", layer="conv")["grids"][0]["icons"]
    assert sheets["size"] == 112
    assert len(sheets["uris"]) == 2
    assert all(max(pixels(uri).shape) <= SHEET for uri in sheets["uris"])
    for i in (0, 1295, 1296, count - 1):
        assert np.abs(tile(sheets, i) - int(greys[i, 0, 0, 0])).max() < 4


def test_two_classes_of_one_name_are_told_apart():
    found = view(atlas=planted(names=("crane", "crane", "never")))
    assert found["classes"] == ["crane (0)", "crane (1)"]


def test_an_atlas_without_attributions_or_scores():
    atlas = planted()
    bare = tuple(replace(g, attributions=None, scores=None) for g in atlas.grids)
    found = view(atlas=replace(atlas, grids=bare, classes=(), concepts=()))
    assert found["classes"] == found["concepts"] == []
    assert found["grids"][0]["classes"] == {"top": [], "shades": []}


def test_equal_inputs_give_an_equal_page(written, tmp_path):
    second = view(HOSTILE, planted((4,), focus=HOSTILE), optimised=True)
    stored = json.loads(json.dumps([view(), second]))  # as a study keeps them
    again = write_atlas(tmp_path / "again.html", stored, "Two <atlases>")
    assert again.read_bytes() == written.read_bytes()
    other = write_atlas(tmp_path / "other.html", [view("other"), second], "Two <atlases>")
    assert other.read_bytes() != written.read_bytes()


def test_names_cannot_leave_their_place(written):
    text = written.read_text()
    assert text.count("<script") == text.count("</script") == 2
    assert "<!--" not in text
    assert "alert(1)</script>" not in text
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1]
    assert json.loads(data)[0]["classes"][1] == HOSTILE.replace("\udcff", "?")
    assert "Two &lt;atlases&gt;" in text


def test_the_page_asks_for_nothing(written):
    text = written.read_text()
    assert "default-src 'none'; img-src data:" in text
    assert not re.search(r"https?://", text)


def test_a_page_that_cannot_be_made_leaves_the_old_one(written, tmp_path):
    path = tmp_path / "atlas.html"
    path.write_text("old")
    broken = view()
    del broken["grids"]
    with pytest.raises(Exception, match="grids"):
        write_atlas(path, [broken])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_bad_input_is_named(tmp_path):
    atlas = planted()
    icons = icons_of(atlas)
    for wrong in (icons[:1], ()):
        with pytest.raises(InputError, match="has 2 grids and icons for"):
            view_of("a", atlas, wrong, model="net", layer="conv")
    with pytest.raises(InputError, match="has 15 cells, but 63 icons"):
        view_of("a", atlas, icons[::-1], model="net", layer="conv")
    for column, what in (("attributions", "attributions"), ("scores", "scores")):
        values = getattr(atlas.grids[1], column).copy()
        values[3] = np.inf
        bad = replace(atlas, grids=(atlas.grids[0], replace(atlas.grids[1], **{column: values})))
        with pytest.raises(InputError, match=f"{what} that are not finite in its grid of 8 x 8"):
            view_of("a", bad, icons, model="net", layer="conv")
    for views in ([], [view(), view()]):
        with pytest.raises(InputError, match="each with a name of its own"):
            write_atlas(tmp_path / "a.html", views)


def pixel(selector):
    """JavaScript for the red of a canvas's middle."""
    return (
        f"(c => c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data[0])"
        f"(document.querySelector('{selector}'))"
    )


class Shown:
    """An open page and where things are on it."""

    def __init__(self, page):
        self.page = page
        page.until("performance.getEntriesByName('atlas-drawn').length")
        box = page.ask(f"(b => [b.left, b.top])({CANVAS}.getBoundingClientRect())")
        self.left, self.top = box

    def state(self, name):
        return self.page.ask(f"{CANVAS}.dataset.{name}")

    def place(self, resolution, row, column):
        """Screen position of a cell's centre."""
        size = float(self.state("scale")) / resolution
        x, y = float(self.state("left")), float(self.state("top"))
        return self.left + x + (column + 0.5) * size, self.top + y + (row + 0.5) * size

    def text(self, name):
        return self.page.ask(f"document.getElementById('{name}').innerText")

    def hover(self, resolution, row, column):
        self.page.mouse("mouseMoved", *self.place(resolution, row, column))

    def color(self, resolution, row, column):
        """(4,) the canvas's own RGBA at a cell's centre."""
        x, y = self.place(resolution, row, column)
        pen = f"{CANVAS}.getContext('2d').getImageData({x - self.left}, {y - self.top}, 1, 1)"
        return np.array(self.page.ask(f"[...{pen}.data]"))

    def rest(self):
        """Wait until nothing has changed for some frames."""
        self.page.ask(
            f"new Promise((done) => {{ let was, still = 0; (function look() {{"
            f" const now = JSON.stringify({CANVAS}.dataset);"
            " still = now === was ? still + 1 : 0; was = now;"
            " if (still > 5) done(); else requestAnimationFrame(look); })(); })"
        )

    def filter(self, text):
        self.page.ask(
            f"(f => {{ f.value = {json.dumps(text)}; f.dispatchEvent(new Event('input')); }})"
            "(document.getElementById('filter'))"
        )

    def focus(self):
        self.page.ask(f"{CANVAS}.focus()")


@pytest.fixture(scope="module")
def tab(written, tmp_path_factory):
    with browse(written, tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def shown(tab, written):
    tab.mouse("mouseMoved", 1, 1)
    tab.send("Page.navigate", url="about:blank")
    tab.send("Page.navigate", url=written.as_uri())
    tab.until("performance.getEntriesByName('atlas-drawn').length")
    tab.complaints.clear()
    tab.requests.clear()
    return Shown(tab)


@needs_browser
@pytest.mark.parametrize("width", [1400, 390])
def test_it_loads_without_errors_requests_or_overflow(written, tmp_path, width):
    with browse(written, tmp_path, width, 844) as page:
        shown = Shown(page)
        assert shown.state("grid") == "4"
        assert page.ask("document.documentElement.scrollWidth") <= width
        assert page.complaints == []
        assert page.requests == [written.as_uri()]
        np.testing.assert_allclose(shown.color(4, 1, 0), [*RED, 255], atol=8)
        np.testing.assert_allclose(shown.color(4, 1, 3), [*BLUE, 255], atol=8)
        assert shown.color(4, 0, 0)[3] == 0  # no cell there


@needs_browser
def test_hovering_a_cell_shows_what_it_is(shown):
    shown.hover(4, 1, 0)
    shown.page.until("document.getElementById('name').textContent === 'west'")
    assert shown.text("place") == "6 activations · row 2, column 1"
    assert shown.text("classes").split("\n")[-2:] == ["west", "0.375"]
    assert shown.text("concepts").split("\n")[-2:] == ["north", "0.125"]
    patches = shown.page.ask("[...document.querySelectorAll('#patches canvas')].map(c => c.title)")
    assert patches == ["train/003"]
    shown.page.until(f"{pixel('#patches canvas')} < 100")  # until then it is light
    assert abs(shown.page.ask(pixel("#patches canvas")) - 4 * 3) < 4
    assert abs(shown.page.ask(pixel("#icon")) - RED[0]) < 8
    shown.hover(4, 2, 3)
    shown.page.until("document.getElementById('name').textContent.startsWith('</script>')")
    assert shown.page.ask("document.getElementById('name').children.length") == 0
    assert shown.page.ask("document.getElementById('concepts').hidden")  # it is in the south
    shown.hover(4, 0, 0)
    shown.page.until("document.getElementById('cell').hidden")


@needs_browser
def test_the_wheel_zooms_where_the_mouse_is_and_brings_the_finer_grid(shown):
    x, y = shown.place(4, 3, 3)
    shown.page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-500)
    shown.page.until(f"{CANVAS}.dataset.grid === '8'")
    shown.rest()
    np.testing.assert_allclose(shown.place(4, 3, 3), (x, y), atol=2)
    shown.hover(8, 6, 7)
    shown.page.until("document.getElementById('place').textContent.includes('row 7, column 8')")
    shown.page.mouse("mouseWheel", x, y, deltaX=0, deltaY=900)
    shown.page.until(f"{CANVAS}.dataset.grid === '4'")


@needs_browser
def test_dragging_moves_and_a_click_keeps_a_cell(shown):
    x, y = shown.place(4, 1, 1)
    shown.page.mouse("mouseMoved", x, y)
    shown.page.mouse("mousePressed", x, y, button="left", clickCount=1)
    for step in range(1, 6):
        shown.page.mouse("mouseMoved", x + 20 * step, y, button="left", buttons=1)
    shown.page.mouse("mouseReleased", x + 100, y, button="left", clickCount=1)
    shown.rest()
    moved = shown.place(4, 1, 1)[0] - x
    assert 95 < moved < 400  # and a little further
    assert shown.state("cell") == ""  # a drag chooses nothing
    shown.page.click(*shown.place(4, 2, 0))
    shown.page.until(f"{CANVAS}.dataset.cell === '2,0'")
    shown.page.mouse("mouseMoved", 1, 1)
    assert shown.text("place").endswith("row 3, column 1")


@needs_browser
def test_keys_move_zoom_reset_and_clear(shown):
    shown.focus()
    shown.page.press("ArrowRight")
    shown.page.until(f"{CANVAS}.dataset.cell")
    start = [int(n) for n in shown.state("cell").split(",")]
    shown.page.press("ArrowRight")
    shown.page.press("ArrowDown")
    shown.page.until(f"{CANVAS}.dataset.cell === '{start[0] + 1},{start[1] + 1}'")
    said = shown.page.ask("document.getElementById('live').textContent")
    assert f"row {start[0] + 2}, column {start[1] + 2}" in said
    assert said.startswith("Grid 4: ")
    assert "Classes: </script>" in said
    for column in range(start[1], -1, -1):
        shown.page.press("ArrowLeft")
        shown.page.until(f"{CANVAS}.dataset.cell === '{start[0] + 1},{column}'")
    shown.page.press("+")
    shown.page.press("+")
    shown.page.until(f"{CANVAS}.dataset.grid === '8'")
    assert [int(n) // 2 for n in shown.state("cell").split(",")] == [start[0] + 1, 0]
    shown.page.press("0")
    shown.page.until(f"{CANVAS}.dataset.grid === '4'")
    shown.filter("west")
    shown.page.press("Escape")
    shown.page.until(f"{CANVAS}.dataset.cell === ''")
    assert shown.page.ask("document.getElementById('filter').value") == ""


@needs_browser
def test_who_wants_no_motion_gets_none(written, tmp_path):
    with browse(written, tmp_path) as page:
        shown = Shown(page)
        features = [{"name": "prefers-reduced-motion", "value": "reduce"}]
        page.send("Emulation.setEmulatedMedia", features=features)
        page.ask(
            f"window.seen = []; new MutationObserver(() => seen.push({CANVAS}.dataset.scale))"
            f".observe({CANVAS}, {{attributes: true, attributeFilter: ['data-scale']}})"
        )
        first = float(shown.state("scale"))
        shown.focus()
        page.press("+")
        page.until(f"{CANVAS}.dataset.scale > {first * 1.59}")
        last = float(shown.state("scale"))  # a late icon may draw the first scale once more
        assert {last} <= {float(s) for s in page.ask("seen")} <= {first, last}


@needs_browser
def test_without_scripts_there_is_the_table(written, tmp_path):
    with browse(written, tmp_path) as page:
        page.until("document.readyState === 'complete'")  # else there is no page to load anew
        page.send("Emulation.setScriptExecutionDisabled", value=True)
        page.send("Page.reload")
        page.until("document.querySelector('dialog tbody tr')?.getBoundingClientRect().height > 5")
        assert page.ask("getComputedStyle(document.querySelector('main')).display") == "none"


@needs_browser
def test_the_empty_corner_is_jumped_over(shown):
    shown.focus()
    shown.page.click(*shown.place(4, 1, 0))
    shown.page.until(f"{CANVAS}.dataset.cell === '1,0'")
    shown.page.press("ArrowUp")
    shown.page.until(f"{CANVAS}.dataset.cell === '0,1'")


@needs_browser
def test_a_chosen_cell_comes_into_sight(shown):
    shown.focus()
    x, y = shown.place(4, 1, 0)
    for _ in range(4):
        shown.page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-400)
    shown.rest()
    for _ in range(9):
        shown.page.press("ArrowRight")
    shown.rest()
    row, column = (int(n) for n in shown.state("cell").split(","))
    assert column == 7
    assert 0 < shown.place(8, row, column)[0] - shown.left < 1400 - 352


@needs_browser
def test_the_filter_dims_the_other_cells(shown):
    shown.filter("west (class)")
    shown.page.until("document.getElementById('state').textContent.includes('attribution to west')")
    west, middle, east = (shown.color(4, 1, column)[3] for column in (0, 1, 3))
    assert west == 255
    np.testing.assert_allclose(middle, 255 * (0.07 + 0.93 * 0.33), atol=2)
    np.testing.assert_allclose(east, 255 * 0.07, atol=2)
    shown.filter("north")
    shown.page.until("document.getElementById('state').textContent.includes('score of north')")
    assert shown.color(4, 0, 3)[3] == 255
    assert shown.color(4, 3, 3)[3] < 25
    shown.page.ask("document.getElementById('clear').click()")
    shown.page.until("document.getElementById('clear').hidden")
    shown.rest()
    assert shown.color(4, 3, 3)[3] == 255
    names = shown.page.ask("[...document.getElementById('names').options].map(o => o.value)")
    assert names[0] == "west (class)"
    assert names[1].startswith("</script><script>")
    assert names[2:] == ["north (concept)"]


@needs_browser
def test_the_chooser_opens_the_other_atlas(shown):
    assert shown.page.ask("document.querySelectorAll('#view option').length") == 2
    assert "nearest" in shown.text("legend")
    shown.page.ask(
        "(s => { s.selectedIndex = 1; s.dispatchEvent(new Event('change')); })"
        "(document.getElementById('view'))"
    )
    assert "optimisation" in shown.text("legend")
    assert "speak for “</script>" in shown.text("about")
    tables = "[...document.querySelectorAll('[data-table]')].map(t => t.hidden)"
    assert shown.page.ask(tables) == [True, False]


@needs_browser
def test_the_address_opens_what_was_seen(shown, written):
    shown.focus()
    shown.filter("west")
    for _ in range(3):
        shown.page.press("+")
    shown.page.until("location.hash.includes('zoom=2')")
    shown.rest()
    address = shown.page.ask("location.href")
    scale = float(shown.state("scale"))
    shown.page.send("Page.navigate", url="about:blank")
    shown.page.send("Page.navigate", url=address)
    shown.page.until("performance.getEntriesByName('atlas-drawn').length")
    shown.page.until(f"{CANVAS}.dataset.grid === '8'")
    assert float(shown.state("scale")) == pytest.approx(scale, rel=0.01)
    assert "attribution to west" in shown.text("state")
    shown.page.ask("location.hash = 'view=nonsense&x=what&zoom=-1'")
    shown.page.until(f"{CANVAS}.dataset.grid === '4'")
    assert shown.page.complaints == []


@needs_browser
def test_two_fingers_zoom_and_a_tap_chooses(written, tmp_path):
    with browse(written, tmp_path, 390, 844) as page:
        shown = Shown(page)
        page.send("Emulation.setTouchEmulationEnabled", enabled=True)
        x, y = shown.place(4, 1, 1)
        page.touch("touchStart", (x, y))
        page.touch("touchEnd")
        page.until(f"{CANVAS}.dataset.cell === '1,1'")
        before = float(shown.state("scale"))
        page.touch("touchStart", (x, y), (x + 40, y))
        for step in range(1, 6):
            page.touch("touchMove", (x, y), (x + 40 + 20 * step, y))
        page.touch("touchEnd")
        shown.rest()
        assert float(shown.state("scale")) / before == pytest.approx(140 / 40, rel=0.15)
        np.testing.assert_allclose(
            shown.place(4, 1, 1), (x, y), atol=5
        )  # below the finger that rests
        assert page.complaints == []


@needs_browser
def test_cells_are_also_a_table(shown):
    shown.page.ask("document.getElementById('open').click()")
    rows = shown.page.ask(
        "[...document.querySelectorAll('[data-table]:not([hidden]) tbody tr')]"
        ".map(r => [...r.cells].map(c => c.textContent))"
    )
    assert len(rows) == 15
    assert rows[3] == ["2", "1", "6", "west 0.375", "north 0.125"]
    assert shown.page.ask("document.querySelectorAll('dialog script').length") == 0
