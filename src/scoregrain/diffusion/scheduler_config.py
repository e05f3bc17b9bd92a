"""The configuration of a shaped scheduler: every stock ``from_config`` refuses it, in memory and from disk.

diffusers drops what it does not know with a log line, so a stock class would read the configuration of a shaped
scheduler and sample white. Three entries stop it, from the clearest message to the widest net:

- in memory, the configuration itself explains when a stock class asks it for its defaults;
- ``beta_schedule`` reads ``shaped:linear``, which the classes with a β schedule do not know;
- an entry ``self``, the one argument that no class can be given twice, stops all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers.configuration_utils import FrozenDict

from scoregrain._errors import InvalidInputError
from scoregrain.noise import ForwardNoise
from scoregrain.noise.parsing import names_folder

PREFIX = "shaped:"
BARRIER = "self"


class ShapedConfig(FrozenDict):  # type: ignore[misc]
    """A diffusers configuration that only a shaped scheduler reads.

    Its items are what is saved; as the attribute ``beta_schedule`` it gives the name the stock code knows.
    """

    def get(self, key: str, default: Any = None) -> Any:
        """Return an entry; refuse the question with which every stock ``from_config`` begins."""
        if key == "_use_default_values":
            raise InvalidInputError(
                f"a stock scheduler would draw white noise where this configuration asks for {self['noise']}: use a"
                " shaped one, such as scoregrain.ShapedDDIMScheduler.from_config(scheduler.config)"
            )
        return super().get(key, default)


def shaped_config(values: Mapping[str, Any], noise: ForwardNoise, owner: str) -> ShapedConfig:
    """Return the configuration of a shaped scheduler.

    Args:
        values: The stock entries; shaped ones are made anew.
        noise: Its string becomes the entry ``noise``, itself the attribute ``forward_noise``.
        owner: The name of the scheduler's class.
    """
    schedule = values["beta_schedule"].removeprefix(PREFIX)
    config = ShapedConfig(
        {
            **values,
            "beta_schedule": PREFIX + schedule,
            "noise": str(noise),
            BARRIER: f"only a shaped scheduler draws this noise: scoregrain.{owner}.from_config",
            # a stock class leaves out what is listed here, the refused entry with it
            "_use_default_values": [key for key in values.get("_use_default_values", []) if key != "beta_schedule"],
        }
    )
    object.__setattr__(config, "beta_schedule", schedule)
    object.__setattr__(config, "forward_noise", noise)
    return config


def stock_entries(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration, stock or shaped, as a dictionary that ``from_config`` can read."""
    return {key: value for key, value in config.items() if key != BARRIER}


def named_noise(config: Mapping[str, Any]) -> str | None:
    """Return the string of the noise that a configuration names, if any.

    Raises:
        InvalidInputError: It is no string, or a path: a configuration may come from anywhere and points nowhere.
    """
    text = config.get("noise")
    if text is None or (isinstance(text, str) and not names_folder(text)):
        return text
    raise InvalidInputError(f"the configuration names the noise {text!r}: expected one such as power-law:alpha=-0.06")
