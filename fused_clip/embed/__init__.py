"""Embed large sets of images in shards, on one machine or many, and merge them into the store."""
