"""Questions asked of vectors and tables: similarity and distances of embeddings; no torch."""
