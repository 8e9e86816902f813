"""What pretraining takes before it is begun: memory of a GPU, tokens a second, GPU-hours, a whole programme of runs.

**State** is Rajbhandari et al. 2020 (ZeRO, arXiv 1910.02054, §3) as DeepSpeed 0.19 does it under
``engine.configuration``: gradients added up in fp32, and an fp32 master copy even where the weights are fp32.
**Activations** are Korthikanti et al. 2022 (arXiv 2205.05198, §4.1) counted anew for what a Llama of transformers
keeps for its backward pass: RMSNorm in fp32, SwiGLU, no dropout, attention that keeps no scores (flash, by SDPA). Not
counted: CUDA's own context, NCCL's buffers, fragmentation, and what a step allocates once the activations are gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from presight.errors import PresightError, nearest
from pretrain.engine import BUCKET
from pretrain.model import COUNTED, FORMULA, Shape, shape
from pretrain.peaks import Dtype, Utilisation, card, matmul_peak, published

GATHERED = 1_000_000_000  # parameters that stage 3 keeps gathered at most (stage3_max_live_parameters)
CHUNK = 512  # tokens whose logits the chunked loss holds at once: pretrain.loss.CHUNK
HEADROOM = 0.9  # share of a card's memory that tensors may fill; our assumption for all that is not counted


@dataclass(frozen=True, slots=True)
class Layout:
    """How a run lies on its GPUs. ``micro_batch`` is sequences a GPU; ``chunk`` 0 holds the logits of all of them."""

    gpus: int = 8
    zero: Literal[0, 1, 2, 3] = 1
    dtype: Dtype = "bf16"
    optimizer: Literal["adamw", "muon"] = "adamw"
    offload: bool = False
    checkpointing: bool = False
    micro_batch: int = 1
    context: int = 2048
    vocabulary: int = 32_768
    chunk: int = CHUNK

    def __post_init__(self) -> None:
        for name in ("gpus", "micro_batch", "context", "vocabulary"):
            if getattr(self, name) < 1:
                raise PresightError(name, f"{getattr(self, name)} is less than 1", "give a positive whole number")
        if self.zero == 0 and self.dtype == "bf16":
            raise PresightError(
                "zero", "stage 0 has no fp32 gradients for bf16 weights", "take stage 1, 2 or 3, or fp32"
            )
        if self.zero == 0 and self.offload:
            raise PresightError("offload", "stage 0 has no optimizer state to part with", "take stage 1, 2 or 3")

    @property
    def width(self) -> int:
        """Bytes of a weight."""
        return 2 if self.dtype == "bf16" else 4


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one GPU at their most; ``host`` is what it keeps in its host's memory, and is not in the total."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    host: int = 0

    @property
    def total(self) -> int:
        """Bytes on the GPU."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def memory(model: Shape, layout: Layout) -> Memory:
    """Memory that a run needs on each GPU, by term; Ψ parameters of e bytes on n GPUs.

    ===========  ==============================================================================================
    weights      eΨ; stage 3: eΨ/n and, on several GPUs, what is gathered, at most 10⁹ parameters
    gradients    4Ψ; at stage 1 in bf16 also eΨ as they arrive, else a bucket in fp32; at stages 2 and 3
                 4Ψ/n and a bucket of e bytes an element
    optimizer    master copy 4Ψ/n (not at stage 0) and states: AdamW 8Ψ/n; Muon 4/n for a parameter of a
                 matrix, from stage 2 on e/n, twice where DeepSpeed stages it, and AdamW's 8/n for the others
    activations  see ``activations``
    logits       see ``logits``
    ===========  ==============================================================================================

    With offload the master copy, the states and the parted gradients are the host's.
    """
    parameters, e, n = model.parameters(layout.vocabulary), layout.width, layout.gpus
    part, bucket = parameters / n, min(BUCKET, parameters)
    weights = e * parameters if layout.zero < 3 else e * part + (e * min(parameters, GATHERED) if n > 1 else 0)
    # fp32 gradient accumulation has DeepSpeed take another optimizer at stage 1 in bf16: no bucket, nothing parted
    whole = layout.zero == 1 and layout.dtype == "bf16" and not layout.offload
    if layout.zero == 0:
        gradients = 4.0 * parameters
    elif layout.zero == 1:
        gradients = 4.0 * parameters + (e * parameters if whole else 4 * bucket)
    else:
        gradients = (0.0 if layout.offload else 4 * part) + e * bucket
    optimizer = (4 * part if layout.zero else 0.0) + _states(model, layout, whole) * (1 / n if layout.zero else 1)
    host = 0.0
    if layout.offload:  # the gradients' part twice from stage 2 on: as it is added up, and as the step reads it
        host, optimizer = optimizer + 4 * part * (1 if layout.zero == 1 else 2), 0.0
        if layout.zero < 3:  # new weights on their way back, and room here and there for the largest gradient
            passing = e * layout.vocabulary * model.width
            host, gradients = host + e * part + passing, gradients + passing
    terms = (weights, gradients, optimizer, activations(model, layout), logits(model, layout), host)
    return Memory(*(round(each) for each in terms))


