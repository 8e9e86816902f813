"""Model in, measurement out: differences with their intervals, and the report."""

from typing import TYPE_CHECKING

from presight.exports import lazy

if TYPE_CHECKING:
    from eval.align import Align as Align
    from eval.compare import Compare as Compare
    from eval.report import Report as Report
    from eval.stats import Interval as Interval
    from eval.stats import PriorDelta as PriorDelta
    from eval.stats import crossed_interval as crossed_interval
    from eval.stats import minimum_detectable_effect as minimum_detectable_effect
    from eval.stats import paired_bootstrap as paired_bootstrap

__getattr__, __all__ = lazy(
    "eval",
    {
        "Align": "align",
        "Compare": "compare",
        "Interval": "stats",
        "PriorDelta": "stats",
        "Report": "report",
        "crossed_interval": "stats",
        "minimum_detectable_effect": "stats",
        "paired_bootstrap": "stats",
    },
)
