"""Layouts of all layers of many families of networks, against their own outputs and their places.

All layers of a network of each family are measured by `layouts`, at its own size and of some at an
odd one, with the random weights that its library gives it. Each accepted grid is then judged twice.
Values: it has to be the module's own output in the order that its library documents, written down
by hand in `LAST` and `FIRST`; where a family that is not in them has units last, places alone tell.
Places: each of its cells has to answer where it lies in the picture (`families_places`). Layers
that answer nowhere in particular are counted as not judged, never as right; vectors have no places.

    python analyses/benchmarks/families.py [--only resnet,swin] [--out FILE.jsonl]

A network that is in FILE already is not tried again, so that a run can be stopped and several can
share the work.
"""

import argparse
import fnmatch
import json
import time
import warnings
from collections import Counter
from pathlib import Path

import timm
import torch
import torchvision
from families_places import NOISES, RIGHT, WRONG, Verdict, judged, made_legible, pictures
from torch import Tensor, nn

from conceptlab.models.grid import CLASS, Form, first_tensor, to_grid
from conceptlab.models.layout import layouts
from conceptlab.models.places import Layout

#: Family, its network (tv: of torchvision, else of timm), and sizes.
FAMILIES = """
swin tv:swin_t 128 113 | swin2 tv:swin_v2_t 128 | hiera timm:hiera_tiny_224 128
mixer timm:mixer_s32_224 224 | mvit2 timm:mvitv2_tiny 128 | pit timm:pit_ti_224 224
levit timm:levit_128s 224 | xcit timm:xcit_nano_12_p16_224 112
vit_timm timm:vit_tiny_patch16_224 112 | deit timm:deit_tiny_distilled_patch16_224 112
mobilevit timm:mobilevit_xxs 128 | mobilevit2 timm:mobilevitv2_050 128
coatnet timm:coatnet_nano_rw_224 128 | maxvit tv:maxvit_t 224 | cait timm:cait_xxs24_224 112
beit timm:beit_base_patch16_224 96 | eva timm:eva02_tiny_patch14_224 112
crossvit timm:crossvit_tiny_240 240 | twins timm:twins_svt_small 128 | pvt2 timm:pvt_v2_b0 128 97
convit timm:convit_tiny 112 | volo timm:volo_d1_224 128 | gcvit timm:gcvit_xxtiny 224
nest timm:nest_tiny 224 | tnt timm:tnt_s_legacy_patch16_224 112
visformer timm:visformer_tiny 128 | edgenext timm:edgenext_xx_small 128
efficientformer timm:efficientformer_l1 224 | fastvit timm:fastvit_t8 128
repvit timm:repvit_m0_9 128 | ghostnet timm:ghostnet_050 128 | vit tv:vit_b_32 224
resmlp timm:resmlp_12_224 112 | gmlp timm:gmlp_ti16_224 112
poolformer timm:poolformer_s12 128 | focalnet timm:focalnet_tiny_srf 128
davit timm:davit_tiny 128 | efficientvit timm:efficientvit_b0 128
efficientvit_m timm:efficientvit_m0 224 | tinyvit timm:tiny_vit_5m_224 224
coat timm:coat_lite_tiny 128 | dino_reg timm:vit_small_patch14_reg4_dinov2 112
alexnet tv:alexnet 160 | vgg tv:vgg11 100 | resnet tv:resnet18 224 128 97
wide_resnet tv:wide_resnet50_2 64 | resnext tv:resnext50_32x4d 96
densenet tv:densenet121 96 | googlenet tv:googlenet 128 | inception3 tv:inception_v3 203
squeezenet tv:squeezenet1_1 224 129 | mobilenet2 tv:mobilenet_v2 160 75
mobilenet3 tv:mobilenet_v3_small 224 160 | mnasnet tv:mnasnet0_5 160
shufflenet tv:shufflenet_v2_x0_5 224 160 | efficientnet tv:efficientnet_b0 160
regnet tv:regnet_x_400mf 160 101 | convnext tv:convnext_tiny 96
timm_resnet timm:resnet10t 176 | seresnet timm:seresnet50 96 | ecaresnet timm:ecaresnet26t 128
resnest timm:resnest14d 128 | res2net timm:res2net50_26w_4s 96 | skresnet timm:skresnet18 128
dpn timm:dpn48b 128 | dla timm:dla46_c 128 | vovnet timm:ese_vovnet19b_slim_dw 128
hrnet timm:hrnet_w18_small 128 | tinynet timm:tinynet_e 106 | lcnet timm:lcnet_035 160
repvgg timm:repvgg_a0 128 | mobileone timm:mobileone_s0 128 | rexnet timm:rexnet_100 128
nfnet timm:nf_regnet_b0 128 | cspnet timm:cspresnet50 96 | darknet timm:cspdarknet53 96
regnety timm:regnety_002 160 | gernet timm:gernet_s 128 | xception timm:legacy_xception 128
selecsls timm:selecsls42 128 | hardcorenas timm:hardcorenas_a 128 | fbnet timm:fbnetc_100 128
mixnet timm:mixnet_s 128 | convnextv2 timm:convnextv2_atto 128
convmixer timm:convmixer_768_32 48 | inception4 timm:inception_v4 203
lraspp tv:lraspp_mobilenet_v3_large 128 | deeplab tv:deeplabv3_mobilenet_v3_large 128
fcn tv:fcn_resnet50 64
"""