def _states(model: Shape, layout: Layout, whole: bool) -> float:
    """Bytes of what the optimizer remembers of all parameters."""
    if layout.optimizer == "adamw":
        return 8.0 * model.parameters(layout.vocabulary)
    momentum = 4 if layout.zero < 2 else layout.width
    copies = 2 if layout.zero in (1, 2) and not whole and not layout.offload else 1
    return 8.0 * (model.parameters(layout.vocabulary) - model.matrices()) + momentum * copies * model.matrices()


def activations(model: Shape, layout: Layout) -> int:
    """Bytes kept from the forward to the backward pass, for t tokens of a micro-batch.

    A block of width D and feed-forward width F: of each norm an fp32 copy of its input, the normalised and the scaled
    output, (4 + 2e)·t·D, and reciprocal norms, 4·t; queries, keys, values and what attention gives, 4e·t·D, with its
    log-sums, 4·t·heads; gate, its SiLU, up and their product, 4e·t·F. With checkpointing a block keeps its input, and
    one block at a time all.
    """
    e, tokens = layout.width, layout.micro_batch * layout.context
    wide, hidden = tokens * model.width, tokens * model.feed_forward
    block = (8 + 8 * e) * wide + 4 * e * hidden + 4 * tokens * (model.heads + 2)
    blocks = model.layers * e * wide + block if layout.checkpointing else model.layers * block
    last = (4 + e) * wide + 4 * tokens  # the final norm; what it gives is the loss's
    rotary = 2 * e * layout.context * model.width // model.heads
    return blocks + last + rotary + 8 * tokens


def logits(model: Shape, layout: Layout) -> int:
    """Bytes of the loss at its most: hidden states, logits and their gradients, of all tokens or of chunks.

    Full: log-probabilities, their gradient and the logits', 12 bytes a logit. Chunked: the output matrix's gradient in
    fp32, and either two chunks' logits, as one follows another, or one's and its share of that gradient.
    """
    e, tokens = layout.width, layout.micro_batch * layout.context
    wide, matrix = e * tokens * model.width, layout.vocabulary * model.width
    if not layout.chunk:
        return wide + 12 * tokens * layout.vocabulary
    cells = min(layout.chunk, tokens) * layout.vocabulary
    each = 4 if e == 4 else 4 + e  # bytes a logit: fp32, and once more in the weights' dtype
    following = 2 * each * cells + 4 * matrix if tokens > layout.chunk else 0
    return 2 * wide + max(following, each * cells + (4 + e) * matrix)


