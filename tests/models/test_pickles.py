"""Pickled weights: turned into the same numbers as safetensors, and never run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bedside.core.errors import ModelError
from bedside.models import pickles, unpickle, weights


def folder_with(folder: Path, state: object, name: str = "pytorch_model.bin") -> Path:
    """A base model's folder whose weights are a pickle of this."""
    import torch

    folder.mkdir(exist_ok=True)
    torch.save(state, folder / name)
    (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    (folder / "vocab.txt").write_text("[PAD]\n", encoding="utf-8")
    return folder


class Hostile:
    """Unpickled by anything that runs what it reads, this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_the_numbers_are_the_same_also_where_tensors_share_memory(tmp_path) -> None:
    import torch
    from safetensors.torch import load_file

    shared = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    state = {"a": shared, "tied": shared, "part": shared[1:], "turned": shared.t(), "half": shared.bfloat16()}
    state |= {"nan": torch.tensor([float("nan")]), "step": 3}
    folder = folder_with(tmp_path / "pickled", state)
    with pytest.raises(ModelError, match=r"bedside models convert .*pickled --into FOLDER"):
        weights.locate(str(folder))
    place = pickles.convert(folder, tmp_path / "written")
    found = load_file(place / "model.safetensors")
    assert set(found) == set(state) - {"step"}
    for name, value in found.items():
        assert torch.equal(value.nan_to_num(7), state[name].nan_to_num(7))
    assert weights.locate(str(place)) == place
    assert weights.verify(str(place)) == 3
    with pytest.raises(ModelError, match="exists already"):
        pickles.convert(folder, place)


def test_numbered_parts_keep_their_index(tmp_path) -> None:
    import torch
    from transformers import BertConfig, BertModel

    shape = BertConfig(vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    body = BertModel(shape)
    names = sorted(body.state_dict())
    folder = tmp_path / "pickled"
    for number, part in enumerate((names[:7], names[7:]), start=1):
        state = {name: body.state_dict()[name] for name in part}
        folder_with(folder, state, f"pytorch_model-0000{number}-of-00002.bin")
    shape.save_pretrained(folder)
    place = pickles.convert(folder, tmp_path / "written")
    loaded = BertModel.from_pretrained(place, local_files_only=True)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in body.state_dict().items())


def test_a_pickle_with_code_in_it_is_refused_and_nothing_is_run(tmp_path) -> None:
    import torch

    trap = tmp_path / "was-run"
    folder = folder_with(tmp_path / "pickled", {"weight": torch.ones(2), "more": Hostile(trap)})
    with pytest.raises(ModelError, match=r"holds more than tensors.* Nothing in it was run, and nothing is kept"):
        pickles.convert(folder, tmp_path / "written")
    assert not trap.exists()
    assert not (tmp_path / "written").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["pickled"]
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert trap.exists(), "the trap itself does not work, so this test shows nothing"


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"\x80\x04]q"])
def test_a_damaged_pickle_is_a_sentence(tmp_path, content) -> None:
    import torch

    folder = folder_with(tmp_path / "pickled", {"weight": torch.ones(2)})
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(ModelError, match=r"pytorch_model\.bin was refused: "):
        pickles.convert(folder, tmp_path / "written")
    with pytest.raises(ModelError, match=r"holds no pytorch_model\.bin to convert"):
        pickles.convert(tmp_path / "absent", tmp_path / "written")


@pytest.mark.parametrize(
    "deed",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.system('true')",
        "open(sys.argv[2] + '.other', 'w')",
        "import os; os.remove(sys.argv[2])",
    ],
)
def test_what_got_past_the_reader_could_still_do_nothing(tmp_path, deed) -> None:
    """The guard of the child, asked of directly: the reader itself lets nothing come this far."""
    target = tmp_path / "target"
    target.write_bytes(b"")
    code = (
        f"import sys; sys.path.insert(0, {str(Path(unpickle.__file__).parent)!r}); import pathlib, unpickle;"
        "unpickle.guard(pathlib.Path(sys.argv[2])); open(sys.argv[2], 'w').close()\n"
        f"try:\n    {deed}\nexcept PermissionError as error:\n    print('refused', error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "unused", str(target)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("refused")
    assert [file.name for file in tmp_path.iterdir()] == ["target"]
