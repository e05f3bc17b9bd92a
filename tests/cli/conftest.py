"""Every test runs in an empty folder of its own, and leaves the interpreter as it found it."""

import sys

import numpy as np
import pytest

from tests.cli.command import Command


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working directory of the command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the command puts the user's folders there
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delenv("SCOREGRAIN_DEBUG", raising=False)
    return tmp_path


@pytest.fixture
def command(capsys, folder):
    return Command(capsys, folder)


@pytest.fixture
def images(folder):
    """Twenty grey images of 6×6 pixels, 0..255, in images.npz."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 1, 6, 6), dtype=np.uint8)
    np.savez(folder / "images.npz", train=pixels)
    return pixels
