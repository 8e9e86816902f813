"""Model in, measurement out: differences with their intervals, and the report."""

from typing import TYPE_CHECKING

from presight.exports import lazy

if TYPE_CHECKING:
    from eval.alignment.align import Align as Align
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
    from eval.batching import TokenBudget as TokenBudget
    from eval.compare import Compare as Compare
    from eval.fractions import Fractions as Fractions
    from eval.ladder import Ladder as Ladder
    from eval.language.bits import Bits as Bits
    from eval.language.language import Language as Language
    from eval.probe.emerge import Emergence as Emergence
    from eval.probe.milestone import Milestone as Milestone
    from eval.probe.probing import Probe as Probe
    from eval.report.report import Report as Report
    from eval.response.feasible import Feasible as Feasible
    from eval.response.landscape import Landscape as Landscape
    from eval.response.mixing_law import MixingLaw as MixingLaw
    from eval.response.mixing_law import Proxies as Proxies
    from eval.response.mixing_law import fit_law as fit_law
    from eval.response.optimum import Optimum as Optimum
    from eval.response.optimum import optimum as optimum
    from eval.response.proposals import Proposal as Proposal
    from eval.response.proposals import propose as propose
    from eval.response.replicates import Runs as Runs
    from eval.response.response import Response as Response
    from eval.response.response import respond as respond
    from eval.response.surface import Surface as Surface
    from eval.response.surface import fit as fit
    from eval.response.surface import leave_one_out as leave_one_out
    from eval.stats.correlation import correlation as correlation
    from eval.stats.correlation import correlation_difference as correlation_difference
    from eval.stats.correlation import disattenuated as disattenuated
    from eval.stats.correlation import reliability as reliability
    from eval.stats.deltas import PriorDelta as PriorDelta
    from eval.stats.deltas import prior_delta as prior_delta
    from eval.stats.equivalence import equivalence as equivalence
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
    from eval.structure import Structure as Structure
    from eval.vision.ask import Ask as Ask
    from eval.vision.benchmarks import Benchmark as Benchmark
    from eval.vision.blindness import Blindness as Blindness
    from eval.vision.existence import Existence as Existence
    from eval.vision.foreign import Foreign as Foreign
    from eval.vision.groups import Groups as Groups
    from eval.vision.traces import Traces as Traces
    from eval.world.captions import Captions as Captions
    from eval.world.captions import Instructions as Instructions
    from eval.world.questions import SceneQuestions as SceneQuestions
    from eval.world.sounds import SoundWorld as SoundWorld
    from eval.world.world import World as World

__getattr__, __all__ = lazy(
    "eval",
    {
        "Align": "alignment.align",
        "Ask": "vision.ask",
        "Benchmark": "vision.benchmarks",
        "Bits": "language.bits",
        "Blindness": "vision.blindness",
        "Captions": "world.captions",
        "Choices": "answers.multiple_choice",
        "Compare": "compare",
        "Emergence": "probe.emerge",
        "Existence": "vision.existence",
        "Feasible": "response.feasible",
        "Fractions": "fractions",
        "Groups": "vision.groups",
        "Instructions": "world.captions",
        "Interval": "stats.margins",
        "Ladder": "ladder",
        "Landscape": "response.landscape",
        "Language": "language.language",
        "Milestone": "probe.milestone",
        "MixingLaw": "response.mixing_law",
        "Optimum": "response.optimum",
        "PriorDelta": "stats.deltas",
        "Probe": "probe.probing",
        "Proposal": "response.proposals",
        "Proxies": "response.mixing_law",
        "Question": "answers.questions",
        "Reading": "answers.reading",
        "Report": "report.report",
        "Request": "answers.scoring",
        "Response": "response.response",
        "Runs": "response.replicates",
        "SceneQuestions": "world.questions",
        "Scorer": "answers.scoring",
        "Scores": "answers.scoring",
        "Summary": "answers.choices",
        "Structure": "structure",
        "Surface": "response.surface",
        "TokenBudget": "batching",
        "Traces": "vision.traces",
        "Foreign": "vision.foreign",
        "SoundWorld": "world.sounds",
        "World": "world.world",
        "ask": "answers.choices",
        "averaged": "answers.position",
        "benjamini_hochberg": "stats.multiplicity",
        "benjamini_yekutieli": "stats.multiplicity",
        "correlation": "stats.correlation",
        "correlation_difference": "stats.correlation",
        "crossed_bootstrap": "stats.intervals",
        "crossed_interval": "stats.intervals",
        "disattenuated": "stats.correlation",
        "equivalence": "stats.equivalence",
        "factor_test": "stats.factors",
        "fit": "response.surface",
        "fit_law": "response.mixing_law",
        "generate": "answers.generation",
        "holm": "stats.multiplicity",
        "leave_one_out": "response.surface",
        "mcnemar": "stats.exact",
        "mean_interval": "stats.intervals",
        "minimum_detectable_effect": "stats.intervals",
        "nested_delta": "stats.nested",
        "optimum": "response.optimum",
        "paired_bootstrap": "stats.intervals",
        "paired_item_sd": "stats.intervals",
        "parse_choice": "answers.reading",
        "position_bias": "answers.position",
        "prior_delta": "stats.deltas",
        "propose": "response.proposals",
        "read_choice": "answers.reading",
        "read_questions": "answers.questions",
        "reliability": "stats.correlation",
        "respond": "response.response",
        "seeds_needed": "stats.equivalence",
        "sign_flip": "stats.exact",
        "sign_test": "stats.exact",
    },
)
