"""A BERT-class encoder with a linear head. Long notes are read to their end in overlapping windows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import ModelError
from bedside.core.files import atomic_path
from bedside.models.diagnoser import describe

if TYPE_CHECKING:
    import torch

_INFERENCE_TOKENS = 2048  # larger batches leave the caches of a CPU and are slower
_STEP = 16  # lengths are padded up to a multiple of this, so that few kernels have to be made for few shapes
_WEIGHTS = "model.safetensors"
_CUT = "even windows"  # how long notes are cut; a model answers rightly only to notes cut as those it learned from
Windows = list[list[int]]


def quiet_libraries() -> None:
    """No bars and no advice from the libraries below: they could not know what matters here."""
    import os
    from collections.abc import Callable
    from typing import cast

    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    for silence in (logging.set_verbosity_error, logging.disable_progress_bar):
        cast("Callable[[], None]", silence)()


class Windowing:
    """A tokenizer, and how a note is cut into windows that overlap.

    Args:
        tokenizer: of the base model.
        window: tokens in a window, special ones included.
        overlap: tokens that neighbouring windows share.
    """

    def __init__(self, tokenizer: Any, window: int, overlap: int) -> None:
        self.tokenizer, self.window, self.overlap = tokenizer, window, overlap
        ends = tokenizer("")["input_ids"]
        self._before, self._after = ends[:1], ends[1:]

    def cut(self, texts: Sequence[str]) -> list[Windows]:
        """The windows of each text; an empty text has one that holds the special tokens alone."""
        if not texts:
            return []
        found = self.tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        return [self._windows(ids) for ids in found]

    def _windows(self, ids: list[int]) -> Windows:
        """As few windows as hold all tokens, of even length: a short last one would be padded up to the first."""
        room = self.window - len(self._before) - len(self._after)
        count = max(-(-(len(ids) - self.overlap) // (room - self.overlap)), 1)
        size = -(-(len(ids) + (count - 1) * self.overlap) // count)
        starts = range(0, count * (size - self.overlap), size - self.overlap) if count > 1 else (0,)
        return [[*self._before, *ids[start : start + size], *self._after] for start in starts]


def batches(notes: Sequence[Windows], order: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Cut an order of notes into batches whose padded windows hold at most ``tokens`` (a longer note goes alone)."""
    batch: list[int] = []
    windows = longest = 0
    for number in order:
        more, length = len(notes[number]), max(map(len, notes[number]))
        if batch and (windows + more) * max(longest, length) > tokens:
            yield batch
            batch, windows, longest = [], 0, 0
        batch.append(number)
        windows, longest = windows + more, max(longest, length)
    if batch:
        yield batch


