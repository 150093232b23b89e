"""What the options of `conceptlab visualize` ask for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from conceptlab.activations.pictures import opened
from conceptlab.cli.options import options
from conceptlab.cli.selection import spread, vectors_of
from conceptlab.keys import digest_chunks
from conceptlab.study.images import make_images, objectives_key
from conceptlab.study.kinds import APART
from conceptlab.study.same import Holds, holds_model
from conceptlab.synthesis.objectives import Dream, Logit, Objective, Unit, directions
from conceptlab.synthesis.settings import Synthesis
from conceptlab.synthesis.visualize import CARICATURE, INVERSION, caricature, invert, visualize

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.models.probed import ProbedModel
    from conceptlab.study.folder import RunFolder
    from conceptlab.study.settings import Study

CLASSES = "classes"  # in the place of a layer


@dataclass(frozen=True)
class Images:
    """Images of one network.

    Args:
        model: the network.
        study: seed, and where the scores are.
        given: the arguments of the command.
    """

    model: "ProbedModel"
    study: "Study"
    given: dict[str, Any]

    @property
    def title(self) -> str:
        """What the run folder calls the network."""
        return self.study.models[0].name or self.model.name

    @property
    def holds(self) -> Holds:
        """What results are of, for the run folder."""
        return holds_model(self.model, self.study.models[0])

    def of_classes(self, run: "RunFolder") -> None:
        """Images of the classes that are named."""
        wanted: list[Objective] = [Logit(name) for name in self.given["classes"]]
        self._optimised(run, CLASSES, wanted, None)

    def of_layer(self, run: "RunFolder", layer: str, known: "Activations | None") -> None:
        """Everything else that is asked of a layer."""
        wanted = self._objectives(layer)
        others = self.given["classes"] or self.given["invert"] or self.given["caricature"]
        if not wanted and not others:
            count = self.model.shapes([layer])[layer][0]
            wanted = [Unit(layer, unit) for unit in spread(count)]
        if wanted:
            self._optimised(run, layer, wanted, known)
        for kind, make, default in (
            ("inverted", invert, INVERSION), ("caricatured", caricature, CARICATURE),
        ):  # fmt: skip
            paths = self.given["invert" if kind == "inverted" else "caricature"]
            if paths:
                self._changed(run, layer, kind, make, self._settings(default), paths)

    def _objectives(self, layer: str) -> list[Objective]:
        given = self.given
        found: list[Objective] = [Unit(layer, unit) for unit in given["unit"] or ()]
        vectors = vectors_of(given["vectors"], given["concept"], layer)
        if vectors is not None:
            found += directions(vectors)
        return found + [Dream(layer)] * given["dream"]

    def _optimised(
        self, run: "RunFolder", layer: str, wanted: Sequence[Objective],
        known: "Activations | None",
    ) -> None:  # fmt: skip
        count = self.given["diverse"]
        objectives = [one for one in wanted for _ in range(count)]
        settings = self._settings(Synthesis())
        if count > 1 and layer != CLASSES:
            settings = replace(settings, diversity=APART)
        values = {} if known is None else known.provenance
        more = {"activations": {k: v for k, v in values.items() if k != "recorded"}}
        key = self._key(layer) | objectives_key(objectives, settings, **more)
        make_images(
            run, (self.title, layer), "optimised", key,
            lambda: visualize(self.model, objectives, settings, **self._how()), known,
            holds=self.holds,
        )  # fmt: skip

    def _changed(
        self, run: "RunFolder", layer: str, kind: str, make: Any, settings: Synthesis,
        paths: Sequence[Path],
    ) -> None:  # fmt: skip
        """Images that stand for pictures: inversions and caricatures."""
        from conceptlab.models.picture import network_view

        pictures = [opened(path) for path in paths]
        own = self.model.preprocessing.geometry
        files = digest_chunks(path.read_bytes() for path in paths)
        key = self._key(layer) | objectives_key([], settings, files=files)
        make_images(
            run, (self.title, layer), kind, key,
            lambda: make(self.model, pictures, layer, settings, **self._how()),
            beside=[Image.fromarray(network_view(picture, own)) for picture in pictures],
            holds=self.holds,
        )  # fmt: skip

    def _settings(self, default: Synthesis) -> Synthesis:
        names = ("steps", "rate", "parameters", "octaves")
        chosen = {name: self.given[name] for name in names if self.given[name] is not None}
        return replace(default, **chosen)

    def _key(self, layer: str) -> dict[str, Any]:
        return {
            "model": self.model.fingerprint, "layer": layer, "seed": self.study.seed,
            "preprocessing": self.model.preprocessing.spec(),
            "output": str(self.study.models[0].scores),
        }  # fmt: skip

    def _how(self) -> dict[str, Any]:
        output = self.study.models[0].scores
        return {"output": output, "seed": self.study.seed, "progress": options.progress}
