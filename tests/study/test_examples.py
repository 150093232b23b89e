"""The examples of a run: there complete, or not at all."""

import json

import pandas as pd
import pytest

from conceptlab.errors import CacheError
from conceptlab.study import examples
from conceptlab.study.examples import publish_examples
from conceptlab.study.folder import Outputs, RunFolder


def make(run, layer, pictures):
    """A step of examples with some pictures."""
    rows = [{"kind": "top", "concept": "nan", "iou_probe": float("nan"), "picture": name}
            for name in pictures]  # fmt: skip
    contents = {name: f"{layer} {name}".encode() for name in pictures}
    outputs = Outputs({"examples": pd.DataFrame(rows)}, {}, contents)
    return run.step(("m", layer, "examples"), {"pictures": list(pictures)}, lambda: outputs)


def files(run):
    found = (run.path / "examples").rglob("*")
    return {p.relative_to(run.path).as_posix(): p.read_bytes() for p in found if p.is_file()}


@pytest.fixture
def run(tmp_path):
    made = RunFolder(tmp_path / "run")
    make(made, "one", ["a.jpg", "b.jpg"])
    make(made, "t/wo", ["a.jpg"])
    publish_examples(made)
    return made


def test_every_picture_is_in_the_index_and_nothing_else_is_there(run):
    found = files(run)
    index = json.loads(found.pop("examples/index.json"))
    assert {row["picture"]: row["layer"].encode() + b" " + row["picture"][-5:].encode()
            for row in index} == found  # fmt: skip
    assert [row["layer"] for row in index] == ["one", "one", "t/wo"]
    assert {row["concept"] for row in index} == {"nan"}
    assert all(row["iou_probe"] is None for row in index)
    assert sorted(p.name for p in run.path.iterdir()) == ["examples", "steps"]


def test_pictures_that_no_step_makes_any_more_go_away(run):
    make(run, "one", ["c.jpg"])
    publish_examples(run)
    names = {name.rpartition("/")[2] for name in files(run)}
    assert names == {"index.json", "a.jpg", "c.jpg"}


def test_without_steps_there_are_no_examples(tmp_path, run):
    (run.path / "steps").rename(tmp_path / "elsewhere")
    publish_examples(RunFolder(run.path))
    assert not (run.path / "examples").exists()


def test_a_copy_that_fails_leaves_the_folder_as_it_was(run, monkeypatch):
    before = files(run)
    make(run, "one", ["c.jpg", "d.jpg"])
    copy = examples.shutil.copyfile

    def fill(source, target):
        if source.name == "d.jpg":
            raise OSError(28, "No space left on device")
        return copy(source, target)

    monkeypatch.setattr(examples.shutil, "copyfile", fill)
    with pytest.raises(CacheError, match="No space left"):
        publish_examples(run)
    assert files(run) == before
    assert sorted(p.name for p in run.path.iterdir()) == ["examples", "steps", "unused"]


def test_a_step_that_lost_a_picture_is_left_out_and_named(run):
    (make(run, "one", ["c.jpg"]) / "c.jpg").unlink()
    publish_examples(run)
    assert not (run.path / "examples" / "m" / "one").exists()
    assert "c.jpg cannot be read" in run.unmade["m", "one", "examples"]


def test_what_a_killed_process_left_is_taken_away(run):
    (run.path / ".examples.x.tmp" / "m").mkdir(parents=True)
    publish_examples(run)
    assert sorted(p.name for p in run.path.iterdir()) == ["examples", "steps"]
