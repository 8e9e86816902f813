import json
import logging
import math

import datasets
import numpy as np
import pytest
import torch

pytest.importorskip("lm_eval")

from eval.checkpoint import load_model
from eval.language.bits import token_bits
from eval.language.harness import OWN, encode, evaluate, load_tasks, start_token, wrap
from eval.language.language import SUITES
from presight.errors import PresightError

SUITE = [entry.task for entry in SUITES["see_before_seeing"]]


@pytest.fixture(scope="module")
def tokenizer(tiny):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny.path(tiny.tokenizer))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("datasets")


def initialised(name="llama", positions=1024):
    """Few random weights, so wide that what is likely differs."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    if name == "gpt2":
        sizes = dict(n_embd=16, n_layer=2, n_head=2, n_positions=positions)
        return GPT2LMHeadModel(GPT2Config(**sizes, vocab_size=512, initializer_range=0.3)).eval()
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    config = LlamaConfig(**sizes, vocab_size=512, max_position_embeddings=positions, initializer_range=0.3)
    return LlamaForCausalLM(config).eval()


def log_probability(model, context, goal, longest):
    """Of a goal's tokens after a context's, one forward pass, both cut on the left to what the model can read."""
    sequence = torch.tensor([(context + goal)[-(longest + 1) :]])
    with torch.no_grad():
        scores = model(sequence[:, :-1]).logits[0].double().log_softmax(-1)
    found = scores.gather(1, sequence[0, 1:, None])[-len(goal) :, 0]
    return found.sum().item()


def lines(name):
    return [json.loads(line) for line in (OWN / name).read_text().splitlines()]


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_scores_are_those_of_plain_forward_passes(name, tokenizer, work):
    model = initialised(name, 24)  # longer items are cut, longer passages read in windows
    tasks = load_tasks(["quantities", "passages"], work=work)
    found = evaluate(wrap(model, tokenizer), tasks)
    for sample, row in zip(found["samples"]["quantities"], lines("quantities.jsonl"), strict=True):
        context = encode(tokenizer, f"Question: {row['question']}\nAnswer:").tolist()
        expected = [
            log_probability(model, context, encode(tokenizer, f" {choice}").tolist(), 24) for choice in row["choices"]
        ]
        assert [each[0][0] for each in sample["resps"]] == pytest.approx(expected, abs=1e-4)
        lengths = [len(choice) for choice in row["choices"]]
        assert sample["acc"] == (np.argmax(expected) == row["answer"])
        assert sample["acc_norm"] == (np.argmax(np.divide(expected, lengths)) == row["answer"])
    texts = [row["text"] for row in lines("passages.jsonl")]
    ids = [encode(tokenizer, text) for text in texts]
    bits = [each.sum() for each in token_bits(model, ids, start_token(tokenizer), 24, 24)]
    said = [sample["filtered_resps"][0] for sample in found["samples"]["passages"]]
    assert [-nats / math.log(2) for nats in said] == pytest.approx(bits, rel=1e-5)
    total = sum(bits) / sum(len(text.encode()) for text in texts)
    assert found["results"]["passages"]["bits_per_byte,none"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_what_is_read_at_once_does_not_matter_and_is_no_more_than_allowed(name, tokenizer, work):
    model, tasks = initialised(name, 64), load_tasks(["quantities", "passages"], work=work)
    shapes, found = [], {}
    hook = model.register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0].shape)))
    for tokens in (1, 256, 8192):
        shapes.clear()
        found[tokens] = evaluate(wrap(model, tokenizer, tokens), tasks)["samples"]
        assert all(rows == 1 or rows * length <= tokens for rows, length in shapes)
        assert (max(rows for rows, _ in shapes) > 1) == (tokens > 1)
    hook.remove()
    for many in (found[256], found[8192]):
        for task in ("quantities", "passages"):
            for one, each in zip(found[1][task], many[task], strict=True):
                first, second = (np.ravel(sample["resps"]).astype(float) for sample in (one, each))
                assert second == pytest.approx(first, rel=1e-6, abs=1e-5)


def test_results_are_in_lm_evals_schema_and_say_neither_time_nor_place(tokenizer, work):
    from lm_eval.result_schema import EvalResults

    tasks = load_tasks(["quantities"], work=work)
    found = evaluate(wrap(initialised(), tokenizer), tasks, shots=2, limit=5, seed=3)
    assert set(found) <= set(EvalResults.__annotations__)
    assert found["n-shot"]["quantities"] == 2
    assert found["n-samples"]["quantities"] == {"original": 12, "effective": 5}
    assert found["versions"]["quantities"] == 1.0
    assert found["higher_is_better"]["quantities"] == {"acc": True, "acc_norm": True}
    assert "/" not in json.dumps(found["configs"]["quantities"])
    again = evaluate(wrap(initialised(), tokenizer), load_tasks(["quantities"], work=work), 2, 5, 3)
    assert again["task_hashes"] == found["task_hashes"]
    other = evaluate(wrap(initialised(), tokenizer), load_tasks(["quantities"], work=work), 2, 5, 4)
    assert other["task_hashes"] != found["task_hashes"]  # other examples, other prompts


def test_a_model_in_memory_is_the_one_of_the_folder(tokenizer, tmp_path):
    initialised().train().save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    model, found = load_model(tmp_path / "lm")
    assert not model.training
    assert wrap(model, found).model is model
    with pytest.raises(PresightError, match="transformers cannot load"):
        load_model(tmp_path)
    path = tmp_path / "lm" / "tokenizer_config.json"
    named = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in named.items() if key not in ("bos_token", "eos_token")}))
    with pytest.raises(PresightError, match="no start and no end token"):
        load_model(tmp_path / "lm")


COLOURS = """
task: colours
dataset_path: json
dataset_kwargs: {data_files: {validation: colours.jsonl}}
output_type: multiple_choice
validation_split: validation
doc_to_text: "{{thing}} is"
doc_to_choice: [red, green]
doc_to_target: colour
metadata: {version: 2}
"""


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "colours.yaml").write_text(COLOURS)
    rows = [{"thing": "Grass", "colour": 1}, {"thing": "Blood", "colour": 0}]
    (folder / "colours.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_tasks_of_ones_own_find_their_files_beside_them(own, tokenizer, work):
    tasks = load_tasks(["colours"], own, work=work)["tasks"]
    assert [doc["thing"] for doc in tasks["colours"].eval_docs] == ["Grass", "Blood"]
    found = evaluate(wrap(initialised(), tokenizer), load_tasks(["colours", "passages"], own, work=work))
    assert found["versions"] == {"colours": 2, "passages": 1.0}
    (own / "colours.jsonl").unlink()
    with pytest.raises(PresightError, match=r"tasks\.colours: lm-eval cannot make it"):
        load_tasks(["colours"], own, work=work)


SUMS = """
task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: sums.jsonl}}
output_type: generate_until
test_split: test
doc_to_text: "{{text}}"
doc_to_target: "{{text}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 3, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
BOTH = """
group: both
task: [colours, sums]
aggregate_metric_list: [{metric: acc, aggregation: mean, weight_by_size: true}]
"""


