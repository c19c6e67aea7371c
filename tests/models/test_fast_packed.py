"""Layers over packed tokens against transformers' own."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from bedside.models.packed import pack, unpack

SIZES = {
    "vocab_size": 90,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 80,
    "max_position_embeddings": 80,
    "pad_token_id": 1,
}
DISTIL = {"vocab_size": 90, "dim": 48, "n_layers": 2, "n_heads": 3, "hidden_dim": 80, "max_position_embeddings": 80}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
LENGTHS = (5, 41, 23, 1, 41, 30, 12, 7, 19, 40, 3)  # over eight windows, whose number is rounded up
Gradients = dict[str, torch.Tensor]


def config_of(family: str, **more: Any) -> PreTrainedConfig:
    if family == "distilbert":
        return AutoConfig.for_model(family, **{**DISTIL, "dropout": 0.0, "attention_dropout": 0.0, **more})
    own = {"embedding_size": 24} if family == "electra" else {}
    return AutoConfig.for_model(family, **{**SIZES, **STILL, **own, **more})


def body_of(family: str, seed: int = 3, **more: Any) -> PreTrainedModel:
    torch.manual_seed(seed)
    body: PreTrainedModel = AutoModel.from_config(config_of(family, **more), attn_implementation="eager")
    with torch.no_grad():
        for name, value in body.named_parameters():  # biases and norms start at 0 and 1, where mistakes would not show
            if value.ndim == 1:
                value.add_(0.3 * torch.randn_like(value))
            elif "embed" not in name.lower():
                value.mul_(4)
    return body.train()


def batch(lengths: tuple[int, ...] = LENGTHS) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 90, (len(lengths), max(lengths)), generator=random)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return ids.masked_fill(mask == 0, 1), mask


def learn(body: Any, lengths: tuple[int, ...] = LENGTHS, *, bf16: bool = False) -> tuple[torch.Tensor, Gradients]:
    """What the body says of the real tokens, and the gradients of a sum in which every value has its own weight."""
    ids, mask = batch(lengths)
    body.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        hidden = body(input_ids=ids, attention_mask=mask).last_hidden_state
    hidden = hidden.float() * mask.unsqueeze(-1)
    weight = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(2))
    (hidden * weight).sum().backward()
    return hidden.detach(), {n: p.grad for n, p in body.named_parameters() if p.grad is not None}


def farthest(found: Gradients, wanted: Gradients) -> float:
    """The largest distance of any value, in the norm of its parameter's largest gradient or of the typical one."""
    assert found.keys() == wanted.keys()
    typical = float(torch.stack([value.abs().max() for value in wanted.values()]).median())
    return max(float((found[n] - wanted[n]).abs().max()) / max(float(wanted[n].abs().max()), typical) for n in wanted)


def distance(found: Gradients, wanted: Gradients) -> float:
    """Of all gradients as one vector, relative."""
    difference = sum(float((found[name] - value).square().sum()) for name, value in wanted.items())
    return float((difference / sum(float(value.square().sum()) for value in wanted.values())) ** 0.5)


