"""Back-translation: through another language and back, by two sequence-to-sequence models of the user's own.

The models are read from this machine only, from safetensors only. They are asked greedily, so the same text gives the
same text. Models that need to be told the language by a token (M2M-100, NLLB) are refused: one that was told wrongly
translates into a language of its own choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bedside.core.errors import ModelError
from bedside.core.progress import SILENT, Progress

_AT_ONCE = 16
_ROOM = 1.5  # a translation may have this many times the tokens of its text, and a few more
_NEEDS_LANGUAGE = ("lang_code_to_id", "src_lang")


class Translator:
    """One direction.

    Args:
        name: a folder with safetensors, or a Hub id whose files are already on this machine.
        base: the folder that a relative path starts from.

    Raises:
        ModelError: it is not there, not a sequence-to-sequence model, without safetensors, or needs a language token.
    """

    def __init__(self, name: str, base: Path) -> None:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
        from transformers.utils import logging

        silence: Callable[[], None] = logging.disable_progress_bar
        silence()
        folder = base / Path(name).expanduser()
        self.name, place = name, str(folder) if folder.is_dir() else name
        if folder.is_dir() and not list(folder.glob("*.safetensors")):
            raise ModelError(f"augment.translate = '{name}' holds no .safetensors file; other weights are refused.")
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(place, local_files_only=True)
            model = AutoModelForSeq2SeqLM.from_pretrained(place, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError, ImportError, KeyError) as error:
            raise ModelError(
                f"augment.translate = '{name}' cannot be loaded as a sequence-to-sequence model on this machine "
                f"({type(error).__name__}); name a folder with its config, tokenizer and safetensors."
            ) from None
        if any(getattr(self._tokenizer, one, None) for one in _NEEDS_LANGUAGE):
            raise ModelError(
                f"augment.translate = '{name}' must be told its languages; name a model of one pair, a Marian one say."
            )
        self._model: Any = model.eval()

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """The translation of each text; one that the model cannot read whole comes back empty."""
        import torch

        limit = min(int(getattr(self._model.config, "max_position_embeddings", 512)), self._tokenizer.model_max_length)
        lengths = [len(self._tokenizer(text, verbose=False)["input_ids"]) for text in texts]
        found = [""] * len(texts)
        order = sorted((place for place, length in enumerate(lengths) if 0 < length <= limit), key=lengths.__getitem__)
        for batch in _blocks(order, _AT_ONCE):
            inputs = self._tokenizer([texts[place] for place in batch], return_tensors="pt", padding=True)
            inputs.pop("token_type_ids", None)
            longest = min(int(_ROOM * inputs["input_ids"].shape[1]) + 8, limit)
            with torch.inference_mode():
                output = self._model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=longest)
            said = self._tokenizer.batch_decode(output, skip_special_tokens=True)
            for place, text in zip(batch, said, strict=True):
                found[place] = text.strip()
        return found


def back_translate(texts: Sequence[str], names: Sequence[str], base: Path, progress: Progress = SILENT) -> list[str]:
    """Each text through the first model and back through the second; '' where one of them could not.

    Line breaks are kept: each line is translated on its own.
    """
    there, back = (Translator(name, base) for name in names)
    found = []
    with progress.task("Back-translating", total=len(texts), unit="notes") as task:
        for text in texts:
            lines = text.split("\n")
            full = [place for place, line in enumerate(lines) if line.strip()]
            said = back(there([lines[place] for place in full]))
            whole = dict(zip(full, said, strict=True))
            found.append("\n".join(whole.get(place, "") for place in range(len(lines))) if all(said) else "")
            task.advance()
    return found


def _blocks(order: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]
