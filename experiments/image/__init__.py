"""Builds and tries the image of the Dockerfile, with or without Docker."""
