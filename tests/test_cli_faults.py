"""What is wrong costs one sentence on stderr and the right exit code, and never a traceback."""

import errno
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

MODEL, DATA = "builtin:scenenet", "scenes:n=60"
LAYER = ("-l", "features.17")
TWICE = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.relu, self.two = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)
    def forward(self, x):
        return self.relu(self.two(self.relu(self.one(x))))
def make():
    return Net()
"""
TABLES = '[data]\nspec = "scenes:n=60"\n[[models]]\nspec = "builtin:scenenet"\nlayers = ["x"]\n'


class Evil:
    """Writes a file if it is unpickled."""

    def __reduce__(self):
        return open, ("executed", "w")


def write_folder(root, train=8, val=4):
    """A folder data set of noise in two classes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            picture = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(picture).save(root / "images" / split / f"{number:02}.png")
            labels = rng.integers(0, 2, (20, 24), dtype=np.uint8)
            Image.fromarray(labels).save(root / "labels" / split / f"{number:02}.png")
    (root / "classes.csv").write_text("index,name,category\n0,sky,object\n1,red,color\n")
    return root


@pytest.fixture
def refused(conceptlab):
    """A function that runs a command which must end with a code and one sentence."""

    def run(code, said, *words):
        found, out, err = conceptlab(*words, "--quiet")
        assert found == code, err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert said in err
        return out

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("extract", MODEL, DATA), "Missing option '--layer' / '-l'"),
        (("extract", MODEL, DATA, *LAYER, "--nope"), "No such option: --nope"),
        (("extract", MODEL, DATA, *LAYER, "--batch-size", "0"), "--batch-size"),
        (("layers", MODEL, "--seed"), "--seed"),
        (("layers", MODEL, "--seed", "-1"), "--seed"),
        (("layers", "nope:x"), "unknown model source 'nope'"),
        (("layers", "builtin:scenet"), "nearest: scenenet"),
        (("layers", "file:none.py:make"), "there is no file none.py"),
        (("layers", MODEL, "--weights", "none.pt"), "there is no weights file none.pt"),
        (("layers", MODEL, "--device", "toaster"), "cannot run on device 'toaster'"),
        (("layers", MODEL, "--device", "meta"), "cannot run on device 'meta'"),
        (("layers", MODEL, "--size", "0"), "--size"),
        (("data", "describe", "nope:x"), "unknown data source 'nope'"),
        (("data", "describe", "scenes:foo=1"), "unknown option 'foo'"),
        (("data", "validate", "folder:none"), "there is no folder none"),
        (("data", "prepare", DATA, "--size", "1"), "--size"),
        (("data", "prepare", DATA, "--size", "9000"), "label_size is at most 4096; got 4500"),
        (("dissect", MODEL, DATA, *LAYER, "--label-size", "1000000"), "label_size is at most 4096"),
        (("extract", MODEL, DATA, "-l", "feature.17"), "nearest: features.17"),
        (("extract", MODEL, DATA, *LAYER, "--mean", "1,2"), "--mean takes three numbers"),
        (("extract", MODEL, DATA, *LAYER, "--mean", "nan,0,0"), "--mean takes three finite"),
        (("extract", MODEL, DATA, *LAYER, "--std", "0,0,0"), "std above 0"),
        (("extract", MODEL, DATA, *LAYER, "--dtype", "int8"), "dtype is one of"),
        (("extract", MODEL, DATA, *LAYER, "--fit", "tight"), "fit is one of"),
        (("dissect", MODEL, DATA, *LAYER, "--tau", "nan"), "tau is a finite number"),
        (("dissect", MODEL, DATA, *LAYER, "--order", "x"), "order is one of"),
        (("dissect", MODEL, DATA, "-l", "features.[78]", "--netdissect-csv", "x"), "one layer"),
        (("probe", "segment", MODEL, DATA, *LAYER, "--loss", "x"), "loss is one of"),
        (("probe", "classify", MODEL, DATA, *LAYER, "--split", "x"), "split is one of"),
        (("run", "none.toml"), "cannot read the study file none.toml"),
        (("report", "."), ". is no run folder"),
        (("cache", "verify", "--cache", "none"), "there is no cache folder none"),
        (("units", "summarize", "none.csv"), "cannot read none.csv"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_words(refused, words, said, tmp_path):
    assert refused(2, said, *words) == ""
    assert not (tmp_path / "runs").exists()


def test_a_layer_that_runs_twice_names_others(refused, tmp_path):
    (tmp_path / "net.py").write_text(TWICE)
    options = ("--size", 16, "--mean", "0,0,0", "--std", "1,1,1")
    said = "relu runs more than once in a forward pass, so its output is ambiguous; choose one of"
    refused(2, said, "extract", "file:net.py:make", DATA, "-l", "relu", *options)


def test_weights_that_do_not_fit(refused, tmp_path):
    torch.save({"a": torch.zeros(3)}, tmp_path / "w.pt")
    refused(2, "w.pt do not fit SceneNet", "layers", MODEL, "--weights", "w.pt")


def test_a_pickle_with_code_is_not_executed(refused, tmp_path):
    torch.save({"a": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pt", "evil.pkl"):
        refused(2, "was not loaded", "layers", MODEL, "--weights", name)
    assert not (tmp_path / "executed").exists()


def test_an_index_that_is_not_in_classes_csv(refused, tmp_path):
    root = write_folder(tmp_path / "data")
    Image.fromarray(np.full((20, 24), 9, np.uint8)).save(root / "labels" / "train" / "03.png")
    said = "03.png has index 9, which is not in classes.csv"
    refused(2, said, "dissect", MODEL, "folder:data", *LAYER)


def test_an_empty_train_split(refused, tmp_path):
    write_folder(tmp_path / "data", train=0)
    refused(2, "has no pictures to learn from", "extract", MODEL, "folder:data", *LAYER)


def test_a_corrupt_image_met_during_extraction(refused, conceptlab, tmp_path):
    path = write_folder(tmp_path / "data") / "images" / "train" / "05.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    refused(2, "05.png is damaged or no picture", "extract", MODEL, "folder:data", *LAYER)
    path.write_bytes(whole)
    assert conceptlab("extract", MODEL, "folder:data", *LAYER)[0] == 0


def test_a_split_that_the_data_lacks(refused, tmp_path):
    write_folder(tmp_path / "data")
    for task in ("segment", "classify"):
        words = ("probe", task, MODEL, "folder:data", *LAYER, "--split", "test")
        refused(2, "no 'test' images; its splits: train, val", *words)
    assert not (tmp_path / "cache").exists()


def test_validate_names_file_by_file(conceptlab, tmp_path):
    root = write_folder(tmp_path / "data")
    (root / "images" / "train" / "01.png").write_bytes(b"no picture")
    (root / "labels" / "val" / "02.png").unlink()
    Image.fromarray(np.full((20, 24), 9, np.uint8)).save(root / "labels" / "train" / "03.png")
    code, out, err = conceptlab("data", "validate", "folder:data")
    assert (code, err) == (2, "")
    for name in ("images/train/01.png", "labels/val/02.png", "labels/train/03.png"):
        assert f"error: {name}: " in out
    assert out.endswith("3 errors, 0 remarks\n")


def test_a_class_without_a_pixel_is_a_remark(conceptlab, tmp_path):
    root = write_folder(tmp_path / "data")
    with (root / "classes.csv").open("a") as file:
        file.write("2,unicorn,object\n")
    code, out, _ = conceptlab("data", "validate", "folder:data")
    assert code == 0
    assert "remark: classes.csv: 'unicorn' never has a pixel" in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[data", "s.toml is not TOML"),
        ("", "a study needs a table [data] and at least one [[models]]"),
        ("seeds = 3\n" + TABLES, "unknown field 'seeds'; nearest: seed"),
        ("seed = -1\n" + TABLES, "seed is a whole number of at least 0"),
        ("seed = true\n" + TABLES, "seed a whole number"),
        (TABLES + "layer = []", "unknown field 'layer' in [[models]]; nearest: layers"),
        (TABLES + "[segment]\nlos = 'x'", "unknown field 'los' in [segment]; nearest: loss"),
        (TABLES + "[dissect]\ntau = nan", "[dissect]: tau is a finite number"),
        (TABLES + TABLES[TABLES.index("[[") :], "two models are called 'scenenet'"),
        (TABLES, "scenenet has no layer 'x'"),
    ],
)
def test_a_wrong_study(refused, tmp_path, text, said):
    (tmp_path / "s.toml").write_text(text)
    refused(2, said, "run", "s.toml")


def test_a_later_model_of_a_study_is_judged_before_the_first_runs(refused, tmp_path):
    text = TABLES.replace('["x"]', '["features.17"]')
    later = '[[models]]\nspec = "builtin:sceneres"\nlayers = ["stages.9"]\n'
    (tmp_path / "s.toml").write_text(text + later)
    refused(2, "sceneres has no layer 'stages.9'", "run", "s.toml")
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_is_a_file(refused, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    refused(3, "--cache", "extract", MODEL, DATA, *LAYER, "--cache", "file")


def test_a_run_folder_that_is_a_file(refused, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    said = "cannot write in the run folder file"
    refused(3, said, "dissect", MODEL, DATA, *LAYER, "--out", "file")


def test_a_full_disk_costs_nothing_that_is_done(refused, conceptlab, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        refused(3, "No space left on device", "extract", MODEL, DATA, *LAYER)
    assert conceptlab("extract", MODEL, DATA, *LAYER)[0] == 0


def test_verify_names_the_damaged_block_until_it_is_extracted_again(conceptlab, tmp_path):
    extract = ("extract", MODEL, DATA, *LAYER, "--batch-size", 16)
    assert conceptlab(*extract)[0] == 0
    assert conceptlab("cache", "verify") == (0, "no damage\n", "")
    path = next((tmp_path / "cache").rglob("features.17.h5"))
    content = bytearray(path.read_bytes())
    content[-len(content) // 2] ^= 1
    path.write_bytes(content)
    code, out, err = conceptlab("cache", "verify")
    assert code == 3
    assert "features.17.h5" in out
    assert "its checksum does not match" in out
    assert err.startswith("error: 1 block or file is damaged or unreadable; the command that made")
    code, out, _ = conceptlab("cache", "verify", "--json")
    assert code == 3
    assert out.count("\n") == 1
    assert conceptlab(*extract)[0] == 0
    assert conceptlab("cache", "verify")[0] == 0


def test_a_reader_that_has_seen_enough(tmp_path):
    command = f"{sys.executable} -m conceptlab layers {MODEL} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_say_that_the_same_command_continues(tmp_path, number, code):
    command = [sys.executable, "-m", "conceptlab", "extract", MODEL, "scenes:n=1500", *LAYER]
    command += ["--cache", str(tmp_path), "--batch-size", "8"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.rglob("features.17.h5")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    assert process.communicate(timeout=60)[1].endswith(
        "interrupted; the same command continues where it stopped\n"
    )
    assert process.returncode == code
    assert not [p for p in tmp_path.rglob("*") if p.name.endswith((".lock", ".tmp"))]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
