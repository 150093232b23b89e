"""Probes: what single units and combinations of units encode; all give `ConceptVectors`."""
