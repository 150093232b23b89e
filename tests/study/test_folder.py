"""Steps of a run folder: whole or not at all, made once for each key."""

import pandas as pd
import pytest

from conceptlab.errors import CacheError, InputError, UnfinishedError
from conceptlab.study.folder import VERSION, Outputs, RunFolder, read_table
from conceptlab.study.record import require_undamaged

NAMES = "m", "l", "s"


def made(value=1.0):
    return Outputs({"scores": pd.DataFrame({"concept": ["nan"], "score": [value]})}, {}, {})


def test_a_step_is_made_once_for_each_key(tmp_path):
    run, calls = RunFolder(tmp_path), []

    def make():
        calls.append(1)
        return made(len(calls))

    # (settings, calls of `make` so far, whose result is there); the last other result is kept
    for key, count, wanted in ((1, 1, 1), (1, 1, 1), (2, 2, 2), (1, 2, 1), (2, 2, 2), (3, 3, 3)):
        folder = run.step(NAMES, {"a": key}, make)
        assert len(calls) == count
        assert read_table(folder / "scores.csv")["score"].item() == wanted
    assert not list((tmp_path / "steps").rglob("*.tmp"))


def test_every_step_is_made_again_by_a_version_that_puts_out_something_else(
    tmp_path, monkeypatch, caplog
):
    run = RunFolder(tmp_path)
    run.step(NAMES, {"a": 1}, made)
    monkeypatch.setattr("conceptlab.study.folder.VERSION", VERSION + 1)
    with caplog.at_level("INFO"):
        folder = run.step(NAMES, {"a": 1}, lambda: made(2.0))
    assert read_table(folder / "scores.csv")["score"].item() == 2.0
    assert f"made again (version: {VERSION} -> {VERSION + 1})" in caplog.text


@pytest.mark.parametrize("error", [ZeroDivisionError("0"), SystemExit(0), InputError("no")])
def test_a_step_that_fails_is_no_step_of_other_settings(tmp_path, error):
    def fail():
        raise error

    run = RunFolder(tmp_path)
    folder = run.step(NAMES, {"a": 1}, made)
    with pytest.raises(type(error)):
        run.step(NAMES, {"a": 2}, fail)
    assert not folder.exists()
    assert run.gather("s", "scores").empty
    assert list(run.unmade) == [NAMES]
    with pytest.raises(InputError, match="could not be made"):  # and is not tried twice
        run.step(NAMES, {"a": 2}, lambda: pytest.fail("tried again"))
    run.step(NAMES, {"a": 1}, lambda: pytest.fail("it was kept"))
    assert read_table(folder / "scores.csv")["score"].item() == 1
    assert not run.unmade


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), UnfinishedError("disk")])
def test_what_is_only_unfinished_ends_the_run(tmp_path, error):
    def fail():
        raise error

    run = RunFolder(tmp_path)
    with pytest.raises(type(error)), run.part("m", "l", "s"):
        run.step(NAMES, {}, fail)
    assert not run.unmade
    assert not run.records()


def test_a_part_that_fails_leaves_the_others(tmp_path):
    run = RunFolder(tmp_path)
    with run.part(*NAMES):
        run.step(NAMES, {}, lambda: 1 / 0)
    with run.part("m", "", "classes"):
        raise SystemExit(0)
    run.step(("m", "l", "t"), {}, made)
    run.write_unmade()
    found = read_table(tmp_path / "tables" / "unmade.csv")
    assert found[["model", "layer", "step"]].to_numpy().tolist() == [[*NAMES], ["m", "", "classes"]]
    assert "ZeroDivisionError" in found["reason"][0]
    later = RunFolder(tmp_path)  # a command that makes one of the two
    later.step(NAMES, {}, made)
    later.write_unmade()
    assert read_table(tmp_path / "tables" / "unmade.csv")["step"].tolist() == ["classes"]


