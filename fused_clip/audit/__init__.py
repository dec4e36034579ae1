"""The method against its variants: what it owes to which part, and the choice among methods."""

from fused_clip.audit.evidence import Run
from fused_clip.audit.references import Audit, audit

__all__ = ["Audit", "Run", "audit"]
