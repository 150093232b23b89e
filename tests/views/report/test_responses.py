"""The report's section on what layers respond to."""

import pytest
from PIL import Image

from conceptlab.views.report.report import write_report
from conceptlab.views.report.responses import look_of
from conceptlab.views.style import slug
from conceptlab.views.tables import read_tables
from tests.views.conftest import HOSTILE, LAYERS


@pytest.fixture
def looked(run):
    """A run folder with atlases: their pictures and their page."""
    (run / "figures").mkdir()
    for name in ("net-conv.1", f"net-conv.1-{HOSTILE}"):
        path = run / "figures" / f"atlas-{slug(name)}.png"
        Image.new("RGB", (300, 300)).save(path, dpi=(300, 300))
    (run / "atlas.html").write_text("a page")
    return run


def test_pictures_by_layer_and_what_is_of_all_layers(looked):
    found = look_of(looked, read_tables(looked))
    assert [layer["where"] for layer in found["layers"]] == [
        *(f"{model}, {layer}" for model, layer in LAYERS), "net",
    ]  # fmt: skip
    assert [len(layer["pictures"]) for layer in found["layers"]] == [2] * 4
    assert "3 of 4 images by optimisation" in found["reading"][0]


def test_atlases_say_how_many_cells_they_have(looked):
    found = look_of(looked, read_tables(looked))
    assert [a["where"] for a in found["atlases"]] == ["net, conv.1", f"net, conv.1, {HOSTILE}"]
    assert [a["cells"] for a in found["atlases"]] == ["2 of 2 x 2, 4 of 4 x 4"] * 2
    assert found["atlases"][0]["width"] == 96  # an inch
    assert found["page"] == "atlas.html"


def test_pictures_that_are_gone_are_left_out(looked):
    (looked / "row.png").unlink()
    (looked / "atlas.html").unlink()
    found = look_of(looked, read_tables(looked))
    assert found["layers"] == []
    assert found["page"] == ""
    (looked / "figures" / f"atlas-{slug('net-conv.1')}.png").unlink()
    (looked / "figures" / f"atlas-{slug(f'net-conv.1-{HOSTILE}')}.png").unlink()
    assert look_of(looked, read_tables(looked)) is None


def test_the_section_links_to_the_atlas_and_escapes_names(looked):
    page = write_report(looked).read_text()
    assert '<section id="look">' in page
    assert '<a href="atlas.html">' in page
    assert HOSTILE not in page
    assert "Single-minded and many-minded units" in page
    (looked / "atlas.html").unlink()
    assert 'href="atlas.html"' not in write_report(looked).read_text()


def test_a_run_without_such_pictures_has_no_section(tmp_path):
    (tmp_path / "tables").mkdir()
    assert '<section id="look">' not in write_report(tmp_path).read_text()
