"""Accuracy of every method against the number of labels."""
