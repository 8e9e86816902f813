import json

import numpy as np
import pyarrow.parquet
import pytest
import torch
from toy_models import tiny_encoder, tiny_lm
from toy_tokenizer import byte_tokenizer
from typer.testing import CliRunner

from presight.cli import app
from presight.cli.measurement import names
from presight.errors import PresightError


def call(*words):
    """What ``presight eval`` prints; its error, if it has one."""
    done = CliRunner().invoke(app, ["eval", *map(str, words)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two models, an encoder, pairs of image and caption, gratings and tones."""
    from PIL import Image
    from transformers import CLIPImageProcessorPil

    from adapt import Invented

    folder = tmp_path_factory.mktemp("place")
    for name in ("one", "two"):
        model = tiny_lm("llama")
        if name == "two":
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.normal_(generator=torch.Generator().manual_seed(1))
        model.save_pretrained(folder / name)
        byte_tokenizer().save_pretrained(folder / name)
    tiny_encoder("CLIP").save_pretrained(folder / "clip")
    sizes = {"size": {"shortest_edge": 12}, "crop_size": {"height": 12, "width": 12}}
    CLIPImageProcessorPil(**sizes).save_pretrained(folder / "clip")
    (folder / "pairs").mkdir()
    rng, rows = np.random.default_rng(0), []
    for number in range(12):
        colour = tuple(rng.integers(0, 255, 3).tolist())
        Image.new("RGB", (20 + number, 30), colour).save(folder / "pairs" / f"{number}.png")
        rows.append(json.dumps({"file": f"{number}.png", "caption": f"picture {colour}"}))
    (folder / "pairs" / "pairs.jsonl").write_text("\n".join(rows))
    for modality in ("image", "sound"):
        (folder / f"{modality}s").mkdir()
        Invented(modality=modality, train=32, validation=16, test=24).run(folder / f"{modality}s", {})
    return folder


@pytest.fixture(autouse=True)
def cached(place, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(place / "cache"))
    monkeypatch.setenv("COLUMNS", "200")


def own_pairs(place):
    return ("--pairs", place / "pairs", "--encoder", f"clip={place / 'clip'}", "--k", 3, "--permutations", 19)


def test_align_shows_every_model_beside_its_null(place):
    said = call("align", place / "one", place / "two", *own_pairs(place), "--out", place / "aligned")
    assert "12 pairs, 3 neighbours: a pair of layers shares 27.3 % of them by chance" in said
    for name in ("one", "two"):
        found = json.loads((place / "aligned" / name / "alignment.json").read_text())
        (line,) = [each for each in said.splitlines() if each.strip().startswith(name)]
        assert f"{100 * found['estimate']:.1f} %" in line
        assert f"{100 * found['quantiles']['0.5']:.1f} % ({100 * found['quantiles']['0.05']:.1f} %" in line
        lm, eye = found["best"]["clip"]
        assert f"{lm} × clip {eye}" in line
        card = json.loads((place / "aligned" / name / "card.json").read_text())
        assert (card["stage"], card["parents"][0]["kind"]) == ("eval.Align", "checkpoint")


def test_what_is_measured_is_not_measured_again(place, monkeypatch):
    given = ("align", place / "one", *own_pairs(place), "--out", place / "once")
    first = call(*given)
    with monkeypatch.context() as patch:
        patch.setattr("eval.alignment.align.Align.run", None)
        assert call(*given) == first
        (found,) = json.loads(call(*given, "--json"))
    assert found["model"] == "one"
    assert len(found["null"]) == 19
    with pytest.raises(PresightError, match="is there already, of other fields or files; name another folder"):
        call(*given, "--seed", 1)
    with pytest.raises(PresightError, match="is a result itself"):
        call("align", place / "one", place / "two", *own_pairs(place), "--out", place / "once")
    assert not list(place.glob(".once*"))


def test_probe_shows_every_layer_with_its_interval_and_chance(place):
    options = ("--layers", "0,2", "--fraction", 0.5, "--fraction", 1, "--out", place / "probed")
    said = call("probe", place / "one", place / "images", *options)
    assert "images: image classification, 24 items, chance 25.0 %" in said
    assert "0 input" in said
    assert "3" not in [line.split()[0] for line in said.splitlines() if line.strip()]
    found = json.loads((place / "probed" / "probe.json").read_text())
    assert [each["layer"] for each in found["layers"]] == [0, 2]
    best = next(each for each in found["layers"] if each["layer"] == found["best"])
    (line,) = [each for each in said.splitlines() if " ← " in each and "chance" not in each]
    assert f"{100 * best['accuracy']:.1f} %" in line
    assert f"share of the examples, layer {found['best']}" in said
    (again,) = json.loads(call("probe", place / "one", place / "images", *options, "--json"))
    rows = pyarrow.parquet.read_table(place / "probed" / "items.parquet")
    for layer in again["layers"]:
        correct = rows.filter(pyarrow.compute.equal(rows["layer"], layer["layer"]))["correct"].to_numpy()
        assert layer["interval"]["estimate"] == pytest.approx(correct.mean())
        assert layer["interval"]["low"] < correct.mean() < layer["interval"]["high"]


def test_several_collections_are_probed_at_once(place):
    said = call("probe", place / "one", place / "images", place / "sounds", "--method", "knn", "--out", place / "both")
    assert "images: image classification" in said
    assert "sounds: sound classification" in said
    assert "neighbours" in said
    assert {path.name for path in (place / "both").iterdir()} == {"images", "sounds"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("align", "pairs", "--out", "x"), "holds no checkpoint; name a folder with config.json and weights"),
        (("align", "one", "--out", "x", "--encoder", "clip"), "--encoder: 'clip' names no encoder"),
        (("align", "one", "--out", "x", "--pairs", "images", "--encoder", "c=clip"), "has none of pairs.jsonl"),
        (("align", "one", "--out", "x", "--pairs", "pairs", "--encoder", "c=clip", "--k", 50), "50 neighbours among"),
        (
            ("align", "one", "--out", "x", "--pairs", "pairs", "--encoder", "c=one", "--k", 3),
            "transformers cannot load",
        ),
        (("align", "one", "one", "--out", "x"), "is given twice"),
        (("align", "torn", "--out", "x", "--pairs", "pairs", "--encoder", "c=clip", "--k", 3), "torn: cannot be read"),
        (("align", "one", "--out", "x", "--items", 10**9), "align.items: 1000000000 should be"),
        (("probe", "one", "pairs", "--out", "x"), "holds no examples; name a folder that `presight data import`"),
        (("probe", "one", "images", "--out", "x", "--layers", "1,a"), "--layers: '1,a' is no list of layers"),
        (("probe", "one", "images", "--out", "x", "--layers", "9"), "layers: 9 of a model of 3"),
        (("probe", "one", "images", "--out", "x", "--fraction", 2), "fractions: [2.0]"),
        (("probe", "one", "several", "--out", "x"), "may have several classes an example"),
        (("probe", "torn", "images", "--out", "x"), "torn: cannot be read"),
    ],
)
def test_faults_are_one_sentence_and_leave_nothing(place, monkeypatch, words, said):
    monkeypatch.chdir(place)
    (place / "torn").mkdir(exist_ok=True)
    (place / "torn" / "config.json").write_text('{"model_type": "llama"}')
    (place / "several").mkdir(exist_ok=True)
    (place / "several" / "examples.json").write_text('{"multilabel": true}')
    with pytest.raises(PresightError) as error:
        call(*words)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (place / "x").exists()
    assert not list(place.glob(".x*"))


def test_names_are_as_short_as_they_can_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert names([tmp_path / "lm"]) == ["lm"]
    assert names([tmp_path / "a" / "lm", tmp_path / "b" / "lm"]) == ["a-lm", "b-lm"]
    assert names([tmp_path / "x" / "a" / "lm", tmp_path / "y" / "a" / "lm", tmp_path / "b"])[0] == "x-a-lm"
    (tmp_path / "link").symlink_to(tmp_path / "lm")
    assert names([tmp_path / "link"]) == ["link"]
    assert names([tmp_path / "." / "a" / ".."]) == [tmp_path.name]
