"""Pictures are prepared for a network as its own library prepares them."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models
from torchvision.transforms import functional

from conceptlab.errors import InputError, ModelError
from conceptlab.models import load_model
from conceptlab.models.probed import Preprocessing, ProbedModel
from conceptlab.models.sources.load import preprocessing_of
from conceptlab.models.sources.source import Built
from conceptlab.models.sources.timm import _geometry
from conceptlab.models.sources.torchvision import preprocessing
from conceptlab.numerics.geometry import Geometry

# smooth enough that a level or two is rounding, and sharp enough that bilinear is no bicubic
RNG = np.random.default_rng(0)
SMALL = Image.fromarray(RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8))
PICTURE = SMALL.resize((620, 440), Image.Resampling.LANCZOS)
ENUMS = [w for n in models.list_models() for w in models.get_model_weights(n)]


def of_kind(kind):
    return [w for w in ENUMS if type(w.transforms()).__name__ == kind]


def prepared(built, **more):
    own = preprocessing_of(built, **more)
    return ProbedModel(nn.Identity(), own, name="net", spec="net").prepare([PICTURE])[0]


def levels_apart(one, other, std):
    """The largest and the mean difference in levels of 255."""
    apart = (one - other).abs() * torch.tensor(std)[:, None, None] * 255
    return float(apart.max()), float(apart.mean())


def test_every_classification_weights_of_torchvision():
    """The crop equals the weights' own transform within rounding, bicubic ones too."""
    seen = {}
    for enum in of_kind("ImageClassification"):
        own = enum.transforms()
        key = (*own.crop_size, *own.resize_size, own.interpolation.value, *own.mean, *own.std)
        seen.setdefault(key, enum)
    assert len(of_kind("ImageClassification")) > 100
    for enum in seen.values():  # one of each that differ
        own = enum.transforms()
        built = Built(nn.Identity(), str(enum), **preprocessing(enum, nn.Identity()))
        largest, mean = levels_apart(prepared(built, fit="crop"), own(PICTURE), own.std)
        assert largest < 2.01, enum
        assert mean < 0.3, enum


def test_bicubic_weights_are_no_bilinear_ones():
    """The test above can fail."""
    enum = models.EfficientNet_B0_Weights.DEFAULT
    fields = preprocessing(enum, nn.Identity()) | {"interpolation": "bilinear"}
    own = enum.transforms()
    other = prepared(Built(nn.Identity(), "net", **fields), fit="crop")
    assert levels_apart(other, own(PICTURE), own.std)[0] > 4


def test_every_segmentation_weights_of_torchvision():
    """520 pixels, of which a crop is the middle of their own transform's whole picture."""
    for enum in of_kind("SemanticSegmentation"):
        built = Built(nn.Identity(), str(enum), **preprocessing(enum, nn.Identity()))
        own = enum.transforms()
        middle = functional.center_crop(own(PICTURE), [520, 520])
        found = prepared(built, fit="crop")
        assert built.size == 520
        assert levels_apart(found, middle, own.std)[0] < 2.01
        assert prepared(built).shape == (3, 520, 520)


@pytest.mark.parametrize(
    ("name", "size"),
    [("ssdlite320_mobilenet_v3_large", 320), ("fasterrcnn_mobilenet_v3_large_320_fpn", 320)],
)
def test_detectors_normalise_once(name, size):
    """What reaches the backbone is the picture normalised once, at the detector's own size."""
    model = load_model(f"torchvision:{name}")
    batch = model.prepare([PICTURE])
    assert batch.shape == (1, 3, size, size)
    assert (float(batch.min()), float(batch.max())) == (0.0, 1.0)
    own = model.module.transform
    inner = own([batch[0]])[0].tensors[0, :, :size, :size]
    mean, std = (torch.tensor(v)[:, None, None] for v in (own.image_mean, own.image_std))
    torch.testing.assert_close(inner, (batch[0] - mean) / std, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["r3d_18", "raft_small"])
def test_networks_of_no_single_pictures_are_refused(name):
    with pytest.raises(ModelError, match="takes no single pictures"):
        load_model(f"torchvision:{name}")


def test_a_vision_transformer_without_weights_has_the_size_of_its_weights():
    enum = models.ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1
    from conceptlab.models.sources.torchvision import _bare_options

    assert _bare_options("vit_b_16", models.vit_b_16, enum)["image_size"] == 384


FAMILIES = (
    "resnet18", "vit_tiny_patch16_224", "efficientnet_b1", "mobilenetv3_large_100", "convnext_atto",
    "swin_tiny_patch4_window7_224", "regnety_002", "densenet121", "mixer_s32_224", "nfnet_l0",
    "edgenext_xx_small", "levit_128s", "tf_efficientnet_b0", "inception_v3", "hrnet_w18_small",
    "maxvit_nano_rw_256", "tresnet_m", "seresnet50", "xcit_nano_12_p8_224", "beit_base_patch16_224",
)  # fmt: skip


