"""The study file: defaults, round trip, paths, and what is refused."""

import os
from dataclasses import replace

import pytest

from conceptlab.errors import InputError
from conceptlab.study.settings import Study
from conceptlab.study.studyfile import read_study, study_toml

LEAST = '[data]\nspec = "scenes"\n[[models]]\nspec = "builtin:scenenet"\nlayers = ["features.17"]\n'


@pytest.fixture
def study_of(tmp_path):
    """A function that writes a study file and reads it."""

    def read(text, name="mine.toml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return read_study(tmp_path / name)

    return read


def test_every_table_but_two_may_be_left_out_or_empty(study_of):
    least = study_of(LEAST)
    empty = "".join(f"[{t}]\n" for t in ("dissect", "segment", "classify", "compare"))
    assert study_of(LEAST + empty) == least
    assert (least.name, least.seed, least.dissect.tau, least.segment.loss) == (
        "mine", 0, 0.005, "bce",
    )  # fmt: skip
    assert least == Study(least.data, least.models, name="mine")


def test_what_is_written_reads_back_equal(study_of):
    first = study_of(
        'name = "ü \\"q\\" \\\\ \\u007f"\nseed = 7\n' + LEAST + "mean = [0.1, 0.2, 1]\n"
        "size = 32\n[dissect]\ntau = 1e-5\n"
        '[compare]\narithmetic = ["a + b - c"]\nuntrained = false\n'
    )
    assert study_of(study_toml(first), "again.toml") == first


@pytest.mark.parametrize("path", ["a b/ü", "../up", "con", "aux.d/x:y", "*?"])
def test_paths_are_relative_to_the_file(study_of, tmp_path, path):
    text = LEAST.replace('"scenes"', f'"folder:{path},colors=true"')
    text = text.replace("builtin:scenenet", f"file:{path}/net.py:make")
    found = study_of(text + f'weights = "{path}/w.pt"\n')
    assert found.data.spec == f"folder:{tmp_path / path},colors=true"
    assert found.models[0].spec == f"file:{tmp_path / path}/net.py:make"
    assert found.models[0].weights == f"{tmp_path / path}/w.pt"
    assert study_of(study_toml(found), "again.toml").data == found.data


def test_pictures_and_odd_paths_are_relative_to_the_file(study_of, tmp_path):
    for given, made in (
        ("pictures:imgs", f"pictures:{tmp_path}/imgs"),
        ('folder:\\"a,b=c\\",val=test', f'folder:"{tmp_path}/a,b=c",val=test'),
    ):
        found = study_of(LEAST.replace('"scenes"', f'"{given}"'))
        assert found.data.spec == made
        assert study_of(study_toml(found), "again.toml").data == found.data


def test_an_absolute_path_stays(study_of):
    assert study_of(LEAST.replace('"scenes"', '"broden:/b"')).data.spec == "broden:/b"


@pytest.mark.parametrize(
    "more",
    [
        "size = 1.5", "mean = [1, 2]", "mean = [nan, 0, 0]", "batch_size = 0", "dtype = 'int8'",
        "layers_ = 1", "[dissect]\ntau = 'x'", "[dissect]\ntau = 1.0", "[dissect]\nscope = 'x'",
        "[segment]\nsizes = [0]", "[segment]\nsplit = 'x'", "[classify]\nmin_examples = true",
        "[look]\nunits = -1", "[look]\ncount = 0", "[look]\nexemplars = 3",
        "[atlas]\nicons = 'x'",
        "[atlas]\ngrids = [0]", "[atlas]\ngrids = 8", "[atlas]\nmethod = 'pca'",
        "[atlas]\nneighbours = 1", "[atlas]\nclasses = 'street'",
        "[compare]\nneighbours = 0", "[compare]\nuntrained = 1", "[compare]\narithmetic = 'a'",
    ],
)  # fmt: skip
def test_values_that_make_no_sense(study_of, more):
    with pytest.raises(InputError, match=r"mine\.toml: "):
        study_of(LEAST + more)


def test_models_are_told_apart_by_their_names(study_of):
    one = study_of(LEAST).models[0]
    with pytest.raises(InputError, match="two models are called 'scenenet'"):
        study_of(LEAST + LEAST[LEAST.index("[[") :])
    with pytest.raises(InputError, match="two models are called 'scenenet'"):
        replace(study_of(LEAST), models=(one, replace(one, spec="x:y", name="scenenet")))


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path):
    text = '[data]\nspec = "scenes"\n[[models]]\nspec = "builtin:scenenet"\nlayers = ["a"]\n'
    (tmp_path / "s.toml").write_text("\ufeff" + text, encoding="utf-8")
    assert read_study(tmp_path / "s.toml").data.spec == "scenes"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deep"),
        ("a = " + "{b=" * 5000 + "1" + "}" * 5000, "nested too deep"),
        ("seed = " + "9" * 5000, "is not TOML"),
        ("seed = " + "9" * 4000, "a whole number"),
        ("seed = 0x" + "f" * 5000, "a whole number"),
        ("[data]\nspec = 's'\nlabel_size = 0x" + "f" * 5000, "thousands of digits"),
        ("[data]\nspec = 's'\nlabel_size = " + "9" * 4000, r"got 9{80}\.\.\.$"),
    ],
)
def test_hostile_files_are_refused_in_a_short_sentence(tmp_path, text, said):
    models = '\n[[models]]\nspec = "builtin:scenenet"\nlayers = ["a"]\n'
    data = "" if "[data]" in text else '\n[data]\nspec = "scenes"\n'
    (tmp_path / "s.toml").write_text(text + data + models)
    with pytest.raises(InputError, match=said) as caught:
        read_study(tmp_path / "s.toml")
    assert len(str(caught.value)) < 400


def test_a_pipe_is_no_study_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"cannot read the study file .*regular file"):
        read_study(tmp_path / "pipe")
