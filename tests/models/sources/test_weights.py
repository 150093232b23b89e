"""Files of weights: what fits is read, what does not is said, code is never run."""

import pickle

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from conceptlab.errors import ModelError
from conceptlab.models.sources.weights import load_weights, read_state, redraw_weights

old_weight_norm = nn.utils.weight_norm


def make(seed=0, units=4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, units, 3), nn.BatchNorm2d(units), nn.Linear(2, 2))


def same(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


@pytest.fixture
def trained():
    return make(seed=7)


def test_safetensors(trained, tmp_path):
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    module = make()
    load_weights(module, tmp_path / "w.safetensors")
    assert same(module, trained)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"module." + k: v for k, v in s.items()},
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": {"module." + k: v for k, v in s.items()}},
        lambda s: {"model_state_dict": s},
        lambda s: {"net": s, "optimizer": {"lr": 0.1, "state": {}}},
        lambda s: {"ema": {k: v + 1 for k, v in s.items()}, "state_dict": s},
        lambda s: {"state_dict": {"model." + k: v for k, v in s.items()}},
        lambda s: {"module._orig_mod." + k: v for k, v in s.items()},
        lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_state_dicts_that_torch_saved(trained, tmp_path, wrap, zipped):
    file = tmp_path / "w.pth"
    torch.save(wrap(trained.state_dict()), file, _use_new_zipfile_serialization=zipped)
    module = make()
    load_weights(module, file)
    assert same(module, trained)


def test_a_part_called_module_keeps_its_name(trained, tmp_path):
    torch.save(nn.ModuleDict({"module": trained}).state_dict(), tmp_path / "w.pth")
    wrapped = nn.ModuleDict({"module": make()})
    load_weights(wrapped, tmp_path / "w.pth")
    assert same(wrapped["module"], trained)


@pytest.mark.parametrize("change", [torch.Tensor.to_sparse, lambda v: v.to("meta")])
def test_tensors_without_plain_numbers_are_refused(trained, tmp_path, change):
    state = trained.state_dict()
    torch.save({**state, "2.weight": change(state["2.weight"])}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"w\.pth holds 2\.weight in a form without plain numbers"):
        load_weights(make(), tmp_path / "w.pth")


def test_several_state_dicts_of_unknown_names(trained, tmp_path):
    state = trained.state_dict()
    torch.save({"student": state, "teacher": state}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"several state dicts \(student, teacher\)"):
        read_state(tmp_path / "w.pth")


def test_values_are_brought_to_the_modules_types(trained, tmp_path):
    half = {k: v.half() if v.is_floating_point() else v for k, v in trained.state_dict().items()}
    save_file(half, tmp_path / "w.safetensors")
    module = make()
    load_weights(module, tmp_path / "w.safetensors")
    assert module[0].weight.dtype == torch.float32
    assert torch.equal(module[0].weight, trained[0].weight.half().float())


def misfit(state, tmp_path, **options):
    save_file(state, tmp_path / "w.safetensors")
    module = make()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        load_weights(module, tmp_path / "w.safetensors", **options)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert "w.safetensors do not fit Sequential: the file " in str(caught.value)
    return str(caught.value).partition("the file ")[2]


def test_weights_that_do_not_fit(trained, tmp_path):
    state = trained.state_dict()
    fewer = {k: v for k, v in state.items() if not k.startswith("2")}
    assert misfit(fewer, tmp_path) == "lacks 2.weight, 2.bias"
    assert misfit({**state, "9.a": torch.ones(1)}, tmp_path) == "has, and the network has not, 9.a"
    wide = make(units=5).state_dict()
    assert misfit(wide, tmp_path) == (
        "has other shapes for 0.weight (5, 3, 3, 3) instead of (4, 3, 3, 3), 0.bias (5,) instead "
        "of (4,) and 4 more"
    )
    eight_bits = {**state, "2.weight": state["2.weight"].to(torch.int8)}
    assert misfit(eight_bits, tmp_path) == ("has other types for 2.weight int8 instead of float32")
    assert misfit({f"a.{k}" if k == "2.bias" else f"b.{k}": v for k, v in state.items()},
                  tmp_path).startswith("lacks 0.weight, 0.bias and ")  # fmt: skip


def test_weights_that_only_training_uses_may_be_there(trained, tmp_path):
    state = {**trained.state_dict(), "aux.fc": torch.ones(2)}
    save_file(state, tmp_path / "w.safetensors")
    module = make()
    load_weights(module, tmp_path / "w.safetensors", ("aux.",))
    assert same(module, trained)
    assert misfit(state, tmp_path, training_only=("other.",)).endswith("aux.fc")