#: Layers whose units come last, in families of 4-D outputs; the rest there is (n, K, H, W).
LAST = {
    "swin": ["features", "features.0", "features.0.[12]", "features.[1-9]*", "norm"],
    "swin2": ["features", "features.0", "features.0.[12]", "features.[1-9]*", "norm"],
    "convnext": ["*.block.[1-5]"],  # between its two Permutes
}
#: Tokens before the map's, where there are any.
FIRST = {
    "vit": 1, "vit_timm": 1, "deit": 2, "beit": 1, "pit": 1, "dino_reg": 5, "tnt": 1, "eva": 1,
    "xcit": 1, "cait": 1, "crossvit": 1, "convit": 1, "volo": 1, "coat": 1,
}  # fmt: skip
MORE_NOISES = 10  # where some layers could not be judged


def build(spec: str, size: int) -> nn.Module:
    """A network of the random weights that its library gives it."""
    source, _, name = spec.partition(":")
    torch.manual_seed(0)
    if source == "tv":
        plain = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        if name.startswith(("lraspp", "deeplab", "fcn")):  # of segmentation
            plain = {"weights_backbone": None}
        module = torchvision.models.get_model(name, weights=None, **plain)
    else:
        try:
            module = timm.create_model(name, img_size=size)
        except TypeError:
            module = timm.create_model(name)
    return module.eval()


def as_documented(family: str, layer: str, raw: Tensor, grid: Tensor, layout: Layout) -> bool:
    """Whether a grid's values are the module's own output, brought into the documented order."""
    order = layout.form.order
    if raw.ndim == 4 and max(layout.shape[1:]) > 1:
        last = any(fnmatch.fnmatchcase(layer, pattern) for pattern in LAST.get(family, []))
        if family not in LAST and order == (0, 3, 1, 2):  # no list of this family: places tell
            last = True
        return torch.equal(grid, raw.permute(0, 3, 1, 2) if last else raw)
    if raw.ndim == 3 and layout.form.others:
        first = FIRST.get(family, -1)
        own = raw[:, first:] if order == (0, 2, 1) else raw[:, :, first:].mT
        return layout.form.first == first and torch.equal(grid.flatten(2).mT, own)
    return True


class Checked:
    """What a pass of `pictures` shows of the accepted layers of a network.

    Args:
        family: whose documented orders hold.
        found: layouts of its layers.
    """

    def __init__(self, family: str, found: dict[str, Layout]) -> None:
        self._family, self.found = family, found
        self._last: tuple[Tensor, int, Form, Verdict] | None = None
        self.wrong: list[str] = []
        self.unjudged: list[str] = []
        self.right: list[float] = []  # agreement of those whose places are right
        self.vectors = 0

    def look(self, layer: str, output: object) -> None:
        """Check a layer's output."""
        layout = self.found[layer]
        if layout.form is None or layout.shape is None:
            return
        raw = first_tensor(output, layer)
        grid = to_grid(raw, layout.form)
        if not as_documented(self._family, layer, raw, grid, layout):
            self.wrong.append(f"{layer}: values {layout.form}")
        if min(layout.shape[1:]) < 2:
            self.vectors += 1
            return
        verdict = self._verdict(raw, layout.form)
        said = f"{layer}: places {verdict.agreement:.2f}, sure {verdict.sure:.2f}, {verdict.why}"
        if verdict.says == RIGHT:
            self.right.append(verdict.agreement)
        else:
            (self.wrong if verdict.says == WRONG else self.unjudged).append(said)

    def _verdict(self, raw: Tensor, form: Form) -> Verdict:
        """A block gives what its last part gave, and is judged with it."""
        last = self._last
        if last is None or raw is not last[0] or (raw._version, form) != last[1:3]:
            self._last = raw, raw._version, form, judged(to_grid(raw, form))
        return self._last[3]


