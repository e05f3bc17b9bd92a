"""Find a network's last layer and the linear map behind it in its real graph, and verify both by running it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from scoregrain._random import stream
from scoregrain.geometry.head import ConvHead, DenseTailHead, Head, TokenHead
from scoregrain.geometry.layer_run import (
    LayerRun,
    NoHeadError,
    in_float64,
    layer_calls,
    output_given,
    tolerance,
)
from scoregrain.geometry.structure import ChannelStructure, Structure, TokenStructure
from scoregrain.geometry.tail import DenseMap, LevelScale, Selection, Tail, fit_scale
from scoregrain.models import InitLaws, last_layer

MAX_DENSE = 4096
LOUDER = -1000.0
ROWS = 256


def find_head(network: nn.Module, other: nn.Module, shape: tuple[int, ...], laws: InitLaws) -> tuple[Head | None, str]:
    """Find the last layer and verify that it is a head; return it with its tail, or None and why not.

    Verified by running the network: the layer runs last and once, on one sample a sample of the batch; it computes
    what a layer of its kind does; its weights act nowhere else; and the output is
    ``offset(x, t) + s(t) Q o`` of the layer's output o, by superposition, for random o of two sizes, zero and random
    x and several t, with the same s and Q in another network. The laws of the weights must be known, with zero mean.

    Where Q picks entries of o (permutations, learned-σ outputs cut to C channels, cropping) the geometry keeps its
    Kronecker form; any other Q (up-sampling, a fixed linear layer) is extracted as a matrix up to 4096 × 4096.

    Args:
        network: one network of the family.
        other: another one.
        shape: ``(C, *space)``.
        laws: what is known of the family's initialisation.
    """
    name = last_layer(network, shape)
    if name is None:
        return None, "no linear or convolutional layer runs in the forward pass"
    module = network.get_submodule(name)
    try:
        if not DenseTailHead.matches(module):
            raise NoHeadError(f"a grouped {type(module).__name__} has no closed form here")
        variances = _variances(network, name, module, laws)
        run = LayerRun(network, name, shape)
        run.check_layer()
        tail = _find_tail(run, LayerRun(other, name, shape))
        head = _bind(name, module, tuple(run.o.shape[1:]), tail.mapping, shape, variances)
    except NoHeadError as reason:
        return None, f"last layer {name}: {reason}"
    head.tail = tail
    return head, ""


def contradiction(head: Head, network: nn.Module, x: Tensor, t: Tensor) -> str:
    """Why what follows a head is not what :func:`find_head` found at a few inputs and levels; empty where it is.

    Args:
        head: what :func:`find_head` found.
        network: a network of the family.
        x: other inputs ``(N, *shape)``: those of a measurement.
        t: the levels that the network is told with them, ``(N,)``.
    """
    network = network if next(network.parameters()).dtype.itemsize > 2 else in_float64(network, tuple(x.shape[1:]))
    x, tail, what = x.to(next(network.parameters())), head.tail, f"last layer {head.layer}:"
    o = layer_calls(network, head.layer, x[:1], t[:1])[-1][1]
    random = (
        torch.randn(o.shape, generator=stream(0, "tail-check"), dtype=torch.float64).to(o).expand(len(x), *o.shape[1:])
    )
    with torch.no_grad():
        offset = output_given(network, head.layer, torch.zeros_like(random), x, t)
        change = output_given(network, head.layer, random, x, t) - offset
    if offset.any() and not (tail.offset_elsewhere if x.any() else tail.offset_at_zero):
        return f"{what} something is added to its output at some inputs or noise levels only"
    placed, slack = tail.place(random), tolerance(x) * (change.norm(dim=1) + offset.norm(dim=1))
    if not bool((fit_scale(change, placed)[1] <= slack).all()):
        return f"{what} the map behind it changes with the input or the noise level by more than a factor"
    if not bool(((change - tail.scale(t)[:, None].to(placed) * placed).norm(dim=1) <= slack).all()):
        return f"{what} the factor behind it is another one at some inputs or noise levels"
    return ""


def _variances(network: nn.Module, name: str, module: nn.Module, laws: InitLaws) -> tuple[float, float]:
    """(v_w, v_b) from the verified laws of the layer."""
    used = [id(p) for _, p in network.named_parameters(remove_duplicate=False)]
    if any(used.count(id(p)) > 1 for p in module.parameters()):
        raise NoHeadError("its parameters are shared with another layer")
    weight, bias = laws.tensors.get(f"{name}.weight"), laws.tensors.get(f"{name}.bias")
    if weight is None or not weight.random:
        raise NoHeadError("the law of its weights is not a known one with zero mean")
    if getattr(module, "bias", None) is None:
        return weight.variance, 0.0
    if bias is None or not (bias.random or bias.is_zero):
        raise NoHeadError("the law of its bias is not a known one with zero mean")
    return weight.variance, bias.variance


# what follows it ------------------------------------------------------------------------------------------------


def _find_tail(run: LayerRun, other: LayerRun) -> Tail:
    """``offset``, ``s`` and ``Q`` of ``out = offset + s Q o``, verified by superposition."""
    rounding = tolerance(run.x)
    offset, offset_other = run.given(torch.zeros_like(run.o)), other.given(torch.zeros_like(other.o))
    change = run.given(run.random) - offset
    louder = run.given(LOUDER * run.random) - offset
    slack = rounding * (change.norm(dim=1) + offset.norm(dim=1))
    if not bool(((louder - LOUDER * change).norm(dim=1) <= abs(LOUDER) * slack).all()):
        raise NoHeadError("what follows it is not linear in its output")
    if not change.any():
        raise NoHeadError("the network's output does not depend on it")
    mapping = _selection(run, offset, change) or _dense(run, int(change.norm(dim=1).argmax()))
    scale, error = fit_scale(change, mapping(run.random))
    alike = abs(float(scale[0] - scale[1])) <= rounding * float(scale.abs().max())  # equal t, different x
    if not alike or not bool((error <= slack).all()):
        raise NoHeadError("the map behind it is not one matrix times a factor of the noise level")
    change_other = other.given(other.random) - offset_other
    distance = (change_other - scale[:, None] * mapping(other.random)).norm(dim=1)
    if not bool((distance <= slack + rounding * offset_other.norm(dim=1)).all()):
        raise NoHeadError("the map behind it differs from network to network")
    offsets, constant = torch.stack([offset, offset_other]), _constant(scale, rounding)
    return Tail(
        mapping,
        constant,
        offset_at_zero=bool(offsets[:, ::2].any()),
        offset_elsewhere=bool(offsets[:, 1::2].any()),
        level_scale=None if constant else LevelScale(run.network, run.layer, run.shape, mapping, run.o[0]),
    )


def _constant(scale: Tensor, rounding: float) -> float | None:
    """The factor common to all levels, None without one; 1 exactly where rounding alone differs from it."""
    if not bool(((scale - scale[0]).abs() <= rounding * scale.abs().max()).all()):
        return None
    return 1.0 if abs(float(scale[0]) - 1) <= rounding else float(scale.mean())


def _selection(run: LayerRun, offset: Tensor, change: Tensor) -> Selection | None:
    """Which entry of the layer lands where, if each output entry is one of them times a common factor."""
    size = run.o[0].numel()
    ones = run.given(torch.ones_like(run.o)) - offset
    ramp = run.given(torch.arange(size).to(run.o).expand(len(run.o), size).reshape(run.o.shape)) - offset
    best = int(ones.abs().amin(1).argmax())
    if not ones[best].all():
        return None
    source = (ramp[best] / ones[best].mean()).round().cpu()
    if not bool(((source >= 0) & (source < size)).all()) or len(torch.unique(source)) < len(source):
        return None
    selection = Selection(source.long())
    _, error = fit_scale(change, selection(run.random))
    return selection if float(error[best]) <= tolerance(run.x) * float(change[best].norm()) else None


def _dense(run: LayerRun, best: int) -> DenseMap:
    """The matrix behind the layer at one input: the Jacobian of the output with respect to the layer's."""
    d, size = run.x[0].numel(), run.o[0].numel()
    _check_dense(d, size)
    here = slice(best, best + 1)
    with torch.enable_grad():
        o = torch.zeros_like(run.o[here]).requires_grad_()
        output = output_given(run.network, run.layer, o, run.x[here], run.t[here])[0]
        parts = torch.eye(d, dtype=output.dtype, device=output.device).chunk(-(-d // ROWS))
        try:
            rows = [torch.autograd.grad(output, o, p, is_grads_batched=True, retain_graph=True)[0] for p in parts]
        except RuntimeError as error:
            raise NoHeadError("what follows it mixes its entries and cannot be differentiated") from error
    return DenseMap(torch.cat(rows).reshape(d, size).double().cpu())


def _check_dense(d: int, size: int) -> None:
    if max(d, size) > MAX_DENSE:
        raise NoHeadError(f"what follows it mixes its entries, and D = {d} or its output, {size}, exceeds {MAX_DENSE}")


# the head -------------------------------------------------------------------------------------------------------


def _bind(
    name: str,
    module: nn.Module,
    layer_shape: tuple[int, ...],
    mapping: Selection | DenseMap,
    shape: tuple[int, ...],
    variances: tuple[float, float],
) -> Head:
    """The head of a layer with output ``layer_shape`` and the map Q behind it."""
    size, conv = math.prod(layer_shape), ConvHead.matches(module)
    # entries of one unit (pixel or token) have iid weights of their own; all units share them
    units = math.prod(layer_shape[1:] if conv else layer_shape[:-1])

    def head(structure: Structure, kept: Tensor | None = None) -> Head:
        kept = None if kept is None or torch.equal(kept, torch.arange(units)) else kept
        if conv:
            return ConvHead(name, module, layer_shape[1:], structure, *variances, kept)
        return TokenHead(name, structure, *variances, kept)

    if isinstance(mapping, Selection):
        source = mapping.source
        unit, replicate = (
            (source % units, source // units) if conv else (source // (size // units), source % (size // units))
        )
        if conv and (pixels := _whole_channels(unit, replicate, shape)) is not None:
            return head(ChannelStructure(shape), pixels)
        if (tokens := _tokens(unit, replicate, shape)) is not None:
            return head(*tokens)
        _check_dense(len(source), size)
        mapping = DenseMap(mapping.dense(size))
    whole = ChannelStructure(layer_shape) if conv else TokenStructure((1, size), units, torch.arange(size))
    return DenseTailHead(head(whole), mapping.matrix, shape)


def _whole_channels(unit: Tensor, replicate: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """The pixels of the layer behind the output's, if every output channel is one of the layer's at those pixels."""
    units, replicates = unit.reshape(shape[0], -1), replicate.reshape(shape[0], -1)
    whole = bool((units == units[0]).all() and (replicates == replicates[:, :1]).all())
    return units[0] if whole else None


def _tokens(unit: Tensor, replicate: Tensor, shape: tuple[int, ...]) -> tuple[TokenStructure, Tensor] | None:
    """Structure and kept tokens, if the same entries of every token that is kept reach the output."""
    kept = torch.unique(unit)
    if len(unit) % len(kept):
        return None
    order = (unit * (int(replicate.max()) + 1) + replicate).argsort()
    units, replicates = unit[order].reshape(len(kept), -1), replicate[order].reshape(len(kept), -1)
    if not bool((units == kept[:, None]).all() and (replicates == replicates[0]).all()):
        return None
    return TokenStructure(shape, len(kept), order), kept
