"""The verdict and its sentence."""

from __future__ import annotations

import pytest

from scoregrain.align import Alignment


def result(
    of_chance: float,
    networks: float | None,
    images: float | None = 0.0,
    low: float = 0.03,
    high: float = 26.0,
) -> Alignment:
    error = None if networks is None or images is None else (networks**2 + images**2) ** 0.5
    return Alignment(
        natural=of_chance,
        error=error,
        minimum=low,
        minimum_error=error,
        maximum=high,
        maximum_error=error,
        haar_mean=1.0,
        haar_std=0.1,
        of_chance=of_chance,
        of_chance_error=error,
        error_networks=networks,
        error_images=images,
        of_chance_minimum=low,
        of_chance_maximum=high,
        relative=0.5,
    )


@pytest.mark.parametrize(
    ("of_chance", "error", "verdict"),
    [
        (8.5, 0.05, "against"),
        (0.4, 0.05, "with"),
        (1.09, 0.05, "neither"),
        (0.91, 0.05, "neither"),
        (1.11, 0.05, "against"),
        (0.89, 0.05, "with"),
        (1.001, 0.0, "against"),
        (0.999, 0.0, "with"),
        (1 + 4e-16, 0.0, "neither"),
        (1 - 4e-16, 1e-17, "neither"),
        (8.5, None, "undecided"),
    ],
)
def test_verdict(of_chance: float, error: float | None, verdict: str) -> None:
    assert result(of_chance, error).verdict == verdict


RANGE = "possible range 0.03 to 26"


@pytest.mark.parametrize(
    ("alignment", "sentence"),
    [
        (result(8.4963, 0.05), f"alignment 8.50 ± 0.05 times chance ({RANGE}): these data run against the grain"),
        (result(0.4137, 0.03, 0.04), f"alignment 0.41 ± 0.05 times chance ({RANGE}): these data run with the grain"),
        (
            result(1.02, 0.0123),
            f"alignment 1.020 ± 0.012 times chance ({RANGE}): these data run neither with nor against the grain",
        ),
        (
            result(8.4963, 0.0),
            f"alignment 8.496 times chance (exact; {RANGE}): these data run against the grain",
        ),
        (
            result(8.4963, None),
            f"alignment 8.5 times chance (error unknown: too few networks; {RANGE}): "
            "whether these data run with or against the grain is undecided",
        ),
    ],
)
def test_headline(alignment: Alignment, sentence: str) -> None:
    assert alignment.headline() == sentence


@pytest.mark.parametrize(
    ("networks", "images", "named"),
    [(None, 0.1, "networks;"), (0.1, None, "images;"), (None, None, "networks and images;")],
)
def test_headline_names_what_is_missing(networks: float | None, images: float | None, named: str) -> None:
    assert f"too few {named}" in result(2.0, networks, images).headline()


@pytest.mark.parametrize(
    ("of_chance", "error", "shown"),
    [
        (12.345, 0.096, "12.35 ± 0.10"),
        (12.345, 0.96, "12.3 ± 1.0"),
        (12.345, 0.2, "12.3 ± 0.2"),
        (12.345, 3.0, "12 ± 3"),
        (1234.5, 56.0, "1230 ± 60"),
        (1234.5, 15.0, "1234 ± 15"),
        (0.000123456, 0.0000017, "0.0001235 ± 0.0000017"),
    ],
)
def test_value_is_shown_to_the_place_of_its_error(of_chance: float, error: float, shown: str) -> None:
    assert f"alignment {shown} times" in result(of_chance, error).headline()


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(1e-19, 2345.6, "0 to 2300"), (0.00012345, 1.0, "0.00012 to 1"), (0.567, 99.9, "0.57 to 100")],
)
def test_range_has_two_digits(low: float, high: float, shown: str) -> None:
    assert f"possible range {shown})" in result(2.0, 0.1, low=low, high=high).headline()
