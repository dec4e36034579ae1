"""``fused-clip-app RUN``: a local page to try a saved model."""
