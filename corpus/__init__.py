"""Text in: sources to clean documents to tokens to labels to mixtures."""

from typing import TYPE_CHECKING

from presight.exports import lazy

if TYPE_CHECKING:
    from corpus.clean.benchmark import Benchmark as Benchmark
    from corpus.clean.deduplicate import Deduplicate as Deduplicate
    from corpus.clean.duplicates import Duplicates as Duplicates
    from corpus.clean.filter import Clean as Clean
    from corpus.clean.signatures import Signatures as Signatures
    from corpus.documents import Documents as Documents
    from corpus.documents import Sample as Sample
    from corpus.invented import Invented as Invented
    from corpus.labels.annotations import Annotations as Annotations
    from corpus.labels.annotations import SampleAnnotations as SampleAnnotations
    from corpus.labels.cells import Cells as Cells
    from corpus.labels.classifier import TrainClassifier as TrainClassifier
    from corpus.labels.documents import LabelDocuments as LabelDocuments
    from corpus.labels.label import Label as Label
    from corpus.labels.spans import SegmentLabels as SegmentLabels
    from corpus.mix import Mix as Mix
    from corpus.mixture import Mixture as Mixture
    from corpus.sampler import Sampler as Sampler
    from corpus.sources.hub import Hub as Hub
    from corpus.tokenizer import Tokenizer as Tokenizer
    from corpus.tokens import Tokenize as Tokenize
    from corpus.windows import Windows as Windows

__getattr__, __all__ = lazy(
    "corpus",
    {
        "Annotations": "labels.annotations",
        "Benchmark": "clean.benchmark",
        "Cells": "labels.cells",
        "Clean": "clean.filter",
        "Deduplicate": "clean.deduplicate",
        "Documents": "documents",
        "Duplicates": "clean.duplicates",
        "Hub": "sources.hub",
        "Invented": "invented",
        "Label": "labels.label",
        "LabelDocuments": "labels.documents",
        "Mix": "mix",
        "Mixture": "mixture",
        "Sample": "documents",
        "SampleAnnotations": "labels.annotations",
        "Sampler": "sampler",
        "SegmentLabels": "labels.spans",
        "Signatures": "clean.signatures",
        "Tokenize": "tokens",
        "Tokenizer": "tokenizer",
        "TrainClassifier": "labels.classifier",
        "Windows": "windows",
    },
)
