"""The benchmark's sets of problems by name."""

from __future__ import annotations

import more_wild
import multimodal
import nist
import problems

LEAST_SQUARES = {"more-wild": more_wild.PROBLEMS, "mgh": problems.ALL, "nist": nist.PROBLEMS}
"""Sums of squares: set name to problems."""

SCALAR = {"multimodal": multimodal.PROBLEMS}
"""Scalar functions: set name to problems."""

SETS = {**LEAST_SQUARES, **SCALAR}
"""All sets."""


def find_problem(set_name: str, name: str) -> problems.TestProblem | multimodal.ScalarProblem:
    """Return the problem of that name."""
    return next(entry for entry in SETS[set_name] if entry.name == name)