def look(module: nn.Module, checked: Checked, batch: Tensor) -> Checked:
    """Check all layers in one pass."""
    handles = [
        part.register_forward_hook(lambda m, i, o, layer=name: checked.look(layer, o))
        for name, part in module.named_modules()
        if name in checked.found
    ]
    with torch.no_grad():
        module(batch)
    for handle in handles:
        handle.remove()
    return checked


def tried(family: str, spec: str, size: int) -> dict:
    """What became of all layers of a network."""
    module, start = build(spec, size), time.process_time()
    found = layouts(module, torch.empty(1, 3, size, size))
    seconds = time.process_time() - start
    made_legible(module)
    for noises in (NOISES, MORE_NOISES):
        checked = look(module, Checked(family, found), pictures(size, noises=noises))
        if not checked.unjudged:
            break
    own = {layer: layout for layer, layout in found.items() if not layer.endswith(CLASS)}
    refused = {k: v.reason for k, v in own.items() if v.form is None}
    return {
        "family": family,
        "network": spec,
        "size": size,
        "layers": len(own),
        "accepted": len(own) - len(refused),
        "vectors": checked.vectors,
        "right": len(checked.right),
        "least": min(checked.right, default=None),
        "wrong": checked.wrong,
        "unjudged": checked.unjudged,
        "refused": dict(Counter(refused.values())),
        "refused_layers": {k: type(module.get_submodule(k)).__name__ for k in refused},
        "seconds": round(seconds, 1),
    }


def jobs(only: list[str]) -> list[tuple[str, str, int]]:
    """Families, networks and sizes."""
    found = []
    for entry in FAMILIES.replace("\n", "|").split("|"):
        if entry.strip():
            family, spec, *sizes = entry.split()
            found += [(family, spec, int(size)) for size in sizes if not only or family in only]
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="families, separated by commas")
    parser.add_argument("--out", type=Path, default=Path("families.jsonl"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    done = [json.loads(line) for line in options.out.read_text().splitlines()] \
        if options.out.exists() else []  # fmt: skip
    known = {(row["network"], row["size"]) for row in done}
    only = [name for name in options.only.split(",") if name]
    for family, spec, size in jobs(only):
        if (spec, size) not in known:
            try:
                row = tried(family, spec, size)
            except Exception as error:
                print(f"{family} at {size} does not run: {error}", flush=True)
                continue
            done.append(row)
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            show(row)
    total(done)


def total(done: list[dict]) -> None:
    """The table, and the families by what became of them."""
    print("\nfamily            size layers accepted       vectors right wrong not judged  least")
    for row in done:
        show(row)
    every = {row["family"] for row in done}
    wrong = {row["family"] for row in done if row["wrong"]}
    unjudged = {row["family"] for row in done if row["unjudged"]} - wrong
    print(f"{len(every)} families: {len(every - wrong - unjudged)} right in every accepted layer, "
          f"{len(unjudged)} right in all that could be judged, {len(wrong)} wrong")  # fmt: skip


def show(row: dict) -> None:
    """One line."""
    share, least = row["accepted"] / row["layers"], row["least"]
    print(
        f"{row['family']:<16} {row['size']:>5} {row['layers']:>6} {row['accepted']:>8}"
        f" {share:>4.0%} {row['vectors']:>8} {row['right']:>5} {len(row['wrong']):>5}"
        f" {len(row['unjudged']):>10}  {'' if least is None else f'{least:.3f}':>5}"
        f"  {row['seconds']:>5} s",
        row["refused"],
        row["wrong"][:3],
        row["unjudged"][:3],
        flush=True,
    )


if __name__ == "__main__":
    main()
