"""Fetching from the Hub's language: a small server on this machine speaks it for one repository."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bedside.core.errors import MachineError, ModelError
from bedside.models import weights

NAME = "someone/small-bert"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Repository:
    """The files of one repository, and what was asked of it."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []
        self.ranges: list[str] = []
        self.cut: dict[str, int] = {}
        self.status = 200

    def about(self) -> dict[str, object]:
        siblings = []
        for name, content in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            one = {"rfilename": name, "size": len(content), "blobId": blob}
            if name.endswith((".safetensors", ".bin")):
                digest = hashlib.sha256(content).hexdigest()
                one["lfs"] = {"size": len(content), "sha256": digest, "pointerSize": 130}
            siblings.append(one)
        return {
            "id": NAME,
            "sha": COMMIT,
            "siblings": siblings,
            "private": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
        }


def handler(repository: Repository) -> type[BaseHTTPRequestHandler]:  # noqa: C901  # the methods of one small server
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_words: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            if repository.status != 200:
                self.refuse()
            elif path.startswith(f"/api/models/{NAME}"):
                content = json.dumps(repository.about()).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            else:
                self.file(path.removeprefix(f"/{NAME}/resolve/{COMMIT}/"), body)

        def refuse(self) -> None:
            self.send_response(repository.status)
            self.send_header("X-Error-Code", {401: "GatedRepo", 404: "RepoNotFound"}[repository.status])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def file(self, name: str, body: bool) -> None:
            content = repository.files[name]
            start = 0
            if body:
                repository.asked.append(name)
                if told := self.headers.get("Range"):
                    repository.ranges.append(told)
                    start = int(told.removeprefix("bytes=").partition("-")[0])
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if body:
                self.wfile.write(content[start : repository.cut.pop(name, len(content))])

    return Handler


@contextlib.contextmanager
def served(repository: Repository) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(repository))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> dict[str, bytes]:
    """A BERT with random weights, as a repository holds it: with the same weights in other formats, and with code."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    shape = BertConfig(vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    body = BertModel(shape)
    body.save_pretrained(folder)
    torch.save(body.state_dict(), folder / "pytorch_model.bin")
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nchest\npain\nnone\n", encoding="utf-8")
    (folder / "LICENSE").write_text("terms", encoding="utf-8")
    for name in ("modeling_own.py", "flax_model.msgpack", "model.onnx", "picture.png"):
        (folder / name).write_bytes(b"not wanted")
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def repository(model, tmp_path, monkeypatch) -> Iterator[Repository]:
    found = Repository(dict(model))
    monkeypatch.setenv("BEDSIDE_CACHE", str(tmp_path / "cache"))
    with served(found) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield found


def test_what_is_needed_is_fetched_from_a_mirror_and_nothing_else(repository, tmp_path) -> None:
    place = weights.get(NAME)
    assert place == tmp_path / "cache" / "models" / "someone--small-bert"
    wanted = {"config.json", "model.safetensors", "vocab.txt", "LICENSE"}
    assert set(repository.asked) == wanted
    assert {file.name for file in place.iterdir()} == {*wanted, "SHA256SUMS", "origin.json"}
    assert json.loads((place / "origin.json").read_text(encoding="utf-8")) == {"id": NAME, "revision": COMMIT}
    assert weights.verify(NAME) == len(wanted) + 1
    assert weights.get(NAME) == place
    assert len(repository.asked) == len(wanted), "what is at hand was fetched again"


def test_an_altered_file_is_found_afterwards(repository) -> None:
    place = weights.get(NAME)
    path = place / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"model\.safetensors is not as SHA256SUMS has it"):
        weights.verify(NAME)


def test_a_file_that_is_not_what_the_repository_says_is_not_kept(repository, tmp_path) -> None:
    about = repository.about()
    content = repository.files["model.safetensors"]
    repository.about = lambda: about
    repository.files["model.safetensors"] = content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(ModelError, match=r"model\.safetensors of someone/small-bert did not arrive as the repository"):
        weights.get(NAME)
    assert not weights.installed(NAME)
    repository.files["model.safetensors"] = content
    assert weights.get(NAME)
    assert repository.asked.count("config.json") == 1, "what had arrived whole was fetched again"


def test_a_fetch_that_broke_off_is_taken_up_and_ends_whole(repository) -> None:
    repository.cut["model.safetensors"] = 1000
    weights.get(NAME)
    assert weights.verify(NAME)
    assert repository.asked.count("model.safetensors") == 2


def test_a_repository_without_a_tokenizer_is_a_sentence(repository) -> None:
    del repository.files["vocab.txt"]
    with pytest.raises(ModelError, match=r"lacks tokenizer\.json"):
        weights.get(NAME)


def test_only_a_pickle_is_refused_with_the_way_out_and_converted_on_request(repository, model) -> None:
    from safetensors.torch import load

    del repository.files["model.safetensors"]
    with pytest.raises(ModelError, match=r"only as a pickle .* bedside models get someone/small-bert --convert"):
        weights.get(NAME)
    assert repository.asked == []
    place = weights.get(NAME, convert=True)
    assert not list(place.parent.rglob("*.bin"))
    expected, found = load(model["model.safetensors"]), load((place / "model.safetensors").read_bytes())
    assert all((found[name] == value).all() for name, value in expected.items())
    assert weights.verify(NAME)


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "given only to those who accept its terms: accept them on"), (404, "has no model someone/small-bert")],
)
def test_a_refusal_of_the_hub_is_a_sentence(repository, tmp_path, status, said) -> None:
    repository.status = status
    with pytest.raises(ModelError, match=said):
        weights.get(NAME)
    assert not list(tmp_path.rglob("*.fetching"))


def test_a_full_disk_is_told_before_anything_is_fetched(repository, monkeypatch) -> None:
    from bedside.core import files

    monkeypatch.setattr(files, "free_bytes", lambda _path: 1000)
    with pytest.raises(MachineError, match=r"Fetching someone/small-bert \(.*\) needs about"):
        weights.get(NAME)
    assert repository.asked == []
