"""The steps a sampler visits when it takes fewer than the schedule has."""

from __future__ import annotations

from scoregrain._errors import InvalidInputError


def subsampled_steps(num_steps: int, count: int) -> list[int]:
    """Return t_i = ⌊(T-1)(S-1-i)/(S-1)⌋ for i = 0 … S-1, from T-1 down to 0 (MATH A9).

    Integers throughout: floating-point truncation gives other steps. A single step starts at T-1.

    Args:
        num_steps: T, the steps of the schedule.
        count: S, the steps wanted.

    Raises:
        InvalidInputError: When not 1 ≤ S ≤ T.

    Example:
        >>> subsampled_steps(1000, 7)
        [999, 832, 666, 499, 333, 166, 0]
    """
    if not 1 <= count <= num_steps:
        raise InvalidInputError(f"the number of steps must lie between 1 and {num_steps}, got {count}")
    if count == 1:
        return [num_steps - 1]
    return [(num_steps - 1) * (count - 1 - i) // (count - 1) for i in range(count)]
