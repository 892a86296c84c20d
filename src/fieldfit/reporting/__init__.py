"""What we show: progress on a terminal, calibration of timings."""

from fieldfit.reporting.progress import ProgressLine

__all__ = ["ProgressLine"]