def build_network(encoder: Any, labels: int, pooling: str) -> Any:
    """The network: encoder, pooling over all windows of a note, dropout, linear head."""
    import torch
    from torch import nn

    class Network(nn.Module):
        """Maps windows to logits [notes, labels]."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder
            self.dropout = nn.Dropout(0.1)
            self.head = nn.Linear(encoder.config.hidden_size, labels)

        def vectors(self, ids: torch.Tensor, mask: torch.Tensor, owner: torch.Tensor, notes: int) -> torch.Tensor:
            """[notes, hidden] the mean over the tokens (or first tokens) of all windows of a note."""
            hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            weight = mask.unsqueeze(-1).float()
            if pooling == "cls":
                total, count = hidden[:, 0], torch.ones_like(weight[:, 0])
            else:
                total, count = (hidden * weight).sum(dim=1), weight.sum(dim=1)
            sums = total.new_zeros(notes, total.shape[1]).index_add(0, owner, total)
            counts = count.new_zeros(notes, 1).index_add(0, owner, count)
            pooled: torch.Tensor = sums / counts
            return pooled

        def forward(self, ids: torch.Tensor, mask: torch.Tensor, owner: torch.Tensor, notes: int) -> torch.Tensor:
            logits: torch.Tensor = self.head(self.dropout(self.vectors(ids, mask, owner, notes)))
            return logits

    return Network()


def collate(
    notes: Sequence[Windows], batch: Sequence[int], padding: int, device: Any, most: int = 0
) -> tuple[Any, Any, Any, int]:
    """The tensors of a batch: ids and mask [windows, tokens], the note that owns each window, and how many notes.

    ``most`` is the longest window that the encoder takes; up to it, lengths are rounded up to a multiple of 16.
    """
    import torch

    rows = [window for number in batch for window in notes[number]]
    owner = [place for place, number in enumerate(batch) for _ in notes[number]]
    longest = max(map(len, rows))
    longest = max(longest, min(-(-longest // _STEP) * _STEP, most))
    ids = torch.tensor([row + [padding] * (longest - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
    return ids, mask, torch.tensor(owner, device=device), len(batch)


def probabilities(network: Any, notes: Sequence[Windows], padding: int, most: int) -> NDArray[np.float64]:
    """[notes, labels] what a network answers to tokenised notes, short ones first, in batches of like lengths."""
    import torch

    found = np.empty((len(notes), network.head.out_features))
    order = sorted(range(len(notes)), key=lambda number: sum(map(len, notes[number])))
    device = next(network.parameters()).device
    network.eval()
    with torch.inference_mode():
        for batch in batches(notes, order, _INFERENCE_TOKENS):
            logits = network(*collate(notes, batch, padding, device, most))
            found[batch] = torch.softmax(logits.double(), dim=1).cpu().numpy()
    return found


class EncoderDiagnoser:
    """A fine-tuned encoder."""

    kind = "encoder"

    def __init__(self, network: Any, windowing: Windowing, labels: Sequence[str], pooling: str, base: str) -> None:
        self.labels = tuple(labels)
        self.network, self.windowing, self.pooling, self.base = network, windowing, pooling, base

    @classmethod
    def load(cls, folder: Path, about: dict[str, Any]) -> EncoderDiagnoser:
        """Load a saved one; no code of the model's author is run.

        Raises:
            ModelError: its files are missing or damaged.
        """
        quiet_libraries()
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        if about.get("cut") != _CUT:
            raise ModelError(f"The model in {folder} cuts long notes otherwise than this version; train it again.")
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            network = build_network(_empty(AutoModel, config), len(about["labels"]), about["pooling"])
            network.load_state_dict(load_file(str(folder / _WEIGHTS)))
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            windowing = Windowing(tokenizer, about["window"], about["overlap"])
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"The model in {folder} is damaged ({type(error).__name__}); train it again.") from error
        network.eval()
        return cls(network, windowing, about["labels"], about["pooling"], about["base"])

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """[texts, labels] probabilities, in fp32 whatever the training was in."""
        padding = self.windowing.tokenizer.pad_token_id or 0
        return probabilities(self.network, self.windowing.cut(texts), padding, self.windowing.window)

    def save(self, folder: Path) -> None:
        """Write weights, config and tokenizer to a folder."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.detach().float().cpu().contiguous() for name, value in self.network.state_dict().items()}
        with atomic_path(folder / _WEIGHTS) as temporary:
            save_file(state, str(temporary), metadata={"format": "pt"})
        self.network.encoder.config.save_pretrained(folder)
        self.windowing.tokenizer.save_pretrained(folder)
        _forget_origin(folder / "config.json")
        _forget_origin(folder / "tokenizer_config.json")
        describe(
            folder,
            self.kind,
            self.labels,
            window=self.windowing.window,
            overlap=self.windowing.overlap,
            cut=_CUT,
            pooling=self.pooling,
            base=self.base,
        )


def _empty(auto: Any, config: Any) -> Any:
    """An encoder of this configuration, before its weights are read."""
    return auto.from_config(config)


def _forget_origin(path: Path) -> None:
    """Take the path of the folder that a model came from out of its configuration: it is this machine's affair."""
    if path.is_file():
        values = json.loads(path.read_text(encoding="utf-8"))
        for key in ("_name_or_path", "name_or_path"):
            values.pop(key, None)
        path.write_text(json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
