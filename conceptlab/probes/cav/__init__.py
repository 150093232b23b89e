"""Concept activation vectors."""