@pytest.fixture(params=["bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert"])
def family(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


@pytest.mark.parametrize("lengths", [LENGTHS, (20, 20, 20), (1,), (600,) * 2], ids=["mixed", "full", "one", "long"])
def test_values_and_gradients_are_those_of_the_plain_model(family: str, lengths: tuple[int, ...]) -> None:
    body = body_of(family, max_position_embeddings=610)
    wanted = learn(body, lengths)
    assert pack(body)
    found = learn(body, lengths)
    torch.testing.assert_close(found[0], wanted[0], atol=1e-5, rtol=1e-5)
    assert farthest(found[1], wanted[1]) < 1e-5


def test_bf16_is_as_near_to_fp32_as_autocast_is() -> None:
    body = body_of("bert")
    exact = learn(body)
    autocast = learn(body, bf16=True)
    assert pack(body)
    found = learn(body, bf16=True)
    assert 0 < distance(found[1], exact[1]) < 1.3 * distance(autocast[1], exact[1])
    assert (found[0] - exact[0]).norm() < 1.3 * (autocast[0] - exact[0]).norm()


@pytest.mark.parametrize("size", [40.0, 400.0])
def test_scores_beyond_what_a_power_of_two_holds_are_taken_again(size: float) -> None:
    body = body_of("bert", num_hidden_layers=1)
    with torch.no_grad():
        body.encoder.layer[0].attention.self.query.weight.mul_(size)
    wanted = learn(body)
    assert pack(body)
    found = learn(body)
    torch.testing.assert_close(found[0], wanted[0], atol=1e-3, rtol=1e-3)
    assert distance(found[1], wanted[1]) < 1e-3
    assert all(value.isfinite().all() for value in found[1].values())


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("optimiser", [torch.optim.AdamW, torch.optim.SGD])
def test_the_weights_of_every_step_are_the_newest(optimiser: type[torch.optim.Optimizer], bf16: bool) -> None:
    after = []
    for packed in (False, True):
        body = body_of("bert")
        assert not packed or pack(body)
        stepper = optimiser(body.parameters(), lr=0.02, fused=True)
        for _ in range(3):
            learn(body, bf16=bf16)
            stepper.step()
        after.append(learn(body, bf16=bf16)[0])
    assert (after[1] - after[0]).norm() < (0.1 if bf16 else 1e-3) * after[0].norm()


def test_weights_that_are_loaded_are_used() -> None:
    body, other = body_of("bert"), body_of("bert", seed=9)
    wanted = learn(other, bf16=True)[0]
    assert pack(body)
    learn(body, bf16=True)
    body.load_state_dict(other.state_dict())
    assert (learn(body, bf16=True)[0] - wanted).norm() < 0.02 * wanted.norm()


def test_frozen_layers_get_no_gradient_and_the_others_the_same() -> None:
    body = body_of("bert")
    for name, value in body.named_parameters():
        value.requires_grad_("layer.1" in name and "key.weight" not in name)
    wanted = learn(body)[1]
    assert pack(body)
    found = learn(body)[1]
    assert found and all("layer.1" in name for name in found)
    assert farthest(found, wanted) < 1e-5


def test_a_classifier_of_transformers_is_packed_too_and_unpacked() -> None:
    torch.manual_seed(0)
    network = AutoModelForSequenceClassification.from_config(config_of("roberta"), attn_implementation="eager").eval()
    ids, mask = batch()
    with torch.no_grad():
        wanted = network(input_ids=ids, attention_mask=mask).logits
        assert pack(network)
        found = network(input_ids=ids, attention_mask=mask).logits
        unpack(network)
        assert torch.equal(network(input_ids=ids, attention_mask=mask).logits, wanted)
    assert not torch.equal(found, wanted)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("bert", {"hidden_dropout_prob": 0.1}),
        ("bert", {"hidden_act": "gelu_new"}),
        ("bert", {"is_decoder": True}),
        ("albert", {"embedding_size": 24}),
        ("mpnet", {}),
    ],
)
def test_what_is_not_such_an_encoder_is_left_as_it_is(family: str, more: dict[str, Any]) -> None:
    body = body_of(family, **more)
    assert not pack(body)
    assert not any("forward" in part.__dict__ for part in body.modules())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks by the old name
def test_adapters_and_saved_activations_are_left_as_they_are() -> None:
    saving = body_of("bert")
    saving.activation_checkpointing_enable()
    assert not pack(saving)
    adapted = get_peft_model(body_of("bert"), LoraConfig(r=2, target_modules=["query"]))
    assert not pack(adapted)


ONCE = """
import hashlib, sys, torch
sys.path.insert(0, {folder!r})
from test_fast_packed import body_of, learn, pack
torch.set_num_threads(2)
body = body_of("bert")
assert pack(body)
found = learn(body, bf16=True)
whole = b"".join(value.numpy().tobytes() for value in [found[0], *found[1].values()])
print(hashlib.sha256(whole).hexdigest())
"""


def test_two_processes_get_the_same_bytes(request: pytest.FixtureRequest) -> None:
    code = ONCE.format(folder=str(request.path.parent))
    runs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [run.communicate()[0].strip() for run in runs]
    assert said[0] == said[1] and len(said[0]) == len(hashlib.sha256().hexdigest())
