"""Settings shared by all tests."""

import os

import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks a hub

# the tests run in two processes on two cores: more threads would fight over them
torch.set_num_threads(1)
