"""Scores of novelty: which says best that an image is none of a model's targets."""
