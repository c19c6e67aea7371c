"""The base model's tokenizer for the data room, which knows no models: lengths are counted, no weight is loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bedside.data.lengths import TokenCounter


def counter_of(base: str) -> TokenCounter | None:
    """Counts tokens as a base model would, where its tokenizer is at hand; else None, and the report estimates."""
    from bedside.data.lengths import TokenCounter
    from bedside.models import catalogue, weights

    folder = weights.locate(base) if weights.installed(base) else None
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model = catalogue.find(base)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    limit = model.limit or config.get("max_position_embeddings") or 0

    def count(texts: Sequence[str]) -> list[int]:
        return [len(one.ids) for one in tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    return TokenCounter(model.title, int(limit), count)