def fits(need: Memory, gpu: str) -> bool | None:
    """Whether a card holds it and leaves a tenth to what is not counted; None for a CPU, whose memory is not asked."""
    return None if gpu == "cpu" else need.total <= HEADROOM * card(gpu).memory


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a run takes: tokens a second over all GPUs, GPU-hours, memory of one GPU, and what was assumed."""

    parameters: int
    tokens: float
    flops_per_token: float
    gpu: str
    peak: float  # floating-point operations a second of one GPU
    utilisation: Utilisation
    rate: float
    layout: Layout
    memory: Memory
    fits: bool | None  # None on a CPU
    formula: str = field(default=f"{FORMULA} ({COUNTED})")

    @property
    def seconds(self) -> float:
        """Wall time, without start, evaluation and checkpoints."""
        return self.tokens / self.rate

    @property
    def gpu_hours(self) -> float:
        """Hours times GPUs."""
        return self.seconds / 3600 * self.layout.gpus


def predict(
    model: Shape | str,
    tokens: float,
    *,
    gpu: str = "H100",
    layout: Layout | None = None,
    mfu: float | None = None,
    rate: float | None = None,
) -> Prediction:
    """Predict a run of ``model`` over ``tokens``.

    Args:
        model: a shape or its name.
        tokens: to be read.
        gpu: a card of ``pretrain.peaks.CARDS``, or ``cpu``: this one, whose peak for one rank is measured now.
        layout: GPUs, ZeRO stage, dtype, context and so on.
        mfu: share of the peak that training gets; default: what is published for such a run.
        rate: tokens a second over all GPUs as measured; instead of an MFU.

    Raises:
        PresightError: no such size or card; an MFU and a rate at once, or neither where nothing is published.
    """
    model = shape(model) if isinstance(model, str) else model
    layout = layout or Layout()
    if not tokens > 0:
        raise PresightError("tokens", f"{tokens:g} is not positive", "give the tokens to be read, as 3e10")
    if mfu is not None and rate is not None:
        raise PresightError("rate", "a rate and an MFU say the same thing twice", "give one of them")
    if mfu is not None and not 0 < mfu <= 1:
        raise PresightError("mfu", f"{mfu:g} is no share of a peak", "give a number between 0 and 1, as 0.4")
    if rate is not None and not rate > 0:
        raise PresightError("rate", f"{rate:g} is not positive", "give tokens a second over all GPUs")
    parameters, flops = model.parameters(layout.vocabulary), model.flops(layout.vocabulary, layout.context)
    need = memory(model, layout)
    peak = matmul_peak(layout.dtype) if gpu == "cpu" else getattr(card(gpu), layout.dtype)
    used: Utilisation | None = None
    if mfu is not None:
        used = Utilisation(mfu, "as given")
    elif rate is not None:
        used = Utilisation(rate * flops / (peak * layout.gpus), "by the measured rate")
    elif gpu != "cpu" and layout.dtype == "bf16":
        used = published(gpu, layout.gpus, parameters)
    if used is None:
        problem = f"none is published for {parameters / 1e6:,.0f}M parameters on {gpu} in {layout.dtype}"
        raise PresightError("mfu", problem, "give an MFU or a measured rate")
    if used.mfu > 1:
        problem = f"{rate:g} tokens/s would take {used.mfu:.3g} times the peak of {layout.gpus} × {gpu}"
        raise PresightError("rate", problem, "give what was measured, over all GPUs, and their number")
    speed = used.mfu * peak * layout.gpus / flops
    return Prediction(parameters, tokens, flops, gpu, peak, used, speed, layout, need, fits(need, gpu))


@dataclass(frozen=True, slots=True)
class Row:
    """Runs of one size and length in a programme."""

    study: str
    model: str
    tokens: float
    runs: int = 1


# Han et al. 2025 (arXiv 2509.26625): the runs that its tables and figures show. Each point of the scale series is
# counted as a run, a cosine for each budget; of the single sources the web crawl's is the scale series' 3B × 30B.
PROGRAMS = {
    "see_before_seeing": (
        *(
            Row("scale", size, n * 1e9)
            for size in ("340m", "1b", "3b", "7b", "13b")
            for n in (5, 10, 20, 30, 50, 70, 100)
        ),
        Row("single sources", "3b", 30e9, 15),
        Row("proportions of 8 categories", "3b", 30e9, 40),
        Row("grid reasoning × visual", "3b", 30e9, 30),
        Row("mixes 0 to 10", "3b", 50e9, 11),
        Row("1T tokens", "7b", 1e12, 2),
    )
}


def program(name: str) -> tuple[Row, ...]:
    """The rows of a named programme.

    Raises:
        PresightError: no such programme.
    """
    if name not in PROGRAMS:
        raise PresightError("program", f"{name!r} is no programme of runs", nearest(name, PROGRAMS))
    return PROGRAMS[name]


def cost(
    rows: Iterable[Row], *, gpu: str = "A100", layout: Layout | None = None, mfu: float | None = None
) -> list[tuple[Row, Prediction]]:
    """Each row with the prediction of *one* of its runs; a programme's hours are the sum of ``runs × gpu_hours``."""
    layout = layout or Layout(gpus=128)
    return [(row, predict(row.model, row.tokens, gpu=gpu, layout=layout, mfu=mfu)) for row in rows]
