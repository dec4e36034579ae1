"""Scores of clusterings and predictions."""
