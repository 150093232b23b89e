"""Probes: what single units and combinations of units encode; all give `ConceptVectors`."""

from conceptlab.probes.cav.probe import CavProbe as CavProbe
from conceptlab.probes.classification import ClassificationProbe as ClassificationProbe
from conceptlab.probes.segmentation.probe import SegmentationProbe as SegmentationProbe
