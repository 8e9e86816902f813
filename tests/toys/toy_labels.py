"""A classifier that tells the invented sources apart, and the labels of the tiny experiment's tokens."""

import json

from corpus import Annotations, Cells, Label, TrainClassifier
from corpus.documents import read_source
from corpus.labels.annotations import identify

MEANING = {"web": ["visual_concept"], "math": ["math_reasoning"], "code": ["code_reasoning"]}
SEGMENT, ITEM = 48, 64


def labelled(tiny, folder):
    """Classifier, labels and cells, made in the tiny store."""
    rows = []
    for source, labels in MEANING.items():
        for document in read_source(tiny.path(tiny.text) / source):
            text = document.text[:400]
            row = {"id": identify(text), "source": source, "document": document.id, "labels": labels, "text": text}
            rows.append(json.dumps(row) + "\n")
    (folder / "a.jsonl").write_text("".join(rows))
    annotations = Annotations(path=str(folder / "a.jsonl")).settle(False)
    classifier = TrainClassifier(annotations=annotations).settle(False)
    label = Label(tokens=tiny.tokens, classifier=classifier, segment=SEGMENT, parts=2)
    cells = Cells(tokens=tiny.tokens, labels=label, item=ITEM)
    for stage in (annotations, classifier, label, cells):
        tiny.store.perform(stage)
    return classifier, label, cells
