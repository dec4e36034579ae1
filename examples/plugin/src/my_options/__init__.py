"""Options for fused_clip; their YAMLs are in ``conf``."""
