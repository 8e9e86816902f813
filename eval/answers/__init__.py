"""What a model answers: its reply read, its options scored, its place in the order discounted."""

from typing import TYPE_CHECKING

from presight.exports import lazy

if TYPE_CHECKING:
    from eval.answers.choices import Summary as Summary
    from eval.answers.choices import ask as ask
    from eval.answers.generation import generate as generate
    from eval.answers.multiple_choice import Choices as Choices
    from eval.answers.position import averaged as averaged
    from eval.answers.position import position_bias as position_bias
    from eval.answers.questions import Question as Question
    from eval.answers.questions import read_questions as read_questions
    from eval.answers.reading import Reading as Reading
    from eval.answers.reading import parse_choice as parse_choice
    from eval.answers.reading import read_choice as read_choice
    from eval.answers.scoring import Request as Request
    from eval.answers.scoring import Scorer as Scorer
    from eval.answers.scoring import Scores as Scores

__getattr__, __all__ = lazy(
    "eval.answers",
    {
        "Choices": "multiple_choice",
        "Question": "questions",
        "Reading": "reading",
        "Request": "scoring",
        "Scorer": "scoring",
        "Scores": "scoring",
        "Summary": "choices",
        "ask": "choices",
        "averaged": "position",
        "generate": "generation",
        "parse_choice": "reading",
        "position_bias": "position",
        "read_choice": "reading",
        "read_questions": "questions",
    },
)
