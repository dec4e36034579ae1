"""Find training images whose label is probably wrong, by evidence that leaves each image's own label out."""
