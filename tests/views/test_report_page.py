"""The report of a full run folder, damaged in every way, and as a browser shows it."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from conceptlab.errors import InputError
from conceptlab.study.finish import draw
from conceptlab.study.folder import RunFolder
from conceptlab.views.figures.planned import write_figures
from conceptlab.views.report.report import write_report
from tests.views.browser import BROWSER, said_by

DRIVER = """
<script>
addEventListener("load", () => {
  const table = document.getElementById("overview");
  const heads = [...table.tHead.rows[0].cells];
  const column = (place) => [...table.tBodies[0].rows].map((row) => row.cells[place].dataset.v);
  const said = {};
  heads[2].firstElementChild.click();
  said.descending = column(2);
  heads[2].firstElementChild.click();
  said.ascending = column(2);
  heads[0].firstElementChild.click();
  said.names = column(0);
  const filter = document.getElementById("filter");
  filter.value = "PART";
  filter.dispatchEvent(new Event("input"));
  said.shown = [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[1].dataset.v);
  said.count = document.getElementById("count").textContent;
  said.fetched = performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !name.startsWith("data:"));
  location.hash = document.querySelector("#overview a").getAttribute("href");
  said.open = [...document.querySelectorAll(".page")].filter((page) => getComputedStyle(page).display !== "none").length;
  said.wide = document.documentElement.scrollWidth > innerWidth;
  const place = document.createElement("pre");
  place.id = "said";
  place.textContent = JSON.stringify(said);
  document.body.append(place);
});
</script>
"""  # noqa: E501


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory):
    """The report of the whole folder, with its figures."""
    run = shutil.copytree(finished, tmp_path_factory.mktemp("report") / "run")
    write_figures(run)
    return write_report(run)


def test_pictures_that_are_gone_are_left_out(run, caplog):
    index = json.loads((run / "examples" / "index.json").read_text())
    whole = write_report(run).read_text().count("data:image/jpeg")
    (run / index[0]["picture"]).unlink()
    assert write_report(run).read_text().count("data:image/jpeg") == whole - 1 > 0
    assert "1 pictures of" in caplog.text


@pytest.mark.parametrize("lost", ["data", "models", "versions", "steps", "seed"])
def test_a_manifest_that_lacks_a_field_costs_only_that_field(run, lost):
    path = run / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest[lost]
    path.write_text(json.dumps(manifest))
    page = write_report(run).read_text()
    assert "scenes:n=80" in page or lost == "data"
    assert "builtin:other" in page or lost == "models"


def test_fields_inside_the_manifest_may_be_gone_too(run):
    (run / "manifest.json").write_text('{"data": {"images": 7}, "models": [{"name": "mine"}]}')
    page = write_report(run).read_text()
    assert "1 network, 7 images." in page
    assert "<dt>mine</dt>" in page


@pytest.mark.parametrize("name", ["manifest.json", "examples/index.json"])
@pytest.mark.parametrize("text", ["{", '"text"'])
def test_damaged_json_is_named(run, name, text):
    (run / name).write_text(text)
    with pytest.raises(InputError, match=name):
        write_report(run)


def test_a_row_of_detectors_for_each_layer_and_rule(page):
    text = page.read_text()
    rows = re.findall(r"<tr>(?:(?!</tr>).)*every-category(?:(?!</tr>).)*</tr>", text)
    assert len(rows) == 3
    assert all(row.count("7 (4)") == 2 * 3 for row in rows)  # as text and as value, by category


def test_where_no_unit_was_chosen_there_is_no_number(page):
    text = page.read_text()
    assert 'data-v="-1.0"' not in text
    rare = text[text.index('aria-label="rare"') :]
    assert ">-<" in rare[: rare.index("</section>")]


def test_figures_are_in_the_page_once_drawn(page, run):
    drawn = len(list((page.parent / "figures").glob("*.png")))
    mosaics = len(list((page.parent / "figures").glob("figure[18]-*.png")))
    figures = '<section id="figures">'
    text = page.read_text()
    section = text[text.index(figures) : text.index('<section id="concepts">')]
    assert section.count("data:image/png") == drawn - mosaics > 0
    assert figures not in write_report(run).read_text()


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [1400, 390])
def test_sorting_filter_and_pages_in_a_browser(page, tmp_path, width):
    said = said_by(page, DRIVER, tmp_path, width)
    known = [float(v) for v in said["descending"] if v]
    assert known == sorted(known, reverse=True)
    assert len(set(known)) > 3
    assert said["descending"][-1] == said["ascending"][-1] == ""  # what is not known stands last
    assert [float(v) for v in said["ascending"] if v] == known[::-1]
    folded = [name.replace("&lt;", "<").replace("&gt;", ">") for name in said["names"]]
    assert len(folded) == 9
    assert folded.index("red") < folded.index("tree") < folded.index("wheel")
    assert said["shown"] == ["part"] * 3
    assert said["count"] == "3 of 9"
    assert said["fetched"] == []
    assert said["open"] == 1
    assert not said["wide"]


def test_every_concept_of_the_table_has_a_page(page):
    concepts = pd.read_csv(page.parent / "tables" / "concepts.csv", keep_default_na=False)
    names = concepts["concept"].nunique()
    assert page.read_text().count('<section class="page"') == names


@pytest.mark.slow
def test_a_figure_and_a_section_that_cannot_be_drawn_leave_the_rest_and_are_named(run):
    write_figures(run)
    whole = {path.name for path in (run / "figures").iterdir()}
    path = run / "tables" / "distances.csv"
    text = path.read_text()
    pd.read_csv(path).assign(distance="far").to_csv(path, index=False)
    folder = RunFolder(run)
    page = draw(folder).read_text()
    failed = {step.removeprefix("figure ") for _, _, step in folder.unmade}
    assert failed
    assert all(name.startswith("figure10") for name in failed)
    assert {path.stem for path in (run / "figures").iterdir()} == {
        Path(name).stem for name in whole
    } - failed
    assert "What could not be made" in page
    assert all(f"figure {name}" in page for name in failed)
    path.write_text(text)  # mended: nothing is named any more
    assert "What could not be made" not in draw(RunFolder(run)).read_text()
    assert {path.name for path in (run / "figures").iterdir()} == whole
