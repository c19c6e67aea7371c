"""Low-rank adapters (LoRA, Hu et al. 2021) and those over a base in 4 bits (QLoRA, Dettmers et al. 2023), by PEFT.

The base stays as it is; what is trained are two thin matrices beside each chosen layer, and the classification head.
What is saved is PEFT's own form, so that PEFT loads it without this package. Layers that PEFT would leave at random, as
the pooler of a BERT that was pre-trained without one, are trained whole and saved with the adapters: else they would be
other ones in the next process. Weights are read from safetensors alone.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bedside.core.errors import MachineError, MissingExtra, ModelError
from bedside.core.files import atomic_path, write_json
from bedside.models import catalogue
from bedside.protocol import TrainSection

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

_ALL = "all-linear"
_NAME = "default"  # PEFT's name for the only adapter
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_POOLER = "pooler"
_PEFTS_HEADS = ("classifier", "score")  # PEFT adds these itself to what it trains whole
# Layers of heads, which stay in full precision where the rest is in 4 bits: they are trained whole.
_HEADS = ("classifier", "score", "pre_classifier", "head", _POOLER, "lm_head")


def attach(body: Any, section: TrainSection) -> PeftModel:
    """Put adapters on a body; whatever else was trainable in it no longer is, but its classification head.

    Args:
        body: a bare model, or a classifier with its own head; changed in place. Gradient checkpointing may be on.
        section: rank, alpha, dropout and names of layers.

    Returns:
        The same body within PEFT's wrapper. What is random is drawn from torch's generator.

    Raises:
        ModelError: a name in ``lora_targets`` is that of no layer.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    heads = _heads(body)
    unused = [name for name, _ in _linear(body) if not heads and _within(name, (_POOLER,))]
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS if heads else TaskType.FEATURE_EXTRACTION,
        r=section.lora_rank,
        lora_alpha=section.lora_alpha,  # type: ignore[arg-type]  # PEFT says int and divides
        lora_dropout=section.lora_dropout,
        target_modules=targets(body, section.lora_targets),
        exclude_modules=unused or None,
        modules_to_save=[name for name in heads if name not in _PEFTS_HEADS] or None,
    )
    if _computes_twice(body):
        # What is computed again has a gradient only if what enters it has one, and the embeddings are not trained.
        body.enable_input_require_grads()
    _keep_exact(body)
    with _as_peft_asks():
        return get_peft_model(body, config)


def _computes_twice(body: Any) -> bool:
    """Whether gradient checkpointing is on."""
    return any(getattr(part, "gradient_checkpointing", False) for part in body.modules())


def _keep_exact(body: Any) -> None:
    """On CPUs with bf16, bitsandbytes 0.50 rewrites a layer's scales in bf16 when it first predicts.

    The layer then answers otherwise than it was trained, and one whose width is no multiple of 64 fails.
    """
    for part in body.modules():
        if hasattr(part, "support_avx512bf16_for_cpu"):
            part.support_avx512bf16_for_cpu = False


@contextlib.contextmanager
def _as_peft_asks() -> Iterator[None]:
    """PEFT 0.21 asks for gradient checkpointing by the name that transformers 5.24 warns of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield


def targets(body: PreTrainedModel, wanted: Sequence[str]) -> list[str] | str:
    """Which layers get adapters, as PEFT's ``target_modules`` says it.

    Args:
        body: whose layers.
        wanted: ends of the names of linear layers; empty takes the catalogue's for the architecture, and all of them
            where it has none; ``all-linear`` takes all. Layers of the head are never meant: they are trained whole.

    Raises:
        ModelError: a name that was asked for is that of no linear layer; the sentence lists those that there are.
    """
    there = list(_layers(body))
    if not wanted:
        known = catalogue.lora_targets(body.config.model_type) or ()
        return [name for name in known if _matches(name, there)] or _ALL
    if list(wanted) == [_ALL]:
        return _ALL
    for name in wanted:
        if not _matches(name, there):
            short = dict.fromkeys(layer.rpartition(".")[2] for layer in there)
            raise ModelError(
                f"train.lora_targets: '{name}' is no linear layer of a {body.config.model_type}; those that there are "
                f"have the names {', '.join(short)} ('{_ALL}' takes all, an empty list what suits the architecture)."
            )
    return list(wanted)


def _matches(name: str, layers: Sequence[str]) -> bool:
    """As PEFT matches: the whole name, or its end from a dot on."""
    return any(layer == name or layer.endswith(f".{name}") for layer in layers)


def _linear(body: Any) -> Iterator[tuple[str, Any]]:
    """Names and modules of a body's linear layers, GPT-2's transposed ones and those in 4 bits too."""
    import torch
    from transformers.pytorch_utils import Conv1D

    return ((name, part) for name, part in body.named_modules() if isinstance(part, (torch.nn.Linear, Conv1D)))


def _layers(body: Any) -> Iterator[str]:
    """Names of the linear layers that may get adapters: those of no head and of no pooler."""
    outside = (*_heads(body), _POOLER)
    return (name for name, _ in _linear(body) if not _within(name, outside))


def _within(name: str, parts: Sequence[str]) -> bool:
    return not set(name.split(".")).isdisjoint(parts)


def _heads(body: Any) -> list[str]:
    """Names of the modules of a classifier's head: all that has weights beside the bare model, and the model's pooler.

    A bare model has none.
    """
    bare = body.base_model
    if bare is body:
        return []
    found = [name for name, part in body.named_children() if part is not bare and any(True for _ in part.parameters())]
    return [_POOLER, *found] if getattr(bare, _POOLER, None) is not None else found


def save(body: PeftModel, folder: Path, base: str) -> None:
    """Write the adapters, and the head that was trained with them, in PEFT's form.

    Args:
        body: from :func:`attach`.
        folder: gets ``adapter_config.json`` and ``adapter_model.safetensors``; the same adapters give the same bytes.
        base: the base model's id; of a folder its name alone is kept, as its place is this machine's affair.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    # The embeddings are never trained here; left to itself, PEFT would ask the Hub whether they are.
    state = get_peft_model_state_dict(body, adapter_name=_NAME, save_embedding_layers=False)
    values = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / _WEIGHTS) as temporary:
        save_file(values, str(temporary), metadata={"format": "pt"})
    config: Any = copy.deepcopy(body.peft_config[_NAME])
    config.inference_mode = True
    config.base_model_name_or_path = Path(base).name if Path(base).expanduser().is_dir() else base
    config.modules_to_save = _heads(body.get_base_model()) or None
    write_json(folder / _CONFIG, {key: _plain(value) for key, value in sorted(config.to_dict().items())})


