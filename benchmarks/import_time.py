"""What ``import scoregrain`` adds to ``import torch``: below 0.3 s. Fresh processes, in turn.

python -m benchmarks.import_time
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.common import report

CODE = "import time; import torch; t = time.perf_counter(); import scoregrain; print(time.perf_counter() - t)"


def main() -> None:
    seconds = [
        float(subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout)
        for _ in range(9)
    ]
    report("import_time", {"seconds_added_to_import_torch": statistics.median(seconds), "worst": max(seconds)})


if __name__ == "__main__":
    main()