def damages(folder):
    scores, record = folder / "scores.csv", folder / "step.json"
    text = record.read_text()
    whole = scores.read_bytes()
    yield "digit", lambda: scores.write_bytes(whole.replace(b"1.0", b"7.0"))
    yield "half", lambda: scores.write_bytes(whole[: len(whole) // 2])
    yield "empty", lambda: scores.write_bytes(b"")
    yield "gone", scores.unlink
    yield "record cut", lambda: record.write_text(text[:40])
    yield "record changed", lambda: record.write_text(text.replace('"seconds":', '"seconds":1'))
    yield "record gone", record.unlink


def test_a_damaged_step_is_made_again_and_told(tmp_path, caplog):
    run = RunFolder(tmp_path)
    folder = run.step(NAMES, {}, made)
    for count, (name, damage) in enumerate(damages(folder), start=2):
        damage()
        caplog.clear()
        fresh = RunFolder(tmp_path)
        assert fresh.gather("s", "scores").empty, name  # served to nobody
        fresh.step(NAMES, {}, lambda count=count: made(count))
        assert read_table(folder / "scores.csv")["score"].item() == count, name
        assert not fresh.unmade
        assert "made again" in caplog.text or name == "record gone"
        (folder / "scores.csv").chmod(0o644)
        fresh.step(NAMES, {"back": 1}, made)
        run.step(NAMES, {}, made)


def test_a_damaged_step_of_another_command_is_named(tmp_path):
    folder = RunFolder(tmp_path).step(NAMES, {}, made)
    (folder / "scores.csv").write_text("concept,score\nsky,2.0\n")
    run = RunFolder(tmp_path)
    assert run.gather("s", "scores").empty
    assert "scores.csv is not as it was written" in run.unmade[NAMES]


def test_a_changed_table_is_not_drawn(tmp_path):
    run = RunFolder(tmp_path)
    run.table("scores", made().tables["scores"])
    require_undamaged(tmp_path)
    path = tmp_path / "tables" / "scores.csv"
    path.write_text(path.read_text().replace("1.0", "1.5"))
    with pytest.raises(UnfinishedError, match=r"scores\.csv is not as it was written"):
        require_undamaged(tmp_path)
    path.unlink()
    require_undamaged(tmp_path)


@pytest.mark.parametrize(
    ("names", "holds", "said"),
    [
        (("m", "l", "t"), {"data": {"title": "d2", "images": "2"}}, r"results of d1 \(images 1\), "
         r"and this is d2 \(images 2\); choose another folder with --out"),
        (("n", "k", "s"), {"data": {"title": "d2", "images": "2"}}, "results of d1"),
        (("m", "k", "s"), {"model": {"title": "b.pth", "fingerprint": "f" * 64}},
         r"results of m: a\.pth \(fingerprint eeeeeeee\), and this is b\.pth"),
        (("m", "l", "t"), {"layer": {"title": "x", "dtype": "float32"}}, "results of m l: "),
        (("n", "l", "s"), {"model": {"title": "b.pth", "fingerprint": "f" * 64}}, None),
        (("m", "k", "s"), {"layer": {"title": "x", "dtype": "float32"}}, None),
        (("m", "l", "t"), {"data": {"title": "d1", "images": "1", "label size": 9}}, None),
    ],
)  # fmt: skip
def test_results_of_something_else_are_not_replaced(tmp_path, names, holds, said):
    own = {
        "data": {"title": "d1", "images": "1"},
        "model": {"title": "a.pth", "fingerprint": "e" * 64},
        "layer": {"title": "y", "dtype": "float16"},
    }
    folder = RunFolder(tmp_path).step(NAMES, {}, made, own)
    run = RunFolder(tmp_path)
    if said is None:
        run.step(names, {"a": 1}, made, holds)
        return
    with pytest.raises(InputError, match=said), run.part(*names):
        run.step(names, {"a": 1}, made, holds)
    assert read_table(folder / "scores.csv")["score"].item() == 1


def test_what_a_study_no_longer_asks_for_is_put_aside_and_comes_back(tmp_path):
    first = RunFolder(tmp_path, study=True)
    for name in ("s", "t"):
        first.step(("m", "l", name), {}, made)
    RunFolder(tmp_path).step(("m", "l", "command"), {}, made)
    again = RunFolder(tmp_path, study=True)
    again.step(NAMES, {}, made)
    again.keep_asked()
    assert [r["step"] for r in again.records()] == ["s", "command"]
    third = RunFolder(tmp_path, study=True)
    third.step(("m", "l", "t"), {}, lambda: pytest.fail("it was kept"))
    assert {r["step"] for r in third.records()} == {"s", "t", "command"}


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


def test_what_is_made_again_is_no_longer_among_what_could_not_be(tmp_path):
    first = RunFolder(tmp_path)
    for step in ("figure a", "figure b"):
        with first.part("all", "all", step):
            raise ValueError(step)
    first.write_unmade()
    second = RunFolder(tmp_path)
    with second.part("all", "all", "figure a"):
        pass
    second.write_unmade()
    assert read_table(tmp_path / "tables" / "unmade.csv")["step"].tolist() == ["figure b"]


def test_a_table_that_a_run_could_not_make_is_not_that_of_an_earlier_one(tmp_path):
    table, run = made().tables["scores"], RunFolder(tmp_path)
    for name in ("scores", "zoom_by_concept", "nearest"):
        run.table(name, table)
    later = RunFolder(tmp_path)
    later.table("scores", table)
    later.forget_tables(["zoom"])
    left = {path.stem for path in (tmp_path / "tables").iterdir()}
    assert left == {"scores", "zoom_by_concept"}
    require_undamaged(tmp_path)


def test_the_same_tables_in_another_order_are_the_same_bytes(tmp_path):
    for out, names in (("one", "abc"), ("two", "cab")):
        run = RunFolder(tmp_path / out)
        for name in names:
            run.table(name, made().tables["scores"])
    assert (tmp_path / "one/hashes.json").read_bytes() == (
        tmp_path / "two/hashes.json"
    ).read_bytes()
