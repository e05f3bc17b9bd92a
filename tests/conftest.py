"""Settings shared by all tests."""

import torch

# the tests run in two processes on two cores: more threads would fight over them
torch.set_num_threads(1)