def _plain(value: Any) -> Any:
    """A value as JSON has it; sets in an order that does not change from process to process."""
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def load(body: PreTrainedModel, folder: Path) -> PeftModel:
    """Put saved adapters on a body of the same base.

    Args:
        body: as :func:`attach` took it; changed in place.
        folder: from :func:`save`, or PEFT's own.

    Raises:
        ModelError: a file is missing or damaged, is a pickle, or is of another base.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import SafetensorError, safe_open

    missing = [file for file in (_CONFIG, _WEIGHTS) if not (folder / file).is_file()]
    if missing:  # PEFT would look for a pickle, then ask the Hub
        raise ModelError(f"{folder} lacks {' and '.join(missing)}; adapters are read from safetensors alone.")
    _keep_exact(body)
    try:
        with safe_open(folder / _WEIGHTS, framework="pt") as file:
            saved = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        with _as_peft_asks():
            adapted = PeftModel.from_pretrained(body, folder, torch_device=str(body.device))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"The adapters in {folder} are damaged, or not for a {body.config.model_type} of this size "
            f"({type(error).__name__}); train them again, or name the base model that they were trained on."
        ) from error
    state = get_peft_model_state_dict(adapted, adapter_name=_NAME, save_embedding_layers=False)
    if saved != {name: tuple(value.shape) for name, value in state.items()}:
        raise ModelError(
            f"The adapters in {folder} are for other layers than this {body.config.model_type} has; "
            "name the base model that they were trained on."
        )
    return adapted


def merged(body: PeftModel) -> PreTrainedModel:
    """The plain model that predicts what the base with its adapters did: their product is added to its weights.

    A base in 4 bits or in half precision becomes fp32 first, or the sum would be rounded to what those can hold.

    Args:
        body: from :func:`attach` or :func:`load`; no longer to be used afterwards.
    """
    import torch

    plain: Any = body.get_base_model()
    if _computes_twice(plain):
        plain.disable_input_require_grads()
    if getattr(plain, "is_loaded_in_4bit", False):
        return _merged_4bit(body)
    if any(value.dtype in {torch.float16, torch.bfloat16} for value in plain.parameters()):
        body.float()
        plain.config.dtype = torch.float32
    found: PreTrainedModel = body.merge_and_unload()
    return found


def _merged_4bit(body: PeftModel) -> PreTrainedModel:
    """PEFT would round the sum to 4 bits again; here the base is taken out of them."""
    import torch
    from peft.tuners.lora import LoraLayer

    base: Any = body.get_base_model()
    adapted = [(name, layer) for name, layer in base.named_modules() if isinstance(layer, LoraLayer)]
    added = {name: cast("Any", layer).get_delta_weight(_NAME).float() for name, layer in adapted}
    plain: Any = body.unload()
    plain = plain.dequantize(torch.float32).float()
    plain.config.dtype = torch.float32
    with torch.no_grad():
        for name, value in added.items():
            plain.get_submodule(name).weight += value
    return plain  # type: ignore[no-any-return]


def trainable(body: Any) -> tuple[int, int]:
    """How many weights are trained, and how many there are; of weights in 4 bits each is counted."""
    if hasattr(body, "get_nb_trainable_parameters"):
        trained, whole = body.get_nb_trainable_parameters()
        return int(trained), int(whole)
    values = list(body.parameters())
    return sum(value.numel() for value in values if value.requires_grad), sum(value.numel() for value in values)


def quantised_config() -> Any:
    """How a base is loaded in 4 bits: transformers' configuration for bitsandbytes, NF4 with double quantisation.

    It computes in bf16 on a card that has it and in fp32 elsewhere.

    Raises:
        MissingExtra: bitsandbytes is not installed.
        MachineError: it does not run here.
    """
    import torch

    try:
        from bitsandbytes import functional
    except ImportError as error:
        raise MissingExtra(
            "train.method = 'qlora' needs bitsandbytes: pip install 'bedside[qlora]', or set train.method to 'lora'."
        ) from error
    from transformers import BitsAndBytesConfig

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        functional.dequantize_4bit(*functional.quantize_4bit(torch.ones(64, 64, device=device), quant_type="nf4"))
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        raise MachineError(
            f"bitsandbytes does not run on this machine's {device} ({type(error).__name__}); "
            "set train.method to 'lora'."
        ) from error
    half = device == "cuda" and torch.cuda.is_bf16_supported()
    settings: Any = BitsAndBytesConfig
    return settings(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if half else torch.float32,
        llm_int8_skip_modules=[rf"(?:.*\.)?{name}" for name in _HEADS],
    )
