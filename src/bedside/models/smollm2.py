"""SmolLM2-135M-Instruct, written once as safetensors from the 4-bit GGUF that a Python package carries.

This file alone knows how that GGUF differs from what transformers makes of it: the weights are de-quantised to bf16
(the precision that the model was published in; what rounding adds is far below what 4 bits took away), digits are
split one by one before the byte-level rule (the GGUF names its rule ``smollm``, which transformers reads as GPT-2's),
and rows are filled up with ``<|endoftext|>``, not with the token that ends an answer.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

from bedside.core.errors import ModelError
from bedside.core.files import sha256_file, write_json
from bedside.models.tensors import tensors_digest

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
TENSORS_SHA256 = "4b5a9c9081ad56b2712fcd8e4a8e3408b437cf96739250bc09b5175fe471d069"
"""Of the result, by :func:`bedside.models.tensors.tensors_digest`."""

_PADDING = "<|endoftext|>"


def convert(gguf: Path, folder: Path) -> None:
    """Write config, tokenizer and safetensors in bf16 from the GGUF.

    Args:
        gguf: the file, as it lies in the package.
        folder: where to write; exists.

    Raises:
        ModelError: the GGUF, or what came of it, is not what it should be.
    """
    found = sha256_file(gguf)
    if found != GGUF_SHA256:
        raise ModelError(f"{gguf.name} is not the file expected (SHA-256 {found}); not kept.")
    _write_model(gguf, folder)
    _write_tokenizer(gguf, folder)
    found = tensors_digest([folder / "model.safetensors"])
    if found != TENSORS_SHA256:
        raise ModelError(
            f"What this version of transformers makes of {gguf.name} is not what was tested (tensors' SHA-256 "
            f"{found}); not kept. Install transformers as constraints.txt pins it."
        )


def _write_model(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from bedside.models.network import quiet_libraries

    quiet_libraries()
    with contextlib.redirect_stderr(io.StringIO()):  # a bar that the library cannot be asked to leave out
        model: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, local_files_only=True
        )
    # save_pretrained refuses a model that says that it is quantised, and this one is not any more.
    model.hf_quantizer = None
    for name in ("is_quantized", "quantization_method"):
        if name in vars(model):
            delattr(model, name)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config.pad_token_id = model.generation_config.pad_token_id = 0
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    about.pop("_model_name_or_path", None)
    write_json(folder / "config.json", about)


def _write_tokenizer(gguf: Path, folder: Path) -> None:
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    tokenizer.pad_token = _PADDING
    tokenizer.model_max_length = 8192
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    for name in ("is_local", "local_files_only", "name_or_path"):
        about.pop(name, None)
    write_json(path, about)
