"""Steps of a run folder: whole or not at all, made once for each key."""

import pandas as pd
import pytest

from conceptlab.errors import CacheError, InputError
from conceptlab.study.folder import Outputs, RunFolder, read_table


def made(value=1.0):
    return Outputs({"scores": pd.DataFrame({"concept": ["nan"], "score": [value]})}, {}, {})


def test_a_step_is_made_once_for_each_key(tmp_path):
    run, calls = RunFolder(tmp_path), []

    def make():
        calls.append(1)
        return made(len(calls))

    for key, wanted in (({"a": 1}, 1), ({"a": 1}, 1), ({"a": 2}, 2), ({"a": 1}, 3)):
        folder = run.step(("m", "l", "s"), key, make)
        assert len(calls) == wanted
        assert read_table(folder / "scores.csv")["score"].item() == wanted
    assert not list((tmp_path / "steps").rglob("*.tmp"))


def test_a_step_that_fails_leaves_nothing_and_an_old_one_stays(tmp_path):
    run = RunFolder(tmp_path)
    folder = run.step(("m", "l", "s"), {"a": 1}, made)
    with pytest.raises(ZeroDivisionError):
        run.step(("m", "l", "s"), {"a": 2}, lambda: 1 / 0)
    assert read_table(folder / "scores.csv")["score"].item() == 1
    with pytest.raises(ZeroDivisionError):
        run.step(("m", "l", "t"), {}, lambda: 1 / 0)
    assert [p.name for p in folder.parent.iterdir()] == ["s"]


def test_what_a_killed_process_left_is_no_step(tmp_path):
    run = RunFolder(tmp_path)
    folder = run.step(("m", "l", "s"), {"a": 1}, made)
    left = folder.with_name(".s.x.tmp")
    left.mkdir()
    (left / "step.json").write_bytes((folder / "step.json").read_bytes())
    assert len(run.records()) == 1
    run.step(("m", "l", "s"), {"a": 2}, made)
    assert not left.exists()


@pytest.mark.parametrize("text", ["", "x", "[1]", "{}", '{"key": 1}'])
def test_a_damaged_record_is_a_step_to_make_again(tmp_path, text):
    run = RunFolder(tmp_path)
    folder = run.step(("m", "l", "s"), {}, made)
    (folder / "step.json").write_text(text)
    assert run.records() == []
    assert run.gather("s", "scores").empty
    run.step(("m", "l", "s"), {}, made)
    assert len(run.records()) == 1


def test_tables_are_gathered_in_order_and_texts_stay_texts(tmp_path):
    run = RunFolder(tmp_path)
    for model, layer in (("b", "1"), ("a", "2"), ("a/c", "0")):
        run.step((model, layer, "s"), {}, made)
    run.models = ["a"]
    found = run.gather("s", "scores")
    assert found["model"].tolist() == ["a", "b", "a/c"]
    assert found["layer"].tolist() == ["2", "1", "0"]
    assert set(found["concept"]) == {"nan"}


def test_a_table_that_cannot_be_read(tmp_path):
    (tmp_path / "t.csv").touch()
    with pytest.raises(InputError, match="cannot read the table"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="cannot write in the run folder"):
        RunFolder(tmp_path / "file")
