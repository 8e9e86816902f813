"""Model in, measurement out: differences with their intervals, and the report."""

from typing import TYPE_CHECKING

from presight.exports import lazy

if TYPE_CHECKING:
    from eval.align import Align as Align
    from eval.answers import parse_choice as parse_choice
    from eval.answers import read_choice as read_choice
    from eval.bits import Bits as Bits
    from eval.choices import Summary as Summary
    from eval.choices import ask as ask
    from eval.compare import Compare as Compare
    from eval.language import Language as Language
    from eval.multiple_choice import Choices as Choices
    from eval.position import averaged as averaged
    from eval.position import position_bias as position_bias
    from eval.questions import Question as Question
    from eval.questions import read_questions as read_questions
    from eval.report import Report as Report
    from eval.scoring import Request as Request
    from eval.scoring import Scorer as Scorer
    from eval.scoring import Scores as Scores
    from eval.stats import Interval as Interval
    from eval.stats import PriorDelta as PriorDelta
    from eval.stats import crossed_interval as crossed_interval
    from eval.stats import minimum_detectable_effect as minimum_detectable_effect
    from eval.stats import paired_bootstrap as paired_bootstrap

__getattr__, __all__ = lazy(
    "eval",
    {
        "Align": "align",
        "Bits": "bits",
        "Choices": "multiple_choice",
        "Compare": "compare",
        "Interval": "stats",
        "Language": "language",
        "PriorDelta": "stats",
        "Question": "questions",
        "Report": "report",
        "Request": "scoring",
        "Scorer": "scoring",
        "Scores": "scoring",
        "Summary": "choices",
        "ask": "choices",
        "averaged": "position",
        "crossed_interval": "stats",
        "minimum_detectable_effect": "stats",
        "paired_bootstrap": "stats",
        "parse_choice": "answers",
        "position_bias": "position",
        "read_choice": "answers",
        "read_questions": "questions",
    },
)
