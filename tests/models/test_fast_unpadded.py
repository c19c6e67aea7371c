"""Layers over tokens without padding, as for cards, against the padded model's on a CPU."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from bedside.models.packed import unpack
from bedside.models.unpadded import leave_padding_out

SIZES = {
    "vocab_size": 90,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 80,
    "max_position_embeddings": 80,
    "pad_token_id": 1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
DISTIL = {"vocab_size": 90, "dim": 48, "n_layers": 2, "n_heads": 3, "hidden_dim": 80, "max_position_embeddings": 80}


def body_of(family: str, **more: Any) -> Any:
    torch.manual_seed(3)
    sizes = {**DISTIL, "dropout": 0.0, "attention_dropout": 0.0} if family == "distilbert" else SIZES
    return AutoModel.from_config(AutoConfig.for_model(family, **{**sizes, **more}), attn_implementation="sdpa").train()


def learn(body: Any, lengths: tuple[int, ...]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    ids = torch.randint(5, 90, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    body.zero_grad(set_to_none=True)
    hidden = body(input_ids=ids.masked_fill(mask == 0, 1), attention_mask=mask).last_hidden_state * mask.unsqueeze(-1)
    (hidden * torch.randn(hidden.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    return hidden.detach(), {n: p.grad for n, p in body.named_parameters() if p.grad is not None}


def same(found: Any, wanted: Any) -> None:
    torch.testing.assert_close(found[0], wanted[0], atol=1e-5, rtol=1e-5)
    assert found[1].keys() == wanted[1].keys()
    for name, value in wanted[1].items():
        torch.testing.assert_close(found[1][name], value, atol=1e-5 * max(float(value.abs().max()), 1), rtol=0)


@pytest.mark.parametrize("lengths", [(5, 41, 23, 1), (20, 20)], ids=["mixed", "full"])
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_values_and_gradients_are_those_of_the_padded_model(family: str, lengths: tuple[int, ...]) -> None:
    body = body_of(family)
    wanted = learn(body, lengths)
    assert leave_padding_out(body)
    same(learn(body, lengths), wanted)
    unpack(body)
    assert body.config._attn_implementation == "sdpa"
    torch.testing.assert_close(learn(body, lengths)[0], wanted[0], atol=0, rtol=0)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks by the old name
def test_adapters_learn_as_they_do_with_padding() -> None:
    body = get_peft_model(body_of("bert"), LoraConfig(r=2, target_modules=["query"], init_lora_weights=False))
    wanted = learn(body, (5, 9))
    assert leave_padding_out(body)
    same(learn(body, (5, 9)), wanted)


def test_a_classifier_gives_the_same_logits() -> None:
    network = AutoModelForSequenceClassification.from_config(
        AutoConfig.for_model("roberta", **SIZES), attn_implementation="sdpa"
    ).eval()
    ids, mask = torch.full((2, 9), 7), torch.ones(2, 9, dtype=torch.long)
    mask[1, 4:] = 0
    with torch.no_grad():
        wanted = network(input_ids=ids, attention_mask=mask).logits
        assert leave_padding_out(network)
        torch.testing.assert_close(network(input_ids=ids, attention_mask=mask).logits, wanted, atol=1e-5, rtol=1e-5)


def test_windows_do_not_read_each_other() -> None:
    body = body_of("bert").eval()
    assert leave_padding_out(body)
    with torch.no_grad():
        alone = body(input_ids=torch.tensor([[5, 6, 7]])).last_hidden_state
        beside = body(input_ids=torch.tensor([[5, 6, 7], [8, 9, 10]])).last_hidden_state
    torch.testing.assert_close(beside[:1], alone, atol=1e-6, rtol=0)


def test_other_encoders_are_left_as_they_are() -> None:
    assert not leave_padding_out(body_of("albert", embedding_size=24))
    assert not leave_padding_out(body_of("bert", is_decoder=True))
