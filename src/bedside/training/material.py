"""What a run is made of: the base model's network, the tokenised notes, and the choices that depend on the machine."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside.core.progress import Progress
from bedside.core.seeds import derive
from bedside.models import catalogue
from bedside.models.network import build_network, is_decoder, load_body, quiet_libraries, set_dropout
from bedside.models.notes import Notes, Windowing, padding_of
from bedside.protocol import ModelSection, TrainSection
from bedside.training.device import choose_device, choose_precision
from bedside.training.optimiser import freeze
from bedside.training.vocabulary import Vocabulary

if TYPE_CHECKING:
    from bedside.data import Cohort
    from bedside.models import EncoderDiagnoser

_LARGE = 1_000_000_000  # parameters from which a base model that adapters are put on is kept in bf16


@dataclass
class Material:
    """What a run is made of.

    Attributes:
        base: the base model's id.
        network: to be trained.
        windowing: how notes are cut.
        notes, held_out: the training and the validation notes, with the numbers that tokens have while training.
        vocabulary: those numbers.
        padding: the token that fills rows up, by those numbers.
        device, precision: where and how to compute.
        pooling, windows: as the network was built.
        window: tokens in a window, at most.
        scratch: the folder that the tokens are mapped from; goes with this object.
    """

    base: str
    network: Any
    windowing: Windowing
    notes: Notes
    held_out: Notes
    vocabulary: Vocabulary
    padding: int
    device: str
    precision: str
    pooling: str
    windows: str
    window: int
    scratch: tempfile.TemporaryDirectory[str]

    @classmethod
    def of(
        cls,
        cohort: Cohort,
        model: ModelSection,
        section: TrainSection,
        place: Path,
        *,
        folder: Path,
        seed: int,
        progress: Progress,
    ) -> Material:
        """Load the base model and tokenise the notes, once.

        Args:
            cohort: its training and validation splits are tokenised.
            model, section: the protocol's.
            place: the base model's folder.
            folder: of the run; the tokens lie in a folder below it that goes away with this object.
            seed: of what is random in a fresh head or model.
            progress: told of the work.

        Raises:
            ModelError: the base model does not suit the protocol.
        """
        quiet_libraries()
        import torch
        from transformers import AutoTokenizer

        if section.threads:
            torch.set_num_threads(section.threads)
        device = choose_device(section.device)
        tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True)
        pooling = pooling_of(model, place)
        torch.manual_seed(derive(seed, "train", "torch"))
        body = _body(model, section, place, pooling, len(cohort.labels), device, tokenizer)
        set_dropout(body, section.dropout)
        limit = int(getattr(body.config.get_text_config(), "max_position_embeddings", None) or model.window)
        window = min(model.window, _read_at_once(limit, body.config), tokenizer.model_max_length)
        windowing = Windowing(tokenizer, window, min(model.overlap, window // 2))
        folder.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".tokens.", suffix=".part", dir=folder)
        notes, held_out = (
            Notes.of(windowing, cohort.texts(split), Path(scratch.name) / split, progress)
            for split in ("train", "validation")
        )
        padding = padding_of(tokenizer)
        vocabulary = Vocabulary(
            (notes, held_out),
            padding,
            body.get_input_embeddings().num_embeddings,
            keep_padding=not is_decoder(body.config),
            whole=section.method != "full" or section.freeze > 0,
        )
        vocabulary.shrink(body)
        if section.gradient_checkpointing:
            body.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        if section.method in {"lora", "qlora"}:
            from bedside.models import adapters

            body = adapters.attach(body, section)
        if not section.compile:  # a compiler is to see the layers as transformers has them
            _quicken(body, device)
        network = build_network(body, len(cohort.labels), pooling, model.windows)
        if section.method == "full":
            freeze(network, section.freeze)
        return cls(
            base=model.base,
            network=network,
            windowing=windowing,
            notes=vocabulary.numbered(notes),
            held_out=vocabulary.numbered(held_out),
            vocabulary=vocabulary,
            padding=vocabulary.padding,
            device=device,
            precision=choose_precision(section.precision, device),
            pooling=pooling,
            windows=model.windows,
            window=window,
            scratch=scratch,
        )

    def settings(self) -> dict[str, Any]:
        """What was chosen, for the record."""
        values = list(self.network.parameters())
        return {
            "device": self.device,
            "precision": self.precision,
            "window": self.window,
            "pooling": self.pooling,
            "parameters": sum(value.numel() for value in values),
            "trained_parameters": sum(value.numel() for value in values if value.requires_grad),
        }

    def diagnoser(self, labels: tuple[str, ...], *, several: bool) -> EncoderDiagnoser:
        """What was trained, with its whole vocabulary and adapters merged; the last act of a run."""
        from bedside.models import EncoderDiagnoser
        from bedside.models.packed import unpack

        network = self.network
        unpack(network)
        if hasattr(network.body, "peft_config"):
            from bedside.models import adapters

            network.body = adapters.merged(network.body)
        self.vocabulary.restore(network.body)
        return EncoderDiagnoser(
            network,
            self.windowing,
            labels,
            pooling=self.pooling,
            base=self.base,
            windows=self.windows,
            several=several,
        )


def pooling_of(model: ModelSection, place: Path) -> str:
    """How token vectors become one: as the protocol says, or as suits the base model."""
    from transformers import AutoConfig

    if model.pooling != "auto":
        return model.pooling
    known = catalogue.find(model.base)
    if known.pooling:
        return known.pooling
    return "own" if is_decoder(AutoConfig.from_pretrained(place, local_files_only=True)) else "mean"


def _read_at_once(limit: int, config: Any) -> int:
    """Tokens that a model takes at once; RoBERTa's kin count positions from behind the padding token."""
    shifted = getattr(config, "model_type", "") in {"roberta", "longformer", "xlm-roberta", "camembert", "mpnet"}
    return limit - 2 if shifted else limit


def _quicken(body: Any, device: str) -> None:
    """Let an encoder that can do so leave padding out of its layers; any other stays as it is."""
    from bedside.models.packed import pack
    from bedside.models.unpadded import leave_padding_out

    if device == "cpu":
        pack(body)
    elif device == "cuda":
        leave_padding_out(body)


def _body(
    model: ModelSection,
    section: TrainSection,
    place: Path,
    pooling: str,
    labels: int,
    device: str,
    tokenizer: Any,
) -> Any:
    """The body that the protocol names, in the form in which it is trained."""
    import torch

    more: dict[str, Any] = {}
    if section.method == "qlora":
        from bedside.models import adapters

        more["quantization_config"] = adapters.quantised_config()
    size = sum(file.stat().st_size for file in place.glob("*.safetensors")) // 2
    if section.method == "lora" and size > _LARGE:
        more["dtype"] = torch.bfloat16
    return load_body(
        place,
        pooling=pooling,
        labels=labels,
        device=device,
        pretrained=model.pretrained,
        padding=padding_of(tokenizer),
        **more,
    )
