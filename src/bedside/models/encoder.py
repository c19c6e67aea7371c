"""A fine-tuned language model with a classification head. Long notes are read to their end in overlapping windows.

What is saved is transformers' own: with pooling ``own``, ``AutoModelForSequenceClassification.from_pretrained`` loads
the folder as it is; with ``mean`` or ``cls``, ``AutoModel`` loads the encoder, and ``head.safetensors`` holds
``weight`` [labels, hidden] and ``bias`` [labels] of the layer that follows the pooled vector.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import ModelError
from bedside.core.files import atomic_path
from bedside.models.diagnoser import describe
from bedside.models.network import build_network, is_decoder, load_body, quiet_libraries
from bedside.models.notes import Notes, Windowing, batches, collate, padding_of, short_first

_INFERENCE_TOKENS = 2048  # larger batches leave the caches of a CPU and are slower
_HEAD = "head.safetensors"
_CUT = "even windows"  # how long notes are cut; a model answers rightly only to notes cut as those it learned from


def probabilities(
    network: Any, notes: Notes, padding: int, most: int, *, several: bool = False, chosen: Sequence[int] | None = None
) -> NDArray[np.float64]:
    """[notes, labels] what a network answers to tokenised notes, short ones first, in batches of like lengths.

    With ``several`` labels a case each probability stands alone; else those of a note sum to 1. ``chosen`` asks of some
    notes only; the rows of the others hold NaN.
    """
    import torch

    found = np.full((len(notes), network.last.out_features), np.nan)
    wanted = None if chosen is None else frozenset(chosen)
    order = [number for number in short_first(notes) if wanted is None or number in wanted]
    device = next(network.parameters()).device
    network.eval()
    with torch.inference_mode():
        for batch in batches(notes, order, _INFERENCE_TOKENS):
            logits = network(*collate(notes, batch, padding, device, most)).double()
            found[batch] = (torch.sigmoid(logits) if several else torch.softmax(logits, dim=1)).cpu().numpy()
    return found


class EncoderDiagnoser:
    """A fine-tuned encoder, or a decoder with a classification head.

    Args:
        network: from :func:`bedside.models.network.build_network`.
        windowing: how notes are cut.
        labels: in the order of every probability matrix.
        pooling, windows: as the network was built.
        base: the base model's id.
        several: whether a case may have several labels.
    """

    def __init__(
        self,
        network: Any,
        windowing: Windowing,
        labels: Sequence[str],
        *,
        pooling: str,
        base: str,
        windows: str = "mean",
        several: bool = False,
    ) -> None:
        self.labels = tuple(labels)
        self.network, self.windowing, self.pooling, self.base = network, windowing, pooling, base
        self.windows, self.several = windows, several

    @property
    def kind(self) -> str:
        """``encoder`` or ``decoder``."""
        return "decoder" if is_decoder(self.network.body.config) else "encoder"

    @classmethod
    def load(cls, folder: Path, about: dict[str, Any]) -> EncoderDiagnoser:
        """Load a saved one; no code of the model's author is run.

        Raises:
            ModelError: its files are missing or damaged.
        """
        quiet_libraries()
        from safetensors import SafetensorError
        from transformers import AutoTokenizer

        if about.get("cut") != _CUT:
            raise ModelError(f"The model in {folder} cuts long notes otherwise than this version; train it again.")
        try:
            labels, pooling, windows = about["labels"], about["pooling"], about["windows"]
            body, told = load_body(folder, pooling=pooling, labels=len(labels), output_loading_info=True)
            if any(told.get(fault) for fault in ("missing_keys", "unexpected_keys", "mismatched_keys")):
                raise ValueError("the weights are not those of the configuration")
            network = build_network(body, len(labels), pooling, windows)
            _read_head(network, folder, pooling, windows)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            windowing = Windowing(tokenizer, about["window"], about["overlap"])
            base, several = about["base"], about["several"]
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"The model in {folder} is damaged ({type(error).__name__}); train it again.") from error
        network.eval()
        return cls(network, windowing, labels, pooling=pooling, base=base, windows=windows, several=several)

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """[texts, labels] probabilities, in fp32 whatever the training was in."""
        notes = Notes.of(self.windowing, texts)
        padding = padding_of(self.windowing.tokenizer)
        return probabilities(self.network, notes, padding, self.windowing.window, several=self.several)

    def save(self, folder: Path) -> None:
        """Write weights, config and tokenizer to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._name_labels()
        self.network.body.save_pretrained(folder)
        _write_head(self.network, folder, self.pooling)
        self.windowing.tokenizer.save_pretrained(folder)
        _forget_origin(folder / "config.json")
        _forget_origin(folder / "tokenizer_config.json")
        describe(
            folder,
            self.kind,
            self.labels,
            several=self.several,
            window=self.windowing.window,
            overlap=self.windowing.overlap,
            cut=_CUT,
            pooling=self.pooling,
            windows=self.windows,
            base=self.base,
        )

    def _name_labels(self) -> None:
        """Tell the configuration what each output means, as transformers' own pipelines read it."""
        if self.pooling != "own":
            return
        config = self.network.body.config
        config.id2label = dict(enumerate(self.labels))
        config.label2id = {label: number for number, label in enumerate(self.labels)}
        config.problem_type = f"{'multi' if self.several else 'single'}_label_classification"


def _head_parts(network: Any, pooling: str) -> dict[str, Any]:
    """What of a network stands beside the body, by name."""
    parts = {} if pooling == "own" else {"weight": network.head.weight, "bias": network.head.bias}
    return parts if network.query is None else {**parts, "query": network.query}


def _write_head(network: Any, folder: Path, pooling: str) -> None:
    from safetensors.torch import save_file

    state = {name: value.detach().float().cpu().contiguous() for name, value in _head_parts(network, pooling).items()}
    if state:
        with atomic_path(folder / _HEAD) as temporary:
            save_file(state, str(temporary), metadata={"format": "pt"})


def _read_head(network: Any, folder: Path, pooling: str, windows: str) -> None:
    import torch
    from safetensors.torch import load_file

    wanted = _head_parts(network, pooling)
    if not wanted:
        return
    found = load_file(str(folder / _HEAD))
    if found.keys() != wanted.keys() or any(found[name].shape != value.shape for name, value in wanted.items()):
        raise ValueError(f"{_HEAD} is not of this model ({windows} windows)")
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(found[name])


def _forget_origin(path: Path) -> None:
    """Take the path of the folder that a model came from out of its configuration: it is this machine's affair."""
    if path.is_file():
        values = json.loads(path.read_text(encoding="utf-8"))
        for key in ("_name_or_path", "name_or_path"):
            values.pop(key, None)
        path.write_text(json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
