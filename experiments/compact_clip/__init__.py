"""Training of the compact CLIP that ships with fused_clip."""