def test_groups_and_generation_work_as_in_lm_eval(own, tokenizer, work):
    (own / "sums.yaml").write_text(SUMS)
    (own / "both.yaml").write_text(BOTH)
    (own / "sums.jsonl").write_text('{"text": "1 + 1 ="}\n{"text": "2 + 1 ="}\n')
    model = initialised()
    found = evaluate(wrap(model, tokenizer), load_tasks(["both"], own, work=work))
    assert found["group_subtasks"] == {"both": ["colours", "sums"]}
    assert "config_source" not in json.dumps(found["configs"])
    for sample in found["samples"]["sums"]:
        ids = torch.tensor([tokenizer(sample["doc"]["text"])["input_ids"]])
        for _ in range(3):
            with torch.no_grad():
                ids = torch.cat([ids, model(ids).logits[:, -1].argmax(1, keepdim=True)], 1)
        assert sample["resps"][0][0] == tokenizer.decode(ids[0, -3:], skip_special_tokens=True).partition("\n")[0]


def test_unknown_tasks_are_refused(own, monkeypatch):
    import lm_eval
    from lm_eval.tasks import TaskManager

    whole, asked = TaskManager.__init__, []

    def small(self, include_path, include_defaults=True):
        asked.append(include_defaults)
        whole(self, include_path=include_path, include_defaults=False)  # all of lm-eval's take half a minute

    monkeypatch.setattr(TaskManager, "__init__", small)
    monkeypatch.setattr(lm_eval, "__file__", str(own / "nowhere.py"))
    with pytest.raises(PresightError, match=r"tasks\.colors: .*did you mean colours"):
        load_tasks(["colors"], own)
    assert asked == [False, False, True]


@pytest.mark.parametrize("task", SUITE)
def test_the_suites_tasks_are_lm_evals_and_name_the_data_set_that_is_missing(task, monkeypatch, tmp_path):
    def offline(path, name=None, **given):
        raise ConnectionError(f"no way to {path}")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(PresightError, match=rf"tasks\.{task}: its data set \S+/\S+ cannot be had here; hf download"):
        load_tasks([task], mirror=tmp_path)
    assert datasets.load_dataset is offline  # what was there before


def test_the_mirror_answers_for_the_hub(tokenizer, tmp_path, work):
    rows = [{"goal": "Boil water", "sol1": "Heat it.", "sol2": "Freeze it.", "label": 0}] * 3
    folder = tmp_path / "baber" / "piqa"
    folder.mkdir(parents=True)
    for split in ("train", "validation"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = load_tasks(["piqa"], mirror=tmp_path, work=work)
    assert len(tasks["tasks"]["piqa"].eval_docs) == 3
    found = evaluate(wrap(initialised(), tokenizer), tasks)
    assert found["configs"]["piqa"]["dataset_path"] == "baber/piqa"
    assert found["versions"]["piqa"] == 1.0


def test_parts_of_a_mirrored_data_set_are_folders_or_described(tmp_path, work):
    import pyarrow
    import pyarrow.parquet

    folder = tmp_path / "aps" / "super_glue"
    row = {"premise": "It rained.", "choice1": "I got wet.", "choice2": "I ate.", "question": "effect", "label": 0}
    passages = {"passage": "Rain is wet.", "question": "is rain wet", "label": 1}
    for part, record in (("copa", row), ("boolq", passages)):
        (folder / part).mkdir(parents=True)
        for split in ("train", "validation"):
            table = pyarrow.Table.from_pylist([record] * 2)
            pyarrow.parquet.write_table(table, folder / part / f"{split}-00000-of-00001.parquet")
    for described in (False, True):
        if described:
            parts = "".join(
                f"- config_name: {part}\n  data_files:\n  - {{split: validation, path: {part}/validation-*}}\n"
                f"  - {{split: train, path: {part}/train-*}}\n"
                for part in ("copa", "boolq")
            )
            (folder / "README.md").write_text(f"---\nconfigs:\n{parts}---\n")
        tasks = load_tasks(["copa", "boolq"], mirror=tmp_path, work=work)["tasks"]
        assert tasks["copa"].eval_docs[0]["premise"] == "It rained."
        assert tasks["boolq"].eval_docs[0]["passage"] == "Rain is wet."


def test_logging_is_as_it_was(work):
    logger = logging.getLogger("lm_eval")
    before = logger.level
    load_tasks(["quantities"], work=work)
    assert logger.level == before
