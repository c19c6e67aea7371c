"""Base models by name: the catalogue, a folder, or a Hub id."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside.core.errors import ModelError
from bedside.models.tensors import parameters

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_NOT_KNOWN = "see its page"
_DECODER = re.compile(r".*(ForCausalLM|LMHeadModel|ForConditionalGeneration)")
_READS_BOTH_WAYS = {"bert", "roberta", "modernbert", "longformer", "megatron-bert", "electra", "xlm-roberta"}
_HEAD_TRAINED = {"modernbert"}


@dataclass(frozen=True)
class BaseModel:
    """One base model.

    Attributes:
        id: ``builtin:…``, a Hub id, or a folder's path.
        title: the name it is known by.
        use: the text that it suits.
        licence: of the weights.
        parameters: how many; 0 where not known.
        limit: the most tokens that it reads at once; 0 where not known.
        pooling: ``mean``, ``cls``, ``own`` (the architecture's own classification head), or nothing where not known.
        kind: ``encoder``, ``decoder``, ``baseline``, or nothing where not known.
        architecture: transformers' name (``model_type``).
        bytes: on the disk; 0 where not known.
        weights: how they are published: ``safetensors`` or ``pickle``.
        gated: whether its terms must be accepted before it can be fetched.
        link: its page.
        obligations: what the licence asks of whoever passes on a model made from it, for the card.
        note: what else must be known.
        checked: the day on which all this was looked up.
        source: where.
        unverified: the attributes that no source gave.
    """

    id: str
    title: str
    use: str
    licence: str
    parameters: int = 0
    limit: int = 0
    pooling: str = ""
    kind: str = ""
    architecture: str = ""
    bytes: int = 0
    weights: str = "safetensors"
    gated: bool = False
    link: str = ""
    obligations: str = ""
    note: str = ""
    checked: str = ""
    source: str = ""
    unverified: tuple[str, ...] = ()


def _read() -> tuple[BaseModel, ...]:
    path = Path(__file__).with_name("catalogue.toml")
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["model"]
    return tuple(BaseModel(**{**entry, "unverified": tuple(entry.get("unverified", ()))}) for entry in entries)


CATALOGUE = _read()


def lora_targets(model_type: str) -> tuple[str, ...] | None:
    """Names of the linear layers of an architecture that get adapters.

    Args:
        model_type: transformers' name of the architecture, as config.json has it.

    Returns:
        the names, or None for an architecture that is not in ``lora_targets.toml``.
    """
    path = Path(__file__).with_name("lora_targets.toml")
    found = tomllib.loads(path.read_text(encoding="utf-8")).get(model_type)
    return None if found is None else tuple(found)


def find(name: str) -> BaseModel:
    """The base model of that name.

    Raises:
        ModelError: it is in no catalogue, no folder, and not in the form of a Hub id.
    """
    for model in CATALOGUE:
        if name in {model.id, model.title} or name.lower() == model.title.lower():
            return model
    if Path(name).expanduser().is_dir():
        return _of_folder(name, Path(name).expanduser())
    if _HUB_ID.fullmatch(name) and not name.startswith("."):
        return BaseModel(name, name, "named by the study", _NOT_KNOWN, link=f"https://huggingface.co/{name}")
    known = {key.lower(): model.id for model in CATALOGUE for key in (model.id, model.title, model.id.split(":")[-1])}
    near = [known[key] for key in difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(dict.fromkeys(near))}?" if near else "bedside models list shows what there is."
    raise ModelError(f"'{name}' is no base model, no folder and no Hub id; {hint}")


def _of_folder(name: str, folder: Path) -> BaseModel:
    """What a folder says of itself; what it does not say stays unknown, and a damaged file is told of by its reader."""
    try:
        about: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        about = about if isinstance(about, dict) else {}
    except (OSError, ValueError):
        about = {}
    files = sorted(folder.glob("*.safetensors"))
    try:
        count = parameters(files)
    except ModelError:
        count = 0
    text = about.get("text_config") if isinstance(about.get("text_config"), dict) else about
    model_type, limit = about.get("model_type"), text.get("max_position_embeddings")
    kind = _kind(about)
    return BaseModel(
        id=name,
        title=folder.name,
        use="named by the study",
        licence="see where it came from",
        parameters=count,
        limit=limit if isinstance(limit, int) else 0,
        pooling=_pooling(kind, model_type),
        kind=kind,
        architecture=model_type if isinstance(model_type, str) else "",
        bytes=sum(file.stat().st_size for file in files),
    )


def _kind(about: dict[str, Any]) -> str:
    """``encoder`` or ``decoder`` by what a configuration says that it was built as; nothing where it says nothing."""
    built = about.get("architectures")
    if about.get("model_type") in _READS_BOTH_WAYS:
        return "encoder"
    if isinstance(built, list) and any(isinstance(one, str) and _DECODER.fullmatch(one) for one in built):
        return "decoder"
    return "encoder" if built and about.get("model_type") else ""


def _pooling(kind: str, model_type: Any) -> str:
    if kind == "decoder" or model_type in _HEAD_TRAINED:
        return "own"
    return "mean" if kind else ""
