"""Masks and marks over pictures."""
