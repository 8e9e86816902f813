"""An LM with an encoder attached as one folder that transformers loads: LLaVA, or what is registered beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from adapt.vlm.encode import Encoding
from presight.console import say
from presight.errors import PresightError
from presight.stage import Needs, Stage

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

ASKED = "What is in the picture?"  # when an export is compared with what it was made from
HOW = """A language model behind {name}.

```python
{first}from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained("this folder")
processor = AutoProcessor.from_pretrained("this folder")
```
"""
CLOSE = 1e-3  # how far logits may be apart, as a share of the largest


class Export(Encoding):
    """A folder for ``AutoModelForImageTextToText`` and ``AutoProcessor``, encoder and chat template within: ``llava``.

    It is plain LLaVA where that can hold the model: as many tokens as the encoder's grid has places, no norm behind
    the projector, an encoder that LLaVA reads as it was read here. Else it is ``presight_llava``, and EfficientNet is
    a tower of this project's: import `adapt.vlm.llava` before such a folder is loaded. Weights are in float32; what
    would give other logits than what it was made from is refused.
    """

    kind = "llava"
    version = "1"

    model: Annotated[Stage, Needs("vlm")]

    @property
    def device(self) -> str:
        """Where it runs: a question is asked, no more."""
        return "cpu"

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write weights, configuration, processor and tokenizer as transformers does.

        Raises:
            PresightError: the model listens, another encoder is given than it was trained behind, or LLaVA has no
                place for what its LM does.
        """
        import torch

        from adapt.vlm.assembly import assembled
        from adapt.vlm.encoders import Sight
        from adapt.vlm.model import VisionLanguageModel

        model = VisionLanguageModel.load(inputs["model"])
        attached = model.attachment
        if attached.modality != "image":
            raise PresightError("model", "listens to sounds, and LLaVA looks at images", "export one that looks")
        encoder, called = self.opened("image")
        if called != attached.encoder:
            problem = f"is {called}; the model was trained behind {attached.encoder}"
            raise PresightError("encoder", problem, "give that one, read as it was then")
        assert isinstance(encoder, Sight)
        encoder.module.float()
        shown = encoder.pixels(_picture())
        with torch.inference_mode():
            asked = model.template.prompt(ASKED, picture=True)
            given = model.prompt(ASKED, torch.from_numpy(encoder.encode([shown])[0]))
            expected = model.language(inputs_embeds=given[None]).logits[0]
        made, processor = assembled(model, encoder)
        made.save_pretrained(out)
        processor.save_pretrained(out)
        spelled = [*asked.ids[: asked.place], *[made.config.image_token_index] * attached.tokens]
        spelled += [*asked.ids[asked.place :]]
        kinds = (made.config.model_type, made.config.vision_config.model_type)
        plain = not any(kind.startswith("presight_") for kind in kinds)
        del model, made  # before it is read again: of a large LM there is room for one
        apart, alike = compared(out, torch.from_numpy(shown), [int(each) for each in spelled], expected)
        if not apart < CLOSE:
            problem = f"gives other logits than the LM does, by {apart:.1%} of the largest"
            raise PresightError("LLaVA of transformers", problem, "take an LM whose logits are its head's alone")
        if not alike:
            say("the processor parts the text around a picture into other tokens than the model was tuned with")
        (out / "README.md").write_text(HOW.format(first="" if plain else "import adapt.vlm.llava\n", name=called))
        counts = {"tokens": attached.tokens, "plain": plain, "same_prompts": alike}
        (out / "counts.json").write_text(json.dumps(counts))


def compared(folder: Path, pixels: Tensor, ids: Sequence[int], expected: Tensor) -> tuple[float, bool]:
    """How far an export is from what it was made from, and whether its processor writes a question in the same tokens.

    Args:
        folder: the export.
        pixels: of a picture [3, H, W].
        ids: of a question about it, the picture's tokens among them.
        expected: the LM's logits [T, V]; words that were added for the export are not compared.

    Returns:
        The largest difference of logits, as a share of the largest logit; and the latter.
    """
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
    model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    with torch.inference_mode():
        found = model(input_ids=torch.tensor([ids]), pixel_values=pixels[None]).logits[0, :, : expected.shape[1]]
    apart = float((found - expected).abs().max() / expected.abs().max())
    content = [{"type": "image"}, {"type": "text", "text": ASKED}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    read = processor(images=_picture(), text=text, add_special_tokens=False, return_tensors="pt")["input_ids"][0]
    return apart, read.tolist() == list(ids)


def _picture() -> Image:
    """A picture in which every place is another."""
    from PIL import Image

    drawn = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(drawn).resize((256, 256), Image.Resampling.BILINEAR)
