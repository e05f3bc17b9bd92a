"""What torchrun's environment variables mean."""

import pytest

from scoregrain.cli.ranks import is_leading, own_device, world_size


@pytest.fixture
def environment(monkeypatch):
    def put(**variables):
        for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize("variables", [{}, {"WORLD_SIZE": "1", "RANK": "0"}, {"RANK": "3"}, {"WORLD_SIZE": "many"}])
def test_one_process_leads_and_uses_the_device_it_is_given(environment, variables):
    environment(**variables, LOCAL_RANK="3")
    assert (world_size(), is_leading()) == (1, True)
    assert own_device("cuda") == "cuda"


def test_of_several_the_first_leads_and_each_has_a_card(environment):
    environment(WORLD_SIZE="4", RANK="0", LOCAL_RANK="0")
    assert (world_size(), is_leading(), own_device("cuda")) == (4, True, "cuda:0")
    environment(WORLD_SIZE="4", RANK="3", LOCAL_RANK="1")
    assert (world_size(), is_leading(), own_device("cuda")) == (4, False, "cuda:1")
    assert [own_device(device) for device in (None, "cpu", "cuda:5")] == [None, "cpu", "cuda:5"]
