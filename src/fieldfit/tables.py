"""Tables of text for a terminal or for the documentation."""

from __future__ import annotations

from collections.abc import Sequence


def write_table(rows: Sequence[Sequence[str]], *, markdown: bool = False) -> str:
    """Write a table.

    Args:
        rows: Cells, the first row being the heads; all rows of the same length.
        markdown: Whether to write Markdown rather than aligned columns.
    """
    if markdown:
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
