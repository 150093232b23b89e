"""Which pictures stand for a class."""

import numpy as np
import pytest
from PIL import Image

import conceptlab as cl
from conceptlab.errors import InputError
from conceptlab.study.classes import ClassPictures


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    data, model = cl.load_data("scenes:n=60"), cl.load_model("builtin:scenenet")
    acts = cl.extract(model, data, ["features.17"], tmp_path_factory.mktemp("cache"))
    return data, model, acts["features.17"]


def shown(data, name):
    concept = data.catalogue.index[data.catalogue["name"] == name][0]
    return [i for i in range(len(data)) if concept in data.image_concepts(i)]


def test_a_class_that_is_a_concept_has_the_pictures_that_show_it(scenes):
    data, model, acts = scenes
    found = ClassPictures(model, data, acts).of(["street", "beach=tree", "4=sky"])
    assert list(found) == ["street", "beach", "mountain"]
    assert found["street"].rows.tolist() == shown(data, "street")
    assert found["beach"].rows.tolist() == shown(data, "tree")
    assert found["mountain"].rows.tolist() == shown(data, "sky")
    first = np.asarray(found["street"][0])
    np.testing.assert_array_equal(first, np.asarray(data.image(shown(data, "street")[0])))


def test_many_pictures_are_thinned_evenly(scenes):
    data, model, acts = scenes
    every = shown(data, "sky")
    found = ClassPictures(model, data, acts, limit=5).of(["beach=sky"])["beach"].rows
    assert len(found) == 5
    assert (found[0], found[-1]) == (every[0], every[-1])
    assert set(found) <= set(every)


def test_a_folder_of_pictures(scenes, tmp_path):
    data, model, acts = scenes
    for i in range(3):
        Image.new("RGB", (20, 20), (i, 0, 0)).save(tmp_path / f"{i}.png")
    found = ClassPictures(model, data, acts).of([f"street={tmp_path}"])["street"]
    assert [p.name for p in found] == ["0.png", "1.png", "2.png"]


def test_classes_choose_themselves(scenes):
    data, model, acts = scenes
    assert list(ClassPictures(model, data, acts).of(["*"])) == model.class_names[:5]
    model = cl.load_model("builtin:scenenet-rotation")  # its classes are no concepts
    acts = cl.extract(model, data, ["features.17"], acts.cache_root)["features.17"]
    found = ClassPictures(model, data, acts).of(["*"])
    assert set(found) <= set(model.class_names)
    assert sum(map(len, found.values())) <= len(data)
    sizes = [len(p) for p in found.values()]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["streat"], "nearest: street"),
        (["17"], "columns are 0 to 9"),
        (["street=nothing such"], "no concept 'nothing such'"),
        (["street=/no/such/folder"], "no concept"),
        ([], "at least one class"),
    ],
)
def test_wrong_classes_are_refused_in_a_sentence(scenes, entries, words):
    data, model, acts = scenes
    with pytest.raises(InputError, match=words):
        ClassPictures(model, data, acts).of(entries)


def test_a_class_without_pictures_is_refused(scenes, tmp_path):
    data, model, acts = scenes
    Image.new("RGB", (20, 20)).save(tmp_path / "one.png")
    with pytest.raises(InputError, match="has 1 pictures"):
        ClassPictures(model, data, acts).of([f"street={tmp_path}"])
