"""Every scheduler class of the installed diffusers, and how to make one."""

import inspect

import diffusers

REQUIRED = {"schedule_mode": "power", "noise_mode": "tan"}


def stock_schedulers():
    """Classes whose optional dependencies are missing are placeholders, not schedulers."""
    found = (getattr(diffusers, name, None) for name in dir(diffusers))
    base = diffusers.SchedulerMixin
    return sorted(
        (kind for kind in found if isinstance(kind, type) and issubclass(kind, base) and kind is not base),
        key=lambda kind: kind.__name__,
    )


def required_arguments(kind):
    """A value for each argument without a default."""
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    return {
        parameter.name: REQUIRED.get(parameter.name, 1)
        for parameter in parameters
        if parameter.default is inspect.Parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
