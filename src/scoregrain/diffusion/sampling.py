"""Draw samples: one function for every sampler, model and noise (MATH A9, B7, B12)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from scoregrain._arguments import check_kind, shown, whole
from scoregrain._errors import InvalidInputError, nearest
from scoregrain.diffusion.ddim import DDIM
from scoregrain.diffusion.dpm_solver import DPMSolverPP
from scoregrain.diffusion.euler import FlowEuler
from scoregrain.diffusion.heun import Heun
from scoregrain.diffusion.infer import infer_device, infer_dtype, infer_shape
from scoregrain.diffusion.process import DiffusionProcess, Model
from scoregrain.diffusion.sampler import Sampler, SamplerState, SamplingRun
from scoregrain.operators.base import check_shape
from scoregrain.schedules import subsampled_steps

SAMPLERS: dict[str, Sampler] = {
    "ddpm": DDIM(eta=1.0),
    "ddim": DDIM(eta=0.0),
    "heun": Heun(),
    "dpm-solver++": DPMSolverPP(),
    "euler": FlowEuler(),
}


def sample(
    model: Model,
    process: DiffusionProcess,
    n: int,
    shape: Sequence[int] | None = None,
    sampler: str | Sampler = "ddim",
    steps: int = 50,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    null_content: Tensor | None = None,
    clip: tuple[float, float] | None = None,
    batch_size: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> Tensor:
    """Draw ``n`` samples: x_T = T ξ, the sampler's steps down to t = 0, then x̂0; (n, C, *space).

    Runs under ``torch.no_grad()`` and leaves the model in the mode it is in: call ``model.eval()`` first where that
    matters (dropout, batch normalisation). Memory does not grow with ``steps``.

    Args:
        model: f(x_t, t).
        process: The law to reverse: schedule, noise, prediction, omission.
        n: How many.
        shape: (C, *space). May be left out when the model has it as ``shape`` or in a diffusers ``config``, or when
            the noise was built for one shape.
        sampler: ``ddpm``, ``ddim``, ``heun``, ``dpm-solver++``, ``euler`` (flows only), or a :class:`Sampler`.
        steps: S, how many steps of the schedule to visit (MATH A9); all of them when S = T.
        generator: Draws every ξ. One for all, or one for each sample: then a sample depends on its own alone, not
            on ``n`` or ``batch_size``. With one for all it depends on both. A CPU generator draws the same numbers
            for every device.
        null_content: m, (C, *space) or (n, C, *space): what the band holds that the noise omits; zero when left out.
            Only its part in the band counts; the samples hold exactly that (MATH B12).
        clip: Holds every x̂0 to (low, high). It shifts the law; meant for images of that range.
        batch_size: How many at a time; all at once when left out.
        dtype: By default that of the model's parameters, else torch's default.
        device: By default that of the model's parameters, else the generator's.
        progress: Show a bar, on a terminal only.

    Raises:
        InvalidInputError: When an argument is not as described, or the noise does not fit the shape.
        ScoregrainError: When the model's output is not finite; names the step.

    Example:
        >>> import scoregrain as sg
        >>> process = sg.DiffusionProcess(sg.linear_schedule(1000))
        >>> exact = lambda x, t: x * process.sigma[t].view(-1, 1, 1).to(x)  # for white Gaussian data of variance 1
        >>> generator = torch.Generator().manual_seed(0)
        >>> samples = sg.sample(exact, process, 500, shape=(1, 16), sampler="heun", steps=20, generator=generator)
        >>> round(samples.std().item(), 2)
        1.0
    """
    check_kind(process, DiffusionProcess, "process")
    method = find_sampler(sampler)
    shape = check_shape(infer_shape(model, process) if shape is None else shape)
    process.check_shape(shape)
    visited = [*subsampled_steps(process.num_steps, whole(steps, "the number of steps")), -1]
    n = whole(n, "the number of samples", least=1)
    size = n if batch_size is None else whole(batch_size, "the batch size", least=1)
    _check_generators(generator, n)
    _check_clip(clip, process)
    like = torch.empty(0, dtype=dtype or infer_dtype(model), device=device or infer_device(model, generator))
    content = _omitted_content(process, null_content, (n, *shape), like)
    batches = []
    with torch.no_grad(), _bar(-(-n // size) * (len(visited) - 1), progress) as update:
        for part in (slice(first, min(first + size, n)) for first in range(0, n, size)):
            drawn_by = generator[part] if isinstance(generator, Sequence) else generator
            run = SamplingRun(model, process, drawn_by, None if content is None else content[part], clip)
            batches.append(_reverse(run, method, visited, (part.stop - part.start, *shape), like, update))
    return torch.cat(batches)


def find_sampler(sampler: str | Sampler) -> Sampler:
    """Return the sampler of this name, or the one given.

    Raises:
        InvalidInputError: When the name is unknown, or it is a class instead of an instance.
    """
    if isinstance(sampler, Sampler):
        return sampler
    _refuse_class(sampler)
    check_kind(sampler, str | Sampler, "sampler")
    if sampler not in SAMPLERS:
        raise InvalidInputError(
            f"unknown sampler '{sampler}'{nearest(sampler, SAMPLERS)}; known: {', '.join(SAMPLERS)}"
        )
    return SAMPLERS[sampler]


def _refuse_class(sampler: object) -> None:
    if isinstance(sampler, type):
        raise InvalidInputError(f"the sampler {sampler.__name__} is a class: give an instance, {sampler.__name__}()")


def _reverse(
    run: SamplingRun,
    method: Sampler,
    visited: Sequence[int],
    shape: tuple[int, ...],
    like: Tensor,
    update: Callable[[], object],
) -> Tensor:
    state = _start(run, shape, like)
    for t, s in pairwise(visited):
        state = method.step(state, t, s)
        if not isinstance(state, SamplerState):
            raise InvalidInputError(
                f"{type(method).__name__}.step must return state.advance(x), got {type(state).__name__}"
            )
        update()
    if run.null_content is None:
        return state.x
    return run.process.noise.project(state.x) + run.null_content


def _start(run: SamplingRun, shape: tuple[int, ...], like: Tensor) -> SamplerState:
    """Return x_T = s_T T ξ + c_T m."""
    process = run.process
    x = process.start_sigma * process.noise.sample(shape, run.generator, like.dtype, like.device)
    if run.null_content is not None:
        x = x + process.level(process.num_steps - 1)[0] * run.null_content
    return SamplerState(run, x)


def _omitted_content(
    process: DiffusionProcess, null_content: Tensor | None, shape: tuple[int, ...], like: Tensor
) -> Tensor | None:
    """Return m, ``shape``, nothing but its part in the omitted band; None where nothing is omitted."""
    if process.omission is None:
        if null_content is not None:
            raise InvalidInputError(
                "null_content is what an omitted band holds, and this process omits none: leave it out, or set omission"
            )
        return None
    if null_content is None:
        null_content = like.new_zeros(shape[1:])
    check_kind(null_content, Tensor, "null_content")
    content = null_content.to(like)
    if tuple(content.shape) not in (shape, shape[1:]):
        raise InvalidInputError(f"null_content must have the shape {shape[1:]} or {shape}, got {tuple(content.shape)}")
    if not bool(content.isfinite().all()):
        raise InvalidInputError("null_content holds infinite or NaN values")
    content = content if tuple(content.shape) == shape else content[None]
    return (content - process.noise.project(content)).expand(shape)


def _check_generators(generator: object, n: int) -> None:
    if generator is None or isinstance(generator, torch.Generator):
        return
    if not isinstance(generator, Sequence) or not all(isinstance(each, torch.Generator) for each in generator):
        raise InvalidInputError(
            f"generator must be a torch.Generator or a list of them, got {shown(generator)}:"
            " torch.Generator().manual_seed(0) makes one"
        )
    if len(generator) != n:
        raise InvalidInputError(f"expected one generator or {n} of them, one for each sample, got {len(generator)}")


def _check_clip(clip: Any, process: DiffusionProcess) -> None:
    if clip is None:
        return
    pair = isinstance(clip, Sequence) and len(clip) == 2 and all(isinstance(end, Real) for end in clip)
    if not pair or not clip[0] < clip[1]:
        raise InvalidInputError(f"clip must be (low, high), numbers with low < high, got {shown(clip)}")
    if process.omission is not None:
        raise InvalidInputError("clip would change what the omitted band holds: leave it out and clamp the samples")


@contextmanager
def _bar(total: int, shown: bool) -> Iterator[Callable[[], object]]:
    from tqdm import tqdm

    with tqdm(total=total, unit=" step", disable=None if shown else True, leave=False, delay=1.0) as bar:
        yield bar.update
