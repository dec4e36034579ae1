"""``fused-clip-predict MODEL IMAGES... --out FILE``: a saved model applied to any number of images."""
