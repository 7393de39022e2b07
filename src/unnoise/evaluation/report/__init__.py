"""Pages that show what was measured: each is one file that opens anywhere, with no script and nothing to fetch."""

from unnoise.evaluation.report.comparison import write_comparison
from unnoise.evaluation.report.inspection import write_inspection

__all__ = ["write_comparison", "write_inspection"]
