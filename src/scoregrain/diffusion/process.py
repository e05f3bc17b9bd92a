"""The forward process under any noise: levels, training, scores, terms of the bound (MATH B5-B7, B10-B12)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scoregrain._arguments import check_kind
from scoregrain._errors import InvalidInputError, nearest
from scoregrain.diffusion.divergences import noise_nll, posterior_coefficients
from scoregrain.diffusion.parameterization import Prediction, recover, target
from scoregrain.noise import ForwardNoise, Weight, White
from scoregrain.operators import Operator
from scoregrain.schedules import Schedule, noising_coefficients

if TYPE_CHECKING:
    from scoregrain.diffusion.likelihood import LogLikelihood

Model = Callable[[Tensor, Tensor], Tensor]
"""A network f(x_t, t): x_t (N, C, *space), t int64 (N,), steps of the schedule, 0 … T-1 whatever T is.

One with a table of 1000 levels, such as ``SigmaNetwork``, fits the schedule of 1000 steps its table is taken from.
"""

OMISSIONS = ("conditional", "marginal")
WEIGHTINGS = ("l2", "whitened")


class DiffusionProcess:
    """x_t = c_t x0 + s_t ε with ε = T ξ, the law that training, sampling, scores and likelihoods share.

    c and s are √ᾱ and σ for ``epsilon``, ``v_prediction`` and ``sample``; 1 - τ and τ = (t+1)/T for ``flow``; 1 and
    σ/√ᾱ for ``edm`` (MATH A2). A model is any callable f(x_t, t); one that returns an object with the array as its
    attribute ``sample``, as diffusers' do, or a tuple that starts with it, will do as well.

    Args:
        schedule: The noise levels.
        noise: Their colour, a noise or what makes one (``ForwardNoise.of``); white when left out.
        prediction: What the model's output means.
        omission: How a noise that leaves a band out is meant (MATH B12). ``conditional``: the model sees the band
            of x_t and learns the rest given it. ``marginal``: it sees the noised part alone. Neither restores the
            band: what comes out there is what the caller puts in. None, the default, refuses such a noise.

    Raises:
        InvalidInputError: When ``prediction`` or ``omission`` is unknown.
    """

    def __init__(
        self,
        schedule: Schedule,
        noise: ForwardNoise | Weight | Operator | str | None = None,
        prediction: str = "epsilon",
        omission: str | None = None,
    ) -> None:
        if omission is not None and omission not in OMISSIONS:
            raise InvalidInputError(
                f"unknown omission '{omission}'{nearest(omission, OMISSIONS)}; known: {', '.join(OMISSIONS)}"
            )
        if not isinstance(schedule, Schedule):
            raise InvalidInputError(f"expected a schedule such as linear_schedule(1000), got {type(schedule).__name__}")
        self.schedule = schedule
        self.noise = ForwardNoise(White()) if noise is None else ForwardNoise.of(noise)
        self.prediction = prediction
        self.omission = omission
        self.signal, self.sigma = noising_coefficients(schedule, prediction)
        clean = self.signal.new_tensor([[1.0], [0.0]])  # last, where the index -1 finds it
        self._levels = torch.cat((torch.stack((self.signal, self.sigma)), clean), dim=1)

    def __repr__(self) -> str:
        omission = "" if self.omission is None else f", omission={self.omission!r}"
        return (
            f"DiffusionProcess({self.schedule.name} of {self.num_steps} steps, {self.noise},"
            f" prediction={self.prediction!r}{omission})"
        )

    @property
    def num_steps(self) -> int:
        """The number of steps T."""
        return self.schedule.num_steps

    @property
    def start_sigma(self) -> float:
        """The standard deviation of the start x_T = start_sigma · T ξ: s_T for ``flow`` and ``edm``, else 1."""
        return self.sigma[-1].item() if self.prediction in ("flow", "edm") else 1.0

    def level(self, t: int) -> tuple[float, float]:
        """Return (c_t, s_t); t = -1 is the clean end, (1, 0).

        Raises:
            InvalidInputError: When t is outside the schedule.
        """
        if not -1 <= t < self.num_steps:
            raise InvalidInputError(f"step {t} is outside the schedule -1 … {self.num_steps - 1}")
        c, s = self._levels[:, t].tolist()
        return c, s

    # Forward ------------------------------------------------------------------------------------------

    def noised(
        self, x0: Tensor, t: Tensor | int, xi: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return x_t = c x0 + s ε and ε = T ξ, each like ``x0`` (N, C, *space).

        Args:
            x0: Clean arrays.
            t: Steps (N,), or one for all.
            xi: ξ, white, like ``x0``; drawn when left out.
            generator: Draws ξ.

        Raises:
            InvalidInputError: When a step is outside the schedule, or the noise or ``xi`` does not fit ``x0``.
        """
        return self._noised(x0, self.steps(t, x0), xi, generator)

    def _noised(
        self, x0: Tensor, steps: Tensor, xi: Tensor | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        c, s = self.coefficients(steps, x0)
        if xi is None:
            eps = self.noise.sample(x0.shape, generator, dtype=x0.dtype, device=x0.device)
        elif xi.shape == x0.shape:
            eps = self.noise.colour(xi).to(x0)
        else:
            raise InvalidInputError(f"xi must be like x0, {tuple(x0.shape)}, got {tuple(xi.shape)}")
        return (c * x0 + s * eps).to(x0.dtype), eps

    def marginal(self, x0: Tensor, t: int) -> tuple[Tensor, float]:
        """Return the mean c x0, like ``x0`` (N, C, *space), and the v = s² of q(x_t | x0) = N(mean, v Σ) (MATH B5).

        Raises:
            InvalidInputError: When t is outside the schedule; -1 is the clean end, v = 0.
        """
        c, s = self.level(t)
        return c * x0, s**2

    def check_shape(self, shape: Sequence[int]) -> None:
        """Fail where the noise does not fit arrays of ``shape`` = (C, *space), or leaves out a band unasked.

        Raises:
            InvalidInputError: In both cases, and when ``omission`` is set but nothing is omitted.
        """
        omits = self.noise.omits(shape)
        if omits and self.omission is None:
            lost = self.noise.operator(shape).size - self.noise.rank(shape)
            raise InvalidInputError(
                f"the noise {self.noise} leaves {lost} of {self.noise.operator(shape).size} dimensions without noise:"
                " choose omission='conditional' or 'marginal', or a noise of full support (dc=floor)"
            )
        if self.omission is not None and not omits:
            raise InvalidInputError(
                f"omission='{self.omission}' needs a noise that leaves a band out, {self.noise} none"
            )

    # Reading the model --------------------------------------------------------------------------------

    def predict(self, model: Model, x_t: Tensor, t: Tensor | int, null_content: Tensor | None = None) -> Prediction:
        """Return what the model says about ``x_t`` (N, C, *space): E[x0 | x_t] and E[ε | x_t].

        Args:
            model: f(x_t, t).
            x_t: Noised arrays.
            t: Steps (N,), or one for all.
            null_content: m, what the omitted band holds, if known; else it is read from ``x_t``. Only its part in
                the band counts.

        Raises:
            InvalidInputError: When a step is outside the schedule or the model's output has another shape.
        """
        steps = self.steps(t, x_t)
        c, s = self.coefficients(steps, x_t)
        seen = self._seen(x_t)
        prediction = recover(self.prediction, seen, self._ask(model, seen, steps), c, s)
        if self.omission is not None:
            if null_content is None:  # N x_t = c N x0 holds exactly; at c = 0 nothing of x0 is left
                null_content = torch.where(c > 0, x_t / c.clamp(min=torch.finfo(c.dtype).tiny), 0.0)
            band = null_content - self.noise.project(null_content)
            prediction = Prediction(self.noise.project(prediction.x0) + band, self.noise.project(prediction.eps))
        return Prediction(prediction.x0.to(x_t.dtype), prediction.eps.to(x_t.dtype))

    def convert(self, output: Tensor, x_t: Tensor, t: Tensor | int, prediction: str) -> Tensor:
        """Return a model's output in another parameterisation: what one trained for it would say of the same x_t (B10).

        Args:
            output: What the model said of ``x_t``, like it.
            x_t: Noised arrays (N, C, *space).
            t: Steps (N,), or one for all.
            prediction: The parameterisation wanted.

        Raises:
            InvalidInputError: When ``prediction`` is unknown, a step is outside the schedule or the shapes differ.
        """
        if output.shape != x_t.shape:
            raise InvalidInputError(f"the output must be like x_t, {tuple(x_t.shape)}, got {tuple(output.shape)}")
        c, s = self.coefficients(self.steps(t, x_t), x_t)
        said = recover(self.prediction, x_t, output, c, s)
        return target(prediction, said.x0, said.eps, c, s).to(output.dtype)

    def score(self, model: Model, x_t: Tensor, t: Tensor | int) -> Tensor:
        """Return the score -Σ⁺ E[ε | x_t] / s_t, like ``x_t`` (N, C, *space), on the range of Σ (MATH B6).

        Raises:
            InvalidInputError: As :meth:`predict`.
        """
        eps = self.predict(model, x_t, t).eps
        _, s = self.coefficients(self.steps(t, x_t), x_t)
        return (-self.noise.precision(eps.to(s.dtype)) / s).to(x_t.dtype)

    # Training -----------------------------------------------------------------------------------------

    def loss(
        self,
        model: Model,
        x0: Tensor,
        t: Tensor | int | None = None,
        xi: Tensor | None = None,
        generator: torch.Generator | None = None,
        weighting: str = "l2",
    ) -> Tensor:
        """Return the mean squared error of the model's output, a scalar that carries gradients.

        Args:
            model: f(x_t, t).
            x0: Clean arrays (N, C, *space).
            t: Steps (N,), or one for all; drawn uniformly when left out.
            xi: ξ, white, like ``x0``; drawn when left out.
            generator: Draws t, then ξ.
            weighting: ``l2``; or ``whitened``, ‖T⁻¹(o - ô)‖², the weighting of the variational bound, under which
                every noised direction counts alike (MATH B6). Both have the same minimiser.

        Raises:
            InvalidInputError: When ``weighting`` is unknown or as in :meth:`predict`.
        """
        if weighting not in WEIGHTINGS:
            raise InvalidInputError(
                f"unknown weighting '{weighting}'{nearest(weighting, WEIGHTINGS)}; known: {', '.join(WEIGHTINGS)}"
            )
        steps = self._drawn_steps(x0, generator) if t is None else self.steps(t, x0)
        x_t, eps = self._noised(x0, steps, xi, generator)
        c, s = self.coefficients(steps, x0)
        error = self._ask(model, self._seen(x_t), steps) - target(self.prediction, x0, eps, c, s)
        shaped = self.noise.whiten(error) if weighting == "whitened" else self.noise.project(error)
        return shaped.square().mean()

    # The variational bound ----------------------------------------------------------------------------

    def posterior(self, x0: Tensor, x_t: Tensor, t: int, s: int) -> tuple[Tensor, float]:
        """Return the mean, like ``x_t``, and the v of q(x_s | x_t, x0) = N(mean, v Σ) (MATH B7).

        Args:
            x0: Clean arrays (N, C, *space).
            x_t: Noised arrays, like ``x0``.
            t: Step of ``x_t``.
            s: Any step before t; at -1, the clean end, the law is x0 itself, v = 0.

        Raises:
            InvalidInputError: When not -1 ≤ s < t < T.
        """
        if not -1 <= s < t < self.num_steps:
            raise InvalidInputError(f"the posterior needs steps -1 ≤ s < t < {self.num_steps}, got s={s}, t={t}")
        (c_t, s_t), (c_s, s_s) = self.level(t), self.level(s)
        of_x0, of_x_t, variance = posterior_coefficients(c_t, s_t**2, c_s, s_s**2)
        return of_x0 * x0 + of_x_t * x_t, variance

    def prior_kl(self, x0: Tensor) -> Tensor:
        """Return KL(q(x_T | x0) ‖ N(0, start_sigma² Σ)) in nats, float64 (N,), for ``x0`` (N, C, *space) (MATH B11)."""
        self.check(x0)
        c, s = (level / self.start_sigma for level in self.level(self.num_steps - 1))
        rank = self.noise.rank(x0.shape[1:])
        return 0.5 * (rank * (s**2 - 1 - math.log(s**2)) + c**2 * self.noise.mahalanobis(x0))

    def step_kl(self, x0: Tensor, x0_hat: Tensor, t: int, s: int | None = None) -> Tensor:
        """Return KL(q(x_s | x_t, x0) ‖ q(x_s | x_t, x̂0)) in nats, float64 (N,) (MATH B11).

        It is ½ (c_s²/s_s² - c_t²/s_t²)(x0 - x̂0)ᵀΣ⁺(x0 - x̂0); log determinants cancel. Where c_t > 0, x0 - x̂0 =
        (s_t/c_t)(ε̂ - ε) gives the formula in ε.

        Args:
            x0: Clean arrays (N, C, *space).
            x0_hat: x̂0, like ``x0``: ``predict(...).x0``.
            t: The step x̂0 was predicted at.
            s: The step before it on the sampler's way; t - 1 when left out.

        Raises:
            InvalidInputError: When not 0 ≤ s < t < T; the last term of the bound is :meth:`decoder_nll`.
        """
        s = t - 1 if s is None else s
        if not 0 <= s < t < self.num_steps:
            raise InvalidInputError(
                f"a step's divergence needs steps 0 ≤ s < t < {self.num_steps}, got s={s}, t={t}"
                " (the last term of the bound is decoder_nll)"
            )
        (c_t, s_t), (c_s, s_s) = self.level(t), self.level(s)
        self.check(x0)
        return 0.5 * ((c_s / s_s) ** 2 - (c_t / s_t) ** 2) * self.noise.mahalanobis(x0.double() - x0_hat.double())

    def decoder_nll(self, x0: Tensor, x0_hat: Tensor) -> Tensor:
        """Return -log N(x0; x̂0, (s_0/c_0)² Σ) in nats, float64 (N,), on the range of Σ (MATH B11).

        The last term of the bound, x̂0 predicted at step 0; its width is what x_0 / c_0 says about x0.
        """
        self.check(x0)
        c, s = self.level(0)
        return noise_nll(self.noise, x0.double() - x0_hat.double(), s / c)

    def log_likelihood(
        self,
        model: Model,
        x: Tensor,
        steps: int | None = None,
        probes: int | None = None,
        generator: torch.Generator | None = None,
    ) -> LogLikelihood:
        """Return the log density the model gives to ``x``: :func:`scoregrain.diffusion.likelihood.log_likelihood`."""
        from scoregrain.diffusion.likelihood import log_likelihood

        return log_likelihood(self, model, x, steps, probes, generator)

    # Shared steps -------------------------------------------------------------------------------------

    def check(self, x: Tensor) -> None:
        """Fail unless ``x`` is a floating-point (N, C, *space) that the noise fits (see :meth:`check_shape`)."""
        check_kind(x, Tensor, "arrays")
        if not x.is_floating_point():
            raise InvalidInputError(f"arrays must be floating-point, got {x.dtype}: scale images to [-1, 1] first")
        self.check_shape(x.shape[1:])

    def steps(self, t: Tensor | int, x: Tensor, first: int = 0) -> Tensor:
        """Return t as int64 (N,) on the device of ``x`` (N, C, *space), both checked; ``first`` is the least step.

        Raises:
            InvalidInputError: When ``x`` does not fit the noise, or a step is no integer or outside first … T-1.
        """
        self.check(x)
        steps = torch.as_tensor(t)
        if steps.is_floating_point() or steps.dtype == torch.bool or steps.shape not in ((), (1,), (len(x),)):
            raise InvalidInputError(
                f"steps are integers, one or one for each of the {len(x)} arrays, got {steps.dtype} of shape"
                f" {tuple(steps.shape)}"
            )
        if not torch.compiler.is_compiling():  # a graph would break here: it does not know the numbers
            outside = steps[(steps < first) | (steps >= self.num_steps)].flatten()
            if len(outside):
                raise InvalidInputError(f"step {outside[0]} is outside the schedule {first} … {self.num_steps - 1}")
        return steps.long().to(x.device).expand(len(x))

    def _drawn_steps(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw steps, int64 (N,) on the device of ``x``: right by construction, where a check would make a GPU wait."""
        self.check(x)
        device = x.device if generator is None else generator.device
        return torch.randint(self.num_steps, (len(x),), generator=generator, device=device).to(x.device)

    def coefficients(self, steps: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return c and s at steps (N,) from :meth:`steps`, shaped to multiply ``x`` (N, …), in float32 at least."""
        dtype = torch.promote_types(x.dtype, torch.float32)  # half precision would move every level by its rounding
        c, s = self._levels.to(dtype).to(x.device)[:, steps].view(2, -1, *[1] * (x.ndim - 1))
        return c, s

    def _ask(self, model: Model, x: Tensor, steps: Tensor) -> Tensor:
        """Return what the model says, which may be bound to a number of steps by its ``schedule_steps``."""
        known = getattr(model, "schedule_steps", self.num_steps)
        if known != self.num_steps:
            raise InvalidInputError(
                f"the model holds the levels of a schedule of {known} steps, this process has {self.num_steps}:"
                " it would be told the wrong level"
            )
        return array_of(model, x, steps)

    def _seen(self, x_t: Tensor) -> Tensor:
        """Return the part of ``x_t`` that the model is given."""
        return self.noise.project(x_t) if self.omission == "marginal" else x_t


def array_of(model: Model, x: Tensor, steps: Tensor) -> Tensor:
    """Return the one array a model gives, in whatever it is wrapped."""
    output: Any = model(x, steps)
    if isinstance(output, tuple) and output:
        output = output[0]
    output = getattr(output, "sample", output)  # diffusers' models wrap the array
    if not isinstance(output, Tensor) or output.shape != x.shape:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InvalidInputError(
            f"the model returned {got} for arrays {tuple(x.shape)}: it must return one array of the same"
            " shape (a model with learned variances: its first C channels)"
        )
    return output
