"""Probes: what single units and combinations of units encode; all give `ConceptVectors`."""

from conceptlab.probes import cav as cav
from conceptlab.probes import classification as classification
from conceptlab.probes import segmentation as segmentation
