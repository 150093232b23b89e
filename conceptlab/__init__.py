"""How concepts are encoded inside vision networks: extract, dissect, probe, compare.

Names are imported when they are first used, so that `import conceptlab` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conceptlab.activations.allocator import keep_freed_memory as keep_freed_memory
    from conceptlab.activations.extract import extract as extract
    from conceptlab.activations.pictures import Rows as Rows
    from conceptlab.activations.pictures import folder_pictures as folder_pictures
    from conceptlab.activations.sample import Sample as Sample
    from conceptlab.activations.sample import sample as sample
    from conceptlab.activations.store import Activations as Activations
    from conceptlab.analysis.atlas.comparison import AtlasComparison as AtlasComparison
    from conceptlab.analysis.atlas.comparison import compare_atlases as compare_atlases
    from conceptlab.analysis.atlas.comparison import compare_classes as compare_classes
    from conceptlab.analysis.atlas.icons import Icons as Icons
    from conceptlab.analysis.atlas.icons import patch_icons as patch_icons
    from conceptlab.analysis.atlas.layout import Atlas as Atlas
    from conceptlab.analysis.atlas.layout import Layout as Layout
    from conceptlab.analysis.atlas.layout import atlas as atlas
    from conceptlab.analysis.atlas.optimised_icons import optimised_icons as optimised_icons
    from conceptlab.analysis.comparison.cka import linear_cka as linear_cka
    from conceptlab.analysis.comparison.compare import adequacy as adequacy
    from conceptlab.analysis.comparison.compare import compare as compare
    from conceptlab.analysis.comparison.distances import EmbeddingDistances as EmbeddingDistances
    from conceptlab.analysis.comparison.distances import embedding_distance as embedding_distance
    from conceptlab.analysis.comparison.items import ConceptSimilarities as ConceptSimilarities
    from conceptlab.analysis.comparison.predictivity import predictivity as predictivity
    from conceptlab.analysis.comparison.procrustes import procrustes as procrustes
    from conceptlab.analysis.comparison.result import Measured as Measured
    from conceptlab.analysis.comparison.rsa import rsa as rsa
    from conceptlab.analysis.comparison.runs import Zoom as Zoom
    from conceptlab.analysis.comparison.runs import zoom as zoom
    from conceptlab.analysis.effects.decomposition import Decomposition as Decomposition
    from conceptlab.analysis.effects.decomposition import ImageDecomposition as ImageDecomposition
    from conceptlab.analysis.effects.decomposition import decompose as decompose
    from conceptlab.analysis.effects.decomposition import decompose_image as decompose_image
    from conceptlab.analysis.effects.erased_probe import erased_probe as erased_probe
    from conceptlab.analysis.effects.erasure import Erasure as Erasure
    from conceptlab.analysis.effects.erasure import erase as erase
    from conceptlab.analysis.effects.tcav import tcav as tcav
    from conceptlab.analysis.references.synsets import synset_table as synset_table
    from conceptlab.analysis.references.word_vectors import sentence_vectors as sentence_vectors
    from conceptlab.analysis.references.word_vectors import word_vectors as word_vectors
    from conceptlab.analysis.references.wordnet import wordnet as wordnet
    from conceptlab.analysis.units.exemplars import Exemplars as Exemplars
    from conceptlab.analysis.units.exemplars import exemplars as exemplars
    from conceptlab.analysis.units.optimised import against_probe as against_probe
    from conceptlab.analysis.units.overlap import agreement_by_layer as agreement_by_layer
    from conceptlab.analysis.units.overlap import concepts_per_unit as concepts_per_unit
    from conceptlab.analysis.units.overlap import iou_distribution as iou_distribution
    from conceptlab.analysis.units.overlap import unit_agreement as unit_agreement
    from conceptlab.analysis.units.overlap import unit_shares as unit_shares
    from conceptlab.analysis.units.polysemanticity import Polysemanticity as Polysemanticity
    from conceptlab.analysis.units.polysemanticity import polysemanticity as polysemanticity
    from conceptlab.analysis.units.receptive_field import Fields as Fields
    from conceptlab.analysis.units.receptive_field import empirical_field as empirical_field
    from conceptlab.analysis.units.saturation import concept_saturation as concept_saturation
    from conceptlab.analysis.units.saturation import saturation as saturation
    from conceptlab.analysis.vectors.analogies import Analogies as Analogies
    from conceptlab.analysis.vectors.analogies import analogies as analogies
    from conceptlab.analysis.vectors.clusters import Clusters as Clusters
    from conceptlab.analysis.vectors.clusters import Hierarchy as Hierarchy
    from conceptlab.analysis.vectors.clusters import clusters as clusters
    from conceptlab.analysis.vectors.clusters import hierarchy as hierarchy
    from conceptlab.analysis.vectors.intervals import pinned_down as pinned_down
    from conceptlab.analysis.vectors.intervals import similarity_intervals as similarity_intervals
    from conceptlab.analysis.vectors.intervals import weight_intervals as weight_intervals
    from conceptlab.analysis.vectors.neighbours import arithmetic_table as arithmetic_table
    from conceptlab.analysis.vectors.neighbours import nearest_table as nearest_table
    from conceptlab.analysis.vectors.neighbours import neighbours as neighbours
    from conceptlab.analysis.vectors.projection import Projection as Projection
    from conceptlab.analysis.vectors.projection import project as project
    from conceptlab.data import ProbeDataset as ProbeDataset
    from conceptlab.data import load_data as load_data
    from conceptlab.errors import ConceptlabError as ConceptlabError
    from conceptlab.models import ProbedModel as ProbedModel
    from conceptlab.models import load_model as load_model
    from conceptlab.models.filters import filters as filters
    from conceptlab.probes.cav.probe import CavProbe as CavProbe
    from conceptlab.probes.cav.probe import picture_cavs as picture_cavs
    from conceptlab.probes.cav.result import Cavs as Cavs
    from conceptlab.probes.classification import ClassificationProbe as ClassificationProbe
    from conceptlab.probes.resampled import ResampledProbe as ResampledProbe
    from conceptlab.probes.resampled import VectorDistribution as VectorDistribution
    from conceptlab.probes.segmentation.probe import SegmentationProbe as SegmentationProbe
    from conceptlab.probes.subsets import subset_scores as subset_scores
    from conceptlab.probes.units.dissection import Dissection as Dissection
    from conceptlab.probes.units.dissection import chance_of_best as chance_of_best
    from conceptlab.probes.units.dissection import dissect as dissect
    from conceptlab.probes.units.netdissect_csv import summarize_units as summarize_units
    from conceptlab.probes.units.packing import Packing as Packing
    from conceptlab.probes.units.packing import pack_units as pack_units
    from conceptlab.space import Space as Space
    from conceptlab.study.run import run_study as run_study
    from conceptlab.study.studyfile import read_study as read_study
    from conceptlab.synthesis.objectives import Caricature as Caricature
    from conceptlab.synthesis.objectives import Direction as Direction
    from conceptlab.synthesis.objectives import Dream as Dream
    from conceptlab.synthesis.objectives import Inversion as Inversion
    from conceptlab.synthesis.objectives import Logit as Logit
    from conceptlab.synthesis.objectives import Neuron as Neuron
    from conceptlab.synthesis.objectives import Unit as Unit
    from conceptlab.synthesis.objectives import directions as directions
    from conceptlab.synthesis.settings import Synthesis as Synthesis
    from conceptlab.synthesis.visualize import Visualizations as Visualizations
    from conceptlab.synthesis.visualize import caricature as caricature
    from conceptlab.synthesis.visualize import invert as invert
    from conceptlab.synthesis.visualize import visualize as visualize
    from conceptlab.vectors import Concept as Concept
    from conceptlab.vectors import ConceptVectors as ConceptVectors
    from conceptlab.views.atlas.page import view_of as view_of
    from conceptlab.views.atlas.page import write_atlas as write_atlas


__version__ = "0.1.0"

_HOMES = {
    "activations.allocator": ["keep_freed_memory"],
    "activations.extract": ["extract"],
    "activations.pictures": ["Rows", "folder_pictures"],
    "activations.sample": ["Sample", "sample"],
    "activations.store": ["Activations"],
    "analysis.vectors.analogies": ["Analogies", "analogies"],
    "analysis.atlas.layout": ["Atlas", "Layout", "atlas"],
    "analysis.atlas.comparison": ["AtlasComparison", "compare_atlases", "compare_classes"],
    "analysis.atlas.optimised_icons": ["optimised_icons"],
    "analysis.comparison.cka": ["linear_cka"],
    "analysis.vectors.clusters": ["Clusters", "Hierarchy", "clusters", "hierarchy"],
    "analysis.comparison.compare": ["adequacy", "compare"],
    "analysis.effects.decomposition": [
        "Decomposition",
        "ImageDecomposition",
        "decompose",
        "decompose_image",
    ],
    "analysis.comparison.distances": ["EmbeddingDistances", "embedding_distance"],
    "analysis.comparison.items": ["ConceptSimilarities"],
    "analysis.effects.erased_probe": ["erased_probe"],
    "analysis.effects.erasure": ["Erasure", "erase"],
    "analysis.units.exemplars": ["Exemplars", "exemplars"],
    "analysis.units.receptive_field": ["Fields", "empirical_field"],
    "analysis.atlas.icons": ["Icons", "patch_icons"],
    "analysis.comparison.result": ["Measured"],
    "analysis.vectors.neighbours": ["arithmetic_table", "nearest_table", "neighbours"],
    "analysis.units.optimised": ["against_probe"],
    "analysis.units.overlap": [
        "agreement_by_layer",
        "concepts_per_unit",
        "iou_distribution",
        "unit_agreement",
        "unit_shares",
    ],
    "analysis.units.polysemanticity": ["Polysemanticity", "polysemanticity"],
    "analysis.comparison.predictivity": ["predictivity"],
    "analysis.comparison.procrustes": ["procrustes"],
    "analysis.vectors.projection": ["Projection", "project"],
    "analysis.comparison.rsa": ["rsa"],
    "analysis.units.saturation": ["concept_saturation", "saturation"],
    "analysis.references.synsets": ["synset_table"],
    "analysis.effects.tcav": ["tcav"],
    "analysis.vectors.intervals": ["pinned_down", "similarity_intervals", "weight_intervals"],
    "analysis.references.wordnet": ["wordnet"],
    "analysis.references.word_vectors": ["sentence_vectors", "word_vectors"],
    "analysis.comparison.runs": ["Zoom", "zoom"],
    "data": ["ProbeDataset", "load_data"],
    "errors": ["ConceptlabError"],
    "models": ["ProbedModel", "load_model"],
    "models.filters": ["filters"],
    "probes.cav.probe": ["CavProbe", "picture_cavs"],
    "probes.cav.result": ["Cavs"],
    "probes.classification": ["ClassificationProbe"],
    "probes.units.dissection": ["Dissection", "chance_of_best", "dissect"],
    "probes.units.packing": ["Packing", "pack_units"],
    "probes.resampled": ["ResampledProbe", "VectorDistribution"],
    "probes.segmentation.probe": ["SegmentationProbe"],
    "probes.subsets": ["subset_scores"],
    "probes.units.netdissect_csv": ["summarize_units"],
    "study.run": ["run_study"],
    "study.studyfile": ["read_study"],
    "synthesis.objectives": [
        "Caricature",
        "Direction",
        "Dream",
        "Inversion",
        "Logit",
        "Neuron",
        "Unit",
        "directions",
    ],
    "synthesis.settings": ["Synthesis"],
    "synthesis.visualize": ["Visualizations", "caricature", "invert", "visualize"],
    "space": ["Space"],
    "vectors": ["Concept", "ConceptVectors"],
    "views.atlas.page": ["view_of", "write_atlas"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'conceptlab' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"conceptlab.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