class Malicious:
    """On unpickling, writes a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (open, (str(self.file), "w"))


@pytest.mark.parametrize("how", ["torch", "old torch", "pickle"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
def test_code_is_refused_and_not_run(trained, tmp_path, how, suffix):
    file, touched = tmp_path / f"w{suffix}", tmp_path / "touched"
    content = {**trained.state_dict(), "evil": Malicious(touched)}
    if how == "pickle":
        file.write_bytes(pickle.dumps({"evil": Malicious(touched)}))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(ModelError) as caught:
        read_state(file)
    assert not touched.exists()
    if suffix != ".safetensors":
        assert "holds more than tensors, possibly code, and was not loaded" in str(caught.value)


def test_a_pickled_module_is_refused(trained, tmp_path):
    torch.save(trained, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="possibly code, and was not loaded"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_truncated_and_spoilt_files(trained, tmp_path, suffix):
    file = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save(trained.state_dict(), file)
    else:
        save_file(trained.state_dict(), file)
    sound = file.read_bytes()
    for content in (sound[: len(sound) // 2], sound[:-1], sound[:5], b"", b"no weights at all"):
        file.write_bytes(content)
        with pytest.raises(ModelError, match=f"w{suffix}.* damaged one"):
            read_state(file)


@pytest.mark.parametrize("content", [[torch.ones(1)], {}, {"a": 1}, {1: torch.ones(1)}, "text"])
def test_files_that_hold_no_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="no state dict"):
        read_state(tmp_path / "w.pth")


def test_no_file(tmp_path):
    with pytest.raises(ModelError, match="there is no weights file"):
        read_state(tmp_path / "w.pth")


def test_weights_drawn_anew(trained):
    module = make(seed=7)
    redraw_weights(module)
    assert not torch.equal(module[0].weight, trained[0].weight)
    assert torch.equal(module[1].weight, torch.ones(4))

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

    redraw_weights(nn.Sequential(Own()))  # one value: nothing was learned that can be told apart


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, old_weight_norm])
def test_weights_under_weight_norm_are_drawn_anew(norm):
    torch.manual_seed(0)
    module = nn.Sequential(norm(nn.Conv2d(3, 4, 3)), nn.ReLU())
    picture = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        trained = module(picture)
        redraw_weights(module)
        anew = module(picture)
    assert (trained - anew).abs().max() > 0.1


def test_parameters_that_cannot_be_drawn_are_permuted(caplog):
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.arange(64.0).reshape(8, 8))

    module = nn.Sequential(Positions(), nn.Linear(8, 2))
    with caplog.at_level("INFO", "conceptlab"):
        redraw_weights(module)
    table = module[0].table.detach()
    assert torch.equal(table.sort(dim=1).values.flatten().sort().values, torch.arange(64.0))
    assert not torch.equal(table, torch.arange(64.0).reshape(8, 8))
    assert "permutes the values of 1 parameters" in caplog.text
    assert "0.table" in caplog.text


class Tied(nn.Module):
    """Two names of one tensor, as a decoder that shares its encoder's weights."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.two(self.one(x))


def test_tensors_of_several_names_are_read_as_safetensors_saves_them(tmp_path):
    torch.manual_seed(0)
    trained = Tied()
    save_model(trained, tmp_path / "w.safetensors")
    torch.manual_seed(1)
    module = Tied()
    load_weights(module, tmp_path / "w.safetensors")
    assert same(module, trained)
    apart = nn.ModuleDict({"one": nn.Linear(4, 4), "two": nn.Linear(4, 4)})  # not tied
    with pytest.raises(ModelError, match=r"lacks two\.weight|lacks one\.weight"):
        load_weights(apart, tmp_path / "w.safetensors")


def test_state_that_is_no_tensor_is_the_modules_own(tmp_path):
    class Counting(nn.Linear):
        def get_extra_state(self):
            return {"calls": 3}

        def set_extra_state(self, state):
            self.calls = state["calls"]

    torch.manual_seed(0)
    trained = Counting(2, 2)
    tensors = {"weight": trained.weight.data, "bias": trained.bias.data}
    save_file(tensors, tmp_path / "w.safetensors")
    module = Counting(2, 2)
    load_weights(module, tmp_path / "w.safetensors")
    assert torch.equal(module.weight, trained.weight)
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    load_weights(module, tmp_path / "w.pth")
    assert module.calls == 3


def test_an_archive_that_unpacks_to_more_than_it_is_is_not_unpacked(tmp_path):
    import zipfile

    plain, packed = tmp_path / "plain.pth", tmp_path / "packed.pth"
    torch.save({"weight": torch.zeros(1000, 1000)}, plain)
    with (
        zipfile.ZipFile(plain) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    assert set(torch.load(packed, weights_only=True)) == {"weight"}  # torch itself unpacks it
    with pytest.raises(ModelError, match="compressed, or declares more than it holds"):
        read_state(packed)
    assert read_state(plain)["weight"].shape == (1000, 1000)


def test_a_tensor_that_repeats_its_values_beyond_its_file_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "wide.pth")
    with pytest.raises(ModelError, match="more values for weight than it holds"):
        read_state(tmp_path / "wide.pth")
