import random
import zipfile

import pytest
from datatrove.data import Document

from corpus.clean.language import Language, load
from presight.errors import PresightError
from presight.packages import Fetched

SAMPLES = {
    "en": "the house and a garden with an old tree where we were sitting when it began to rain that day",
    "de": "das haus und ein garten mit einem alten baum wo wir saßen als es an jenem tag zu regnen begann",
    "fr": "la maison et un jardin avec un vieil arbre où nous étions assis quand il a commencé de pleuvoir",
}


def text(language, seed):
    return " ".join(random.Random(f"{language}{seed}").choices(SAMPLES[language].split(), k=12))


@pytest.fixture(scope="module", name="model_file")
def tiny_model(tmp_path_factory):
    import fasttext

    folder = tmp_path_factory.mktemp("model")
    lines = [f"__label__{language} {text(language, i)}\n" for i in range(60) for language in SAMPLES]
    (folder / "train.txt").write_text("".join(lines))
    model = fasttext.train_supervised(str(folder / "train.txt"), dim=8, epoch=30, lr=0.5, thread=1, seed=1, verbose=0)
    model.save_model(str(folder / "lid.bin"))
    return folder / "lid.bin"


@pytest.fixture(name="model")
def loaded(model_file):
    import fasttext

    return fasttext.load_model(str(model_file))


def test_other_languages_are_dropped_and_named(model):
    keep = Language(model, ("en",), 0.65)
    assert keep.filter(Document(text=text("en", "new"), id="")) is True
    assert keep.filter(Document(text=text("de", "new"), id="")) == (False, "de")
    assert Language(model, ("de", "fr"), 0.65).filter(Document(text=text("fr", "new"), id="")) is True


def test_what_could_be_two_languages_is_unsure_unless_both_are_wanted(model):
    mixed = Document(text=f"{text('en', 1)} {text('de', 1)}", id="")
    assert Language(model, ("en", "de"), 0.9).filter(mixed) is True
    reasons = {Language(model, (each,), 0.9999).filter(mixed) for each in ("en", "de")}
    assert (False, "unsure") in reasons


def test_lines_are_one_document_and_words_stay_apart(model):
    keep = Language(model, ("en",), 0.65)
    assert keep.filter(Document(text=text("en", 2).replace(" ", "\n"), id="")) is True
    assert keep.filter(Document(text="", id=""))[0] is False


def test_a_pipeline_keeps_order(model):
    languages = [random.Random(i).choice(list(SAMPLES)) for i in range(600)]
    documents = (Document(text=text(language, i), id=str(i)) for i, language in enumerate(languages))
    found = [int(each.id) for each in Language(model, ("fr",), 0.5).run(documents)]
    assert found == [i for i, language in enumerate(languages) if language == "fr"]


def test_languages_the_model_does_not_know_are_refused(model):
    with pytest.raises(PresightError, match="'eng' is none the model knows; did you mean en"):
        Language(model, ("eng", "de"), 0.5)


def test_a_model_is_read_out_of_its_package(model_file, tmp_path, monkeypatch):
    archive = tmp_path / "toy.whl"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(model_file, "toy/lid.bin")
    monkeypatch.setattr(Fetched, "members", lambda self, package: iter([("toy/lid.bin", model_file.read_bytes())]))
    model = load(Fetched("model.language", {"toy": archive}, "0" * 64, {}))
    assert sorted(model.labels) == ["__label__de", "__label__en", "__label__fr"]
