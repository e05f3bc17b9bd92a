"""The ``scoregrain`` command."""

from scoregrain.cli.main import main

__all__ = ["main"]
