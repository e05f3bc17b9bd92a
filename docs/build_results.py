"""Write what docs/results says of the studies from their stored rows: ``make results``.

Of every complete study in ``docs/results/studies`` the page, the findings and the figure are written anew by today's
code, and the overview in ``docs/results/README.md`` between its two marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scoregrain.studies.page import overview
from scoregrain.studies.runner import Outcome, conclude, load_study
from scoregrain.studies.store import CONFIG

RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- what follows is written by make results -->", "<!-- up to here -->"


def stored(results: Path) -> list[Outcome]:
    """All studies below ``results/studies``, complete or not."""
    return [load_study(config.parent) for config in sorted(results.glob(f"studies/*/{CONFIG}"))]


def with_overview(text: str, outcomes: Sequence[Outcome]) -> str:
    """The results page with the overview of these studies between its marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"the results page has lost its marks, '{BEGIN}' and '{END}': put them back")
    return f"{before}{begin}\n\n{overview(outcomes)}\n{end}{after}"


def build(results: Path) -> None:
    """Write all pages below a folder."""
    outcomes = stored(results)
    for each in outcomes:
        if each.complete:
            conclude(each)
    readme = results / "README.md"
    readme.write_text(with_overview(readme.read_text(), outcomes))


if __name__ == "__main__":
    build(RESULTS)
