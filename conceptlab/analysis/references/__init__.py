"""Concepts outside the network: WordNet, word vectors, sentence encoders."""
