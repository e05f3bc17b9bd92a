"""Small networks for the tests: what a user might bring."""

import torch
from torch import nn


class Tiny(nn.Module):
    """Four convolutions with SiLU on one channel or more; a time embedding on request."""

    def __init__(self, channels=1, width=6, timed=False):
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.middle = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        self.time = nn.Linear(2, width) if timed else None

    def forward(self, x, t):
        h = self.first(x)
        if self.time is not None:
            phase = t[:, None] / 200
            h = h + 2 * self.time(torch.cat([phase.cos(), phase.sin()], dim=1))[:, :, None, None]
        for layer in self.middle:
            h = layer(nn.functional.silu(h))
        return self.last(nn.functional.silu(h))


class ZeroHead(Tiny):
    """The last layer starts at zero, as in EDM or DiT."""

    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)


class WrongShape(Tiny):
    """Returns two channels for one."""

    def forward(self, x, t):
        return super().forward(x, t).repeat(1, 2, 1, 1)


class Branching(Tiny):
    """Python control flow on values: vmap cannot run it."""

    def forward(self, x, t):
        h = super().forward(x, t)
        return h if float(h.sum()) == float("inf") else 1 * h


class NotFinite(Tiny):
    """Overflows."""

    def forward(self, x, t):
        return super().forward(x, t) / torch.zeros(())


class Raises(Tiny):
    """Fails in its forward pass."""

    def forward(self, x, t):
        raise RuntimeError("expected 3 channels")


class NoParameters(nn.Module):
    """The identity."""

    def forward(self, x, t):
        return x


_SHARED = Tiny()


def same_again():
    """The same network at every call."""
    return _SHARED


def fails_to_build():
    """A constructor that raises."""
    raise KeyError("width")
