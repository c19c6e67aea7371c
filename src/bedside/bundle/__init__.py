"""The deployable folder: written whole, verified before a byte of it is parsed, and asked for answers.

``predict`` and ``serve`` both go through ``Bundle.diagnose``, so what is served is what was measured.
"""

from __future__ import annotations

from bedside.bundle.answer import DISCLAIMER, Answer, Suggestion
from bedside.bundle.load import Bundle
from bedside.bundle.verify import verify_bundle
from bedside.bundle.write import write_bundle

__all__ = ["DISCLAIMER", "Answer", "Bundle", "Suggestion", "verify_bundle", "write_bundle"]