def test_families_of_timm():
    timm = pytest.importorskip("timm")
    from timm.data import create_transform, resolve_data_config

    interpolations = set()
    for name in FAMILIES:
        config = resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
        own = create_transform(**config, is_training=False)
        built = Built(
            nn.Identity(), name, **_geometry(name, config), mean=config["mean"], std=config["std"]
        )
        interpolations.add(built.interpolation)
        assert preprocessing_of(built).geometry.interpolation == config["interpolation"]
        if built.uncropped:
            continue
        largest, mean = levels_apart(prepared(built, fit="crop"), own(PICTURE), config["std"])
        assert largest < 2.01, name
        assert mean < 0.3, name
    assert interpolations >= {"bilinear", "bicubic"}


def test_what_timm_does_not_crop_is_not_cropped():
    config = {"input_size": (3, 224, 224), "interpolation": "bicubic", "crop_pct": 1.0}
    for mode, way in (("squash", "resizes the whole"), ("border", "pads the whole")):
        built = Built(nn.Identity(), "net", **_geometry("net", config | {"crop_mode": mode}))
        assert prepared(built).shape == (3, 224, 224)
        with pytest.raises(InputError, match=f"net {way} picture .*leave out the fit"):
            preprocessing_of(built, fit="crop")
    with pytest.raises(ModelError, match=r"256 x 128 pixels \(h x w\), and here all are squares"):
        _geometry("net", config | {"input_size": (3, 256, 128), "crop_mode": "center"})


@pytest.mark.parametrize("interpolation", ["nearest", "box", "hamming", "lanczos"])
def test_other_interpolations_are_pillows(interpolation):
    from conceptlab.models.picture import network_view

    found = network_view(PICTURE, Geometry(96, interpolation=interpolation))
    expected = PICTURE.resize((96, 96), Image.Resampling[interpolation.upper()])
    assert np.array_equal(found, expected)


def test_bilinear_goes_without_saying():
    """Caches of before stay what they are; others say how they were resized."""
    own = Preprocessing(Geometry(8), (0.5,) * 3, (0.5,) * 3)
    assert own.spec()["geometry"] == {"size": 8, "fit": "whole", "resize": None}
    bicubic = Geometry(8, interpolation="bicubic")
    assert Geometry(**bicubic.spec()) == bicubic != Geometry(8)
    with pytest.raises(InputError, match="interpolation is one of"):
        Geometry(8, interpolation="cubic")


@pytest.mark.parametrize(("mean", "mode"), [((0.4,), "L"), ((0.4, 0.5, 0.6, 0.0), "RGBA")])
def test_networks_of_one_and_four_channels(mean, mode):
    picture = Image.fromarray(RNG.integers(0, 256, (16, 16, 4), dtype=np.uint8))
    module = nn.Sequential(nn.Conv2d(len(mean), 5, 3), nn.ReLU())
    model = load_model(module, size=16, mean=mean, std=(0.5,) * len(mean))
    pixels = np.asarray(picture.convert("RGB").convert("L") if mode == "L" else picture)
    expected = np.atleast_3d(pixels).transpose(2, 0, 1) / 255.0
    expected = (expected - np.array(mean)[:, None, None]) / 0.5
    assert np.allclose(model.prepare([picture])[0], expected, atol=1e-6)
    assert model.layers()["shape"].tolist() == [(5, 14, 14)] * 2
    assert model.activations(picture, ["1"])["1"].shape == (1, 5, 14, 14)


@pytest.mark.parametrize(
    ("channels", "said"),
    [(1, "it takes 1 channels: give as many numbers with --mean"), (7, "pictures have 1, 3 or 4")],
)
def test_channels_that_do_not_fit_are_told(channels, said):
    with pytest.raises(ModelError, match=said):
        load_model(nn.Sequential(nn.Conv2d(channels, 2, 3)), size=16).layers()


def test_an_array_of_16_bits_is_what_its_8_bits_are():
    pixels = RNG.integers(0, 256, (24, 24), dtype=np.uint8)
    model = load_model("builtin:scenenet")
    wide, grey = (Image.fromarray(p) for p in (pixels.astype(np.uint16) * 257, pixels))
    found = model.activations([wide, grey], ["features.2"])["features.2"]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(model.decode(wide), model.decode(Image.new("L", (24, 24), 255)))


def test_a_turned_object_is_placed_as_it_is_displayed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    SMALL.save(tmp_path / "a.png", exif=exif)
    turned, shown = Image.open(tmp_path / "a.png"), SMALL.transpose(Image.Transpose.ROTATE_270)
    model = load_model("builtin:scenenet")
    assert np.array_equal(model.decode(turned), model.decode(shown))
