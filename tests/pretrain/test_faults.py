"""What goes wrong around a run: a full disk, text that changed. Nothing is lost, and it is said in a sentence."""

import json
import os
import shutil

import pytest
from toy_experiment import BATCH, ITEM, beside, forked, payload, tiny, varied

from presight.errors import EXIT_DATA

SAVED_EACH_STEP = "from pretrain import curves\ncurves.CHECKPOINT_SECONDS = -1.0\n"
# no file may grow beyond this: curves fit, checkpoints do not, as on a disk that is about to be full
FULL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"


@pytest.mark.parametrize(("size", "saved"), [(200_000, SAVED_EACH_STEP), (3_000, "")])
def test_a_full_disk_costs_nothing_but_a_rerun(tiny, lm, tmp_path, size, saved):
    """The first limit hits the state that torch writes, the second a curve."""
    store = beside(tiny.store, tmp_path, tiny.mixture)
    full = forked((store, tiny.train), before=saved + FULL.format(size=size))
    assert full.returncode == 2, full.stderr
    assert full.stderr.strip().splitlines()[-1].endswith("free space and run again: work is kept.")
    assert store.find(tiny.train) is None
    again = forked((store, tiny.train))
    assert again.returncode == 0, again.stderr
    assert payload(store.path(tiny.train)) == payload(lm)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("flipped", "has other bytes than its description names"),
        ("short", "bytes are expected; restore it, or delete its artifact and run again"),
        ("gone", "is no file, but"),
    ],
)
def test_text_that_changed_on_the_disk_stops_the_run_before_its_first_step(tmp_path, fault, words):
    made = tiny(tmp_path / "store")
    tokens = made.path(made.tokens)
    shard = sorted((tokens / "train").rglob("*.ds"))[0]
    if fault == "gone":
        shard.unlink()
    else:
        content = bytearray(shard.read_bytes())
        content[100] ^= 1
        shard.write_bytes(content if fault == "flipped" else content[:-2])
    if fault == "flipped":  # a size that is right: the store cannot tell, the hashes can
        os.utime(shard)
    done = forked((made.store, made.train))
    assert done.returncode == EXIT_DATA, done.stderr
    assert words in done.stderr
    assert shard.name in done.stderr
    assert not list(made.store.work(made.train).rglob("metrics.jsonl"))


def test_half_of_a_permanent_checkpoint_is_written_again(tiny, tmp_path):
    """A kill while it is written: what is there has no mark, and the run that goes on writes it whole."""
    stage = varied(tiny.train, keep_every=4 * BATCH * ITEM, until=8 * BATCH * ITEM)
    stores = [beside(tiny.store, tmp_path / name, tiny.mixture) for name in ("whole", "killed")]
    assert forked((stores[0], stage)).returncode == 0
    before = """
import signal
from pretrain import run
whole = run.write
def write(engine, folder, tag, state, *rest):
    engine.save_checkpoint(str(folder), tag=tag)
    os.kill(os.getpid(), signal.SIGKILL)
run.write = write
"""
    assert forked((stores[1], stage), before=SAVED_EACH_STEP + before).returncode != 0
    folder = stores[1].work(stage) / "payload" / "checkpoints" / f"{4 * BATCH * ITEM:015d}" / "state"
    assert folder.exists()
    assert not (folder / "COMPLETE").exists()
    assert forked((stores[1], stage)).returncode == 0
    kept = [path.parent.parent.name for path in sorted(stores[1].path(stage).rglob("checkpoints/*/state/COMPLETE"))]
    assert [int(name) for name in kept] == [4 * BATCH * ITEM, 8 * BATCH * ITEM]
    whole, killed = (payload(store.path(stage)) for store in stores)
    assert whole["metrics.jsonl"] == killed["metrics.jsonl"]
    assert whole["model.safetensors"] == killed["model.safetensors"]
    assert json.loads(killed["ledger.json"]) == json.loads(whole["ledger.json"])
    shutil.rmtree(tmp_path)
