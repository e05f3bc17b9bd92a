"""Runs of a fraction of a second, for the commands that take one."""

from scoregrain.models import NetworkFamily
from scoregrain.training import TrainConfig, train
from tests.networks import Tiny

SMALL = {"timesteps": 50, "steps": 3, "batch_size": 8, "limit": 60, "device": "cpu", "log_every": 1}


def plain_run(folder, **changes):
    """A linear map on a rank-one law; the folder."""
    settings = SMALL | {"model": "linear-16", "data": "rank-one:basis=dct-ii,index=3"} | changes
    return train(TrainConfig(**settings, out=folder), progress=False).folder


def own_run(folder):
    """A network of the user's own on digits of 6×6 pixels."""
    family = NetworkFamily(Tiny, (1, 6, 6), name="tests.networks:Tiny", config={"build": "tests.networks:Tiny"})
    return train(TrainConfig(**SMALL, model=family, data="digits", out=folder), progress=False).folder
