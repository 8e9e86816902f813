"""Statistics of measurement: intervals, tests, and what a design can see."""

from typing import TYPE_CHECKING

from presight.exports import lazy

if TYPE_CHECKING:
    from eval.stats.correlation import correlation_difference as correlation_difference
    from eval.stats.correlation import disattenuated as disattenuated
    from eval.stats.correlation import reliability as reliability
    from eval.stats.deltas import PriorDelta as PriorDelta
    from eval.stats.deltas import prior_delta as prior_delta
    from eval.stats.equivalence import seeds_needed as seeds_needed
    from eval.stats.exact import mcnemar as mcnemar
    from eval.stats.exact import sign_flip as sign_flip
    from eval.stats.exact import sign_test as sign_test
    from eval.stats.factors import factor_test as factor_test
    from eval.stats.intervals import crossed_bootstrap as crossed_bootstrap
    from eval.stats.intervals import crossed_interval as crossed_interval
    from eval.stats.intervals import mean_interval as mean_interval
    from eval.stats.intervals import minimum_detectable_effect as minimum_detectable_effect
    from eval.stats.intervals import paired_bootstrap as paired_bootstrap
    from eval.stats.intervals import paired_item_sd as paired_item_sd
    from eval.stats.margins import Interval as Interval
    from eval.stats.multiplicity import benjamini_hochberg as benjamini_hochberg
    from eval.stats.multiplicity import benjamini_yekutieli as benjamini_yekutieli
    from eval.stats.multiplicity import holm as holm
    from eval.stats.nested import nested_delta as nested_delta

__getattr__, __all__ = lazy(
    "eval.stats",
    {
        "Interval": "margins",
        "PriorDelta": "deltas",
        "benjamini_hochberg": "multiplicity",
        "benjamini_yekutieli": "multiplicity",
        "correlation_difference": "correlation",
        "crossed_bootstrap": "intervals",
        "crossed_interval": "intervals",
        "disattenuated": "correlation",
        "factor_test": "factors",
        "holm": "multiplicity",
        "mcnemar": "exact",
        "mean_interval": "intervals",
        "minimum_detectable_effect": "intervals",
        "nested_delta": "nested",
        "paired_bootstrap": "intervals",
        "paired_item_sd": "intervals",
        "prior_delta": "deltas",
        "reliability": "correlation",
        "seeds_needed": "equivalence",
        "sign_flip": "exact",
        "sign_test": "exact",
    },
)
