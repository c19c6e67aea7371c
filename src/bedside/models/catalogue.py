"""Base models by name: the catalogue, a folder, or a Hub id."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from bedside.core.errors import ModelError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class BaseModel:
    """One base model.

    Attributes:
        id: ``builtin:…``, a Hub id, or a folder's path.
        title: the name it is known by.
        use: what it is for.
        licence: of the weights.
        parameters: how many; 0 where not known.
        limit: the most tokens that it reads at once; 0 where not known.
        pooling: ``mean`` or ``cls``.
    """

    id: str
    title: str
    use: str
    licence: str
    parameters: int
    limit: int
    pooling: str


def _read() -> tuple[BaseModel, ...]:
    path = Path(__file__).with_name("catalogue.toml")
    return tuple(BaseModel(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8"))["model"])


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
    if Path(name).is_dir() or (_HUB_ID.fullmatch(name) and not name.startswith(".")):
        return BaseModel(name, name, "named by the study", "see its page", 0, 0, "mean")
    known = {key.lower(): model.id for model in CATALOGUE for key in (model.id, model.title, model.id.split(":")[-1])}
    near = [known[key] for key in difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(dict.fromkeys(near))}?" if near else "bedside models list shows what there is."
    raise ModelError(f"'{name}' is no base model, no folder and no Hub id; {hint}")
