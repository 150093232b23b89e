"""Concept vectors in their space: neighbours, analogies, clusters, planes, intervals."""
