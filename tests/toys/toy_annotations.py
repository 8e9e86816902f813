"""Invented annotations: every label has words of its own, among words that all texts share."""

from random import Random

from corpus.labels.annotations import Annotation, identify
from corpus.labels.taxonomy import Taxonomy

TAXONOMY = Taxonomy.read()
TELLING = {
    "visual_concept": "boat lamp river horse basket tower candle bridge",
    "visual_attribute": "red pale striped wooden narrow bright",
    "visual_relation": "beside under behind above across inside",
    "code_reasoning": "def return self import class loop -> ): ==",
    "math_reasoning": "theorem lemma proof integer prime ∀ <=",
    "science_reasoning": "hypothesis experiment measured sample",
}
COMMON = "the a of and to it was that in for he she they said one two who then when were"
LIKELY = {
    "web": ("visual_concept", "visual_attribute"),
    "code": ("code_reasoning", "math_reasoning"),
    "novel": ("visual_concept",),
}


def annotations(count=90, seed=0, window=2):
    """``count`` texts, ``window`` of a document, from three sources."""
    draw = Random(seed)
    found = []
    for number in range(count):
        source = list(LIKELY)[number // window % 3]
        labels = [label for label in LIKELY[source] if draw.random() < 0.5]
        words = draw.choices(COMMON.split(), k=30)
        for label in labels:
            words += draw.sample(TELLING[label].split(), 3)
        draw.shuffle(words)
        text = " ".join([*words, f"n{number}"])
        ordered = tuple(label for label in TAXONOMY.labels if label in labels)
        found.append(Annotation(identify(text), source, f"{source}-{number // window}", ordered, text))
    return found
