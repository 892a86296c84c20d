"""One line per step on a terminal."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from fieldfit.problem import Step


class ProgressLine:
    """An observer that writes one line per step.

    Args:
        stream: Where to write; default: standard output.
    """

    HEADER = "  step  evaluations        score    reduction    step norm   optimality   time"

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._begin = time.perf_counter()

    def __call__(self, step: Step) -> None:
        """Write a line about a step."""
        if step.iteration == 0:
            self._write(self.HEADER)
        moved = f"{2.0 * step.reduction:12.3e} {step.step_norm:12.3e}" if step.iteration else " " * 25
        mark = " " if step.is_accepted or step.iteration == 0 else "x"
        elapsed = time.perf_counter() - self._begin
        note = f"   {step.note}" if step.note else ""
        self._write(
            f"{step.iteration:5d}{mark} {step.n_evaluations:12d} {2.0 * step.cost:12.6g} {moved} "
            f"{step.optimality:12.3e} {elapsed:5.2f}s{note}"
        )

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()
