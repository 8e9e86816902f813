"""Four options after a 600-token prompt on a small Llama: shared prefix, naive batch and lm-eval's HFLM.

Runs are interleaved, so that other work on the machine falls on all alike; the ratios of their medians are printed.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

Question = tuple[list[int], list[list[int]]]
Found = list[list[float]]


def questions(count: int, prefix: int, sizes: Sequence[int], vocabulary: int) -> list[Question]:
    import numpy as np

    rng = np.random.default_rng(0)
    return [
        (rng.integers(2, vocabulary, prefix).tolist(), [rng.integers(2, vocabulary, size).tolist() for size in sizes])
        for _ in range(count)
    ]


def shared(model: Any, asked: Sequence[Question]) -> Found:
    from eval.answers.scoring import option_logprobs

    return [[total for total, _ in option_logprobs(model, [prefix], [options])[0]] for prefix, options in asked]


def naive(model: Any, asked: Sequence[Question]) -> Found:
    """Prompt and option as one row, the options of a question in one batch, logits only where options are."""
    import torch

    found = []
    for prefix, options in asked:
        width = max(map(len, options))
        rows = [prefix + option + [0] * (width - len(option)) for option in options]
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor(rows)[:, :-1], logits_to_keep=width).logits.log_softmax(-1)
        found.append([float(sum(row[i, t] for i, t in enumerate(o))) for row, o in zip(logits, options, strict=True)])
    return found


def lm_eval_reader(model: Any) -> Callable[[Any, Sequence[Question]], Found] | None:
    """HFLM on the same model and tokens, four requests a batch; None where lm-eval is not installed."""
    try:
        from lm_eval.models.huggingface import HFLM
    except ImportError:
        return None
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(model.config.vocab_size)}, unk_token="w0"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w1", pad_token="w1", unk_token="w0")
    harness = HFLM(
        pretrained=model, tokenizer=tokenizer, batch_size=4, max_length=model.config.max_position_embeddings
    )

    def read(_: Any, asked: Sequence[Question]) -> Found:
        found = []
        for prefix, options in asked:
            requests = [((None, str(i)), prefix, option) for i, option in enumerate(options)]
            found.append([total for total, _ in harness._loglikelihood_tokens(requests, disable_tqdm=True)])
        return found

    return read


def main() -> None:
    """Print medians and ratios for options of several tokens and of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="interleaved runs")
    parser.add_argument("--questions", type=int, default=2, help="questions a run")
    parser.add_argument("--prefix", type=int, default=600, help="tokens of a prompt")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=8,
        num_attention_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).float().eval()
    ways: dict[str, Callable[[Any, Sequence[Question]], Found]] = {"shared prefix": shared, "naive batch": naive}
    if harness := lm_eval_reader(model):
        ways["lm-eval HFLM"] = harness
    size = sum(each.numel() for each in model.parameters()) / 1e6
    print(f"Llama of {size:.1f}M, 4 options after {options.prefix} tokens, float32, {options.threads} thread(s), CPU")
    for name, sizes in (("2 to 8 tokens an option", (2, 4, 6, 8)), ("1 token an option", (1, 1, 1, 1))):
        asked = questions(options.questions, options.prefix, sizes, config.vocab_size)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        expected = naive(model, asked)
        apart = dict.fromkeys(ways, 0.0)
        for _ in range(options.rounds):
            for way, run in ways.items():
                began = time.perf_counter()
                found = run(model, asked)
                seconds[way].append((time.perf_counter() - began) / len(asked))
                apart[way] = max(
                    abs(a - b) for x, y in zip(found, expected, strict=True) for a, b in zip(x, y, strict=True)
                )
        medians = {way: statistics.median(each) for way, each in seconds.items()}
        print(f"\n{name}\n{'':>16} {'ms a question':>15} {'ratio':>8} {'largest difference':>20}")
        for way, median in medians.items():
            ratio = median / medians["shared prefix"]
            print(f"{way:>16} {1e3 * median:>15.1f} {ratio:>8.2f} {apart[way]:>20.1e}", flush=True)


if __name__ == "__main__":
    main()
