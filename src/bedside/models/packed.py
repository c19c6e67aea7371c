"""The layers of BERT-like encoders, computed over tokens without padding and with gradients written by hand; for CPUs.

Half of a training step of a small encoder on a CPU is not products of matrices but what stands between them: casts of
every weight, copies between the layouts of heads and of tokens, the softmax, padding. Here

- tokens of all windows lie one after the other [tokens, hidden]; only inside attention are they padded, and padding
  there costs no mask: padded keys and values are zero rows, and a column of ones beside the values, zero where there
  is padding, sums up the weights of attention, so that the softmax is one power of two and two products;
- the gradient of the softmax, p * (dp - sum(p * dp)), takes its second term from that column too (the identity
  sum(p * dp) = sum(out * dout) is that of FlashAttention, Dao et al. 2022);
- 16-bit copies of the weights are made once a step, not once a batch;
- gradients of weights are taken 512 tokens at a time, which stay in the cache;
- numbers of rows are rounded up to a few sizes, since oneDNN compiles a kernel for every new shape.

The values are those of the plain model but for rounding. What is not such an encoder, has dropout inside, or has layers
that are not plain (LoRA), is left as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions as Output

_ROWS = 256  # tokens are rounded up to a multiple of this, and twice as coarsely from 16 times as many
_SLOTS = 16  # places of a window are rounded up to a multiple of this
_WINDOWS = 4  # windows are rounded up to a multiple of this
_BLOCK = 512  # tokens behind each part of a weight's gradient
_SCORES = 1 << 21  # weights of attention worked on together, which stay in the cache
_COLUMNS = 8  # beside the values; one would do, and eight keep rows aligned
_FUSED_BIAS = bool(torch._C._has_mkldnn) and hasattr(torch.ops.mkldnn, "_linear_pointwise")
_LEAST, _MOST = 1e-30, 1e30  # sums of weights outside these are taken again with the highest subtracted


@dataclass(frozen=True)
class _Family:
    """Where an architecture keeps the parts of a layer."""

    stack: str
    query: str
    key: str
    value: str
    mixed: str
    first_norm: str
    up: str
    activation: str
    down: str
    last_norm: str


_BERT = _Family(
    stack="encoder",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    mixed="attention.output.dense",
    first_norm="attention.output.LayerNorm",
    up="intermediate.dense",
    activation="intermediate.intermediate_act_fn",
    down="output.dense",
    last_norm="output.LayerNorm",
)
_DISTILBERT = _Family(
    stack="transformer",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    mixed="attention.out_lin",
    first_norm="sa_layer_norm",
    up="ffn.lin1",
    activation="ffn.activation",
    down="ffn.lin2",
    last_norm="output_layer_norm",
)
_FAMILIES = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": _BERT,
    "distilbert": _DISTILBERT,
}
_LINEAR = ("query", "key", "value", "mixed", "up", "down")
_NORMS = ("first_norm", "last_norm")


def pack(body: Any) -> bool:
    """Let the layers of a body on a CPU compute over packed tokens, until :func:`unpack`.

    Args:
        body: a model of transformers, with or without a classifier on top.

    Returns:
        Whether it could be done; if not, the body is as it was.
    """
    model = getattr(body, getattr(body, "base_model_prefix", ""), body)
    family = _FAMILIES.get(getattr(getattr(model, "config", None), "model_type", ""))
    if family is None or not _fits(model, family):
        return False
    stack = getattr(model, family.stack)
    heads = int(model.config.num_attention_heads)
    stack.forward = _Stack([_Layer(part, family, heads) for part in stack.layer])
    return True


def unpack(body: Any) -> None:
    """Let the layers compute as transformers has it again; nothing to do where they already do."""
    for part in body.modules():
        stand_in = part.__dict__.get("forward")
        if hasattr(stand_in, "leave"):
            stand_in.leave()
            del part.forward


def stack_of(body: Any) -> tuple[Any, Any]:
    """The stack of layers of an encoder whose family is known, and its configuration; else None twice."""
    model = getattr(body, getattr(body, "base_model_prefix", ""), body)
    config = getattr(model, "config", None)
    family = _FAMILIES.get(getattr(config, "model_type", ""))
    return (None, None) if family is None else (getattr(model, family.stack), config)


def _fits(model: Any, family: _Family) -> bool:
    config = model.config
    plain = not any(getattr(config, name, False) for name in ("is_decoder", "add_cross_attention"))
    if not plain or model.device.type != "cpu":
        return False
    return all(_fits_layer(part, family) for part in getattr(model, family.stack).layer)


def _fits_layer(part: Any, family: _Family) -> bool:
    """Whether a layer is made of plain parts, in fp32, without dropout and with the exact GELU."""
    linear = [attrgetter(getattr(family, name))(part) for name in _LINEAR]
    norms = [attrgetter(getattr(family, name))(part) for name in _NORMS]
    saving = any(getattr(one, "gradient_checkpointing", False) for one in part.modules())
    drops = any(one.p > 0 for one in part.modules() if isinstance(one, nn.Dropout))
    hooked = any(one._forward_hooks or one._forward_pre_hooks for one in part.modules())
    plain = all(type(one) is nn.Linear and one.bias is not None for one in linear)
    plain = plain and all(type(one) is nn.LayerNorm for one in norms) and not drops
    plain = plain and not hooked and not saving
    return plain and all(one.dtype == torch.float32 for one in part.parameters()) and _is_gelu(part, family)


def _is_gelu(part: Any, family: _Family) -> bool:
    """By its values: an activation has many classes and names."""
    at = torch.linspace(-3, 3, 13)
    with torch.no_grad():
        return torch.equal(attrgetter(family.activation)(part)(at), nn.functional.gelu(at))


_steps_taken = 0  # by any optimiser: a fused one changes weights without changing their version


def _count_step(*_: Any) -> None:
    global _steps_taken
    _steps_taken += 1


register_optimizer_step_post_hook(_count_step)


class _Layer:
    """The parameters of a layer, and copies of its matrices in the type that products are taken in."""

    def __init__(self, part: Any, family: _Family, heads: int) -> None:
        found = {name: attrgetter(getattr(family, name))(part) for name in (*_LINEAR, *_NORMS)}
        self.heads = heads
        self.eps = (found["first_norm"].eps, found["last_norm"].eps)
        self._modules = tuple(found.values())
        self._copies: tuple[Any, ...] = ()
        self._state: tuple[Any, ...] = ()

    def parameters(self) -> list[torch.Tensor]:
        """Weight and bias of each part, in the order of ``_LINEAR`` and ``_NORMS``."""
        return [value for one in self._modules for value in (one.weight, one.bias)]

    def copies(self, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
        """Weight and bias of query, key and value in one; of the layer after attention; up; down."""
        values = self.parameters()[: 2 * len(_LINEAR)]
        state = (dtype, _steps_taken, *((one.data_ptr(), one._version) for one in values))
        if state != self._state:
            with torch.no_grad():
                joint = [torch.cat(values[start:6:2]).to(dtype) for start in (0, 1)]
                self._copies = (*joint, *(one.to(dtype) for one in values[6:]))
            self._state = state
        return self._copies


class _Stack:
    """Stands in for the ``forward`` of a stack of layers."""

    def __init__(self, layers: list[_Layer]) -> None:
        self._layers = layers

    def leave(self) -> None:
        """There is nothing to give back."""

    def __call__(self, hidden_states: torch.Tensor, attention_mask: Any = None, **_: Any) -> Output:
        windows, length, width = hidden_states.shape
        kept = hidden_states.new_ones(windows, length, dtype=torch.bool)
        if attention_mask is not None:  # [windows, 1, queries, keys]; 0 where a key is read, or True
            row = attention_mask[:, 0, 0]
            kept = row if row.dtype == torch.bool else row == 0
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
        places = _Places(kept, self._layers[0].heads, dtype)
        packed = hidden_states.float().reshape(windows * length, width).index_select(0, places.real)
        packed = nn.functional.pad(packed, (0, 0, 0, places.rows - len(places.real)))
        through: Any = _Forward.apply
        for layer in self._layers:
            packed = through(packed, places, layer, *layer.parameters())
        found = packed.new_zeros(windows * length, width).index_copy(0, places.real, packed[: len(places.real)])
        return Output(last_hidden_state=found.view(windows, length, width))


class _Places:
    """Where the tokens of a batch lie: in rows, packed; and in slots, by head, window and place in the window.

    Each layout ends in a row of zeros, which stands for what the other one lacks.

    Attributes:
        dtype: that products are taken in.
        real: [tokens] the place of each token in the padded batch.
        rows: tokens, rounded up.
        shape: windows times heads, places in a window.
        parts: slices of windows times heads whose weights of attention stay in a processor's cache together.
        ones: [windows times heads, places] what the column beside the values holds.
    """

    def __init__(self, kept: torch.Tensor, heads: int, dtype: torch.dtype) -> None:
        windows, length = kept.shape
        self.heads, self.dtype = heads, dtype
        self.real = kept.reshape(-1).nonzero().squeeze(1)
        tokens = len(self.real)
        unit = _ROWS if tokens <= 16 * _ROWS else 2 * _ROWS
        self.rows = _up(tokens, unit)
        self._windows = _up(windows, _WINDOWS) if windows > 2 * _WINDOWS else windows
        self._length = _up(length, _SLOTS)
        self.shape = (self._windows * heads, self._length)
        step = heads * max(_SCORES // (heads * self._length**2), 1)
        self.parts = [slice(start, start + step) for start in range(0, self.shape[0], step)]
        row_of = torch.full((self._windows, self._length), self.rows)
        row_of[:windows, :length] = torch.where(kept, kept.reshape(-1).cumsum(0).view_as(kept) - 1, self.rows)
        self._row_of = row_of
        self._window = torch.full((self.rows,), self._windows)
        self._window[:tokens] = self.real // length
        self._place = torch.zeros(self.rows, dtype=torch.long)
        self._place[:tokens] = self.real % length
        ones = row_of < self.rows
        ones[:, 0] |= ~ones.any(dim=1)  # a window without tokens would be divided by zero
        self.ones = ones.unsqueeze(1).expand(-1, heads, -1).reshape(self.shape)
        self._to_slots = {parts: self._slots(parts) for parts in (1, 3)}
        self._to_rows = {parts: self._rows(parts) for parts in (1, 3)}

    def _slots(self, parts: int) -> torch.Tensor:
        """[parts, windows, heads, places], flat: where it stands in rows of [parts, heads]."""
        across = torch.arange(parts * self.heads).view(parts, 1, self.heads, 1)
        found = self._row_of[None, :, None, :] * (parts * self.heads) + across
        return found.masked_fill_((self._row_of == self.rows)[None, :, None, :], self.rows * parts * self.heads).view(
            -1
        )

    def _rows(self, parts: int) -> torch.Tensor:
        """[rows, parts, heads], flat: where it stands in slots of [parts, windows, heads, places]."""
        part = torch.arange(parts).view(1, parts, 1)
        head = torch.arange(self.heads).view(1, 1, self.heads)
        window, place = self._window.view(-1, 1, 1), self._place.view(-1, 1, 1)
        found = ((part * self._windows + window) * self.heads + head) * self._length + place
        end = parts * self._windows * self.heads * self._length
        return found.masked_fill_(window == self._windows, end).view(-1)

    def rows_buffer(self, like: torch.Tensor, width: int) -> torch.Tensor:
        """[rows + 1, width] to be filled but for its last row, which is zero."""
        found = like.new_empty(self.rows + 1, width)
        found[-1].zero_()
        return found

    def slots_buffer(self, like: torch.Tensor, parts: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """[slots + 1, width] with a last row of zeros, and the others as [parts, windows * heads, places, width]."""
        count = self.shape[0] * self.shape[1]
        found = like.new_empty(parts * count + 1, width)
        found[-1].zero_()
        return found, found[:-1].view(parts, *self.shape, width)

    def to_slots(self, rows: torch.Tensor, parts: int, size: int) -> torch.Tensor:
        """From [rows + 1, parts * heads * size] to [parts, windows * heads, places, size]."""
        return rows.view(-1, size).index_select(0, self._to_slots[parts]).view(parts, *self.shape, size)

    def to_rows(self, slots: torch.Tensor, parts: int) -> torch.Tensor:
        """From [slots + 1, size] to [rows, parts * heads * size]."""
        return slots.index_select(0, self._to_rows[parts]).view(self.rows, -1)


def _up(number: int, unit: int) -> int:
    return -(-max(number, 1) // unit) * unit


class _Forward(torch.autograd.Function):
    """A layer: attention, and two layers with a GELU between them, each added to what went in and normed after.

    Sums and norms are taken in fp32, as the plain model's are; products in the type of the copies of the weights.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, places: _Places, layer: _Layer, *values: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            joint, joint_bias, mixed, mixed_bias, up, up_bias, down, down_bias = layer.copies(places.dtype)
            gain1, shift1, gain2, shift2 = values[-4:]
            width = x.shape[1]
            low = x.to(places.dtype)
            rows = places.rows_buffer(low, 3 * width)
            torch.addmm(joint_bias, low, joint.t(), out=rows[:-1])
            read, kept = _attend(places, rows, width // places.heads)
            h1 = _linear(read, mixed, mixed_bias) + x
            y, mean1, deviation1 = torch.native_layer_norm(h1, [width], gain1, shift1, layer.eps[0])
            y_low = y.to(places.dtype)
            u = _linear(y_low, up, up_bias)
            a = nn.functional.gelu(u)
            h2 = _linear(a, down, down_bias) + y
            out, mean2, deviation2 = torch.native_layer_norm(h2, [width], gain2, shift2, layer.eps[1])
        ctx.save_for_backward(low, read, *kept, h1, mean1, deviation1, y_low, u, a, h2, mean2, deviation2, *values[-4:])
        ctx.places, ctx.copies = places, (joint, mixed, up, down)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        low, read, q, k, v, e, total, h1, mean1, deviation1, y, u, a, h2, mean2, deviation2, *norms = ctx.saved_tensors
        joint, mixed, up, down = ctx.copies
        need = ctx.needs_input_grad
        dh2, gain2, shift2 = _norm_back(grads[0], h2, mean2, deviation2, norms[2], norms[3])
        dh2_low = dh2.to(low.dtype)
        du = torch.ops.aten.gelu_backward(torch.mm(dh2_low, down), u)
        dh1, gain1, shift1 = _norm_back(dh2 + torch.mm(du, up), h1, mean1, deviation1, norms[0], norms[1])
        dh1_low = dh1.to(low.dtype)
        rows = ctx.places.rows_buffer(dh1_low, dh1.shape[1])
        torch.mm(dh1_low, mixed, out=rows[:-1])
        dqkv = _attend_back(ctx.places, rows, read, (q, k, v, e, total))
        dx = dh1 + torch.mm(dqkv, joint) if need[0] else None
        pairs = ((dqkv, low), (dh1_low, read), (du, y), (dh2_low, a))
        return dx, None, None, *_linear_grads(pairs, need[3:]), gain1, shift1, gain2, shift2


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """[rows, out]; with oneDNN the bias is added while the product is written, not copied there before."""
    if _FUSED_BIAS:
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return found
    return torch.addmm(bias, x, weight.t())


def _linear_grads(
    pairs: tuple[tuple[torch.Tensor, torch.Tensor], ...], wanted: tuple[bool, ...]
) -> list[torch.Tensor | None]:
    """The gradients of weights and biases, from those of what came out and from what went in.

    The first pair is that of query, key and value together.
    """
    found: list[torch.Tensor | None] = []
    if any(wanted[:6]):
        weights, biases = _weight_grad(*pairs[0]).chunk(3), pairs[0][0].sum(0).float().chunk(3)
        found += [one for pair in zip(weights, biases, strict=True) for one in pair]
    else:
        found += [None] * 6
    for place, (grad, given) in zip((6, 8, 10), pairs[1:], strict=True):
        found.append(_weight_grad(grad, given) if wanted[place] else None)
        found.append(grad.sum(0).float() if wanted[place + 1] else None)
    return found


def _norm_back(grad: torch.Tensor, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The gradients of what was normed, of the gain and of the shift."""
    h, mean, deviation, gain, shift = given
    back = torch.ops.aten.native_layer_norm_backward
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = back(
        grad, h, [h.shape[1]], mean, deviation, gain, shift, [True, True, True]
    )
    return found


def _weight_grad(grad: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """[out, in] of fp32, from [rows, out] and [rows, in]."""
    size = len(grad) // max(round(len(grad) / _BLOCK), 1)
    found = torch.mm(grad[:size].t(), given[:size])
    for start in range(size, len(grad), size):
        found.addmm_(grad[start : start + size].t(), given[start : start + size])
    return found.float()


def _attend(places: _Places, rows: torch.Tensor, size: int) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Attention over queries, keys and values [rows + 1, 3 * hidden].

    Returns:
        What was read [rows, hidden], and what the way back needs: queries, keys, values with the columns, weights of
        attention before they are divided by their sums, and the sums.
    """
    q, k, plain = places.to_slots(rows, 3, size).unbind()
    v = nn.functional.pad(plain, (0, _COLUMNS))
    v[..., size : size + 2] = places.ones.unsqueeze(
        -1
    )  # the second one carries what the first rounds off, on the way back
    e = q.new_empty(*places.shape, places.shape[1])
    sums = torch.empty_like(v)
    for part in places.parts:
        _weigh(q[part], k[part], out=e[part])
        torch.bmm(e[part], v[part], out=sums[part])
    total = sums[..., size : size + 1].clone()
    if not _LEAST < float(total.amin()) <= float(total.amax()) < _MOST:
        _weigh(q, k, out=e, ones=places.ones)
        sums = torch.bmm(e, v)
        total = sums[..., size : size + 1].clone()
    slots, view = places.slots_buffer(rows, 1, size)
    torch.div(sums[..., :size], total, out=view[0])
    return places.to_rows(slots, 1), (q, k, v, e, total)


def _weigh(q: torch.Tensor, k: torch.Tensor, *, out: torch.Tensor, ones: torch.Tensor | None = None) -> None:
    """The weights of attention before they are divided by their sums; with ``ones``, after the highest is taken off."""
    scale = math.log2(math.e) / math.sqrt(q.shape[-1])
    scores = torch.baddbmm(q.new_empty(1), q, k.transpose(1, 2), beta=0, alpha=scale)
    if ones is not None:
        scores.masked_fill_(~ones.unsqueeze(1), -math.inf)
        scores -= scores.amax(-1, keepdim=True)
    torch.exp2(scores, out=out)


def _attend_back(
    places: _Places, rows: torch.Tensor, read: torch.Tensor, kept: tuple[torch.Tensor, ...]
) -> torch.Tensor:
    """The gradient of queries, keys and values [rows, 3 * hidden], from that of what was read [rows + 1, hidden]."""
    q, k, v, e, total = kept
    size = q.shape[-1]
    dot = places.rows_buffer(rows, places.heads)
    torch.sum((rows[:-1] * read).view(places.rows, places.heads, size), -1, out=dot[:-1])
    share = places.to_slots(rows, 1, size)[0] / total
    grad = nn.functional.pad(share, (0, _COLUMNS))
    whole = places.to_slots(dot, 1, 1)[0].float() / total.float()
    grad[..., size : size + 1] = -whole
    grad[..., size + 1 : size + 2] = -whole - grad[..., size : size + 1].float()
    slots, (dq, dk, dv) = places.slots_buffer(rows, 3, size)
    scale = 1 / math.sqrt(size)
    for part in places.parts:
        ds = torch.bmm(grad[part], v[part].transpose(1, 2)) * e[part]
        torch.baddbmm(dq[part], ds, k[part], beta=0, alpha=scale, out=dq[part])
        torch.baddbmm(dk[part], ds.transpose(1, 2), q[part], beta=0, alpha=scale, out=dk[part])
        torch.bmm(e[part].transpose(1, 2), share[part], out=dv[part])
    return places.to_rows(slots, 3)
