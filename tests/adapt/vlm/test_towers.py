import numpy as np
import pytest
import torch
from PIL import Image
from toy_models import VISION, tiny_encoder

from adapt.vlm.towers import Tower
from presight.errors import PresightError

SIZES = dict(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12})
FAMILIES = ["CLIP", "Siglip", "Dinov2", "Dinov2WithRegisters", "ViT", "ViTMAE"]
OTHERS = {"CLIP": 1, "Siglip": 0, "Dinov2": 1, "Dinov2WithRegisters": 4, "ViT": 1, "ViTMAE": 1}


def images(count=3):
    return [Image.fromarray(np.random.default_rng(i).integers(0, 256, (20, 16, 3), np.uint8)) for i in range(count)]


def processor():
    from transformers import CLIPImageProcessorPil

    return CLIPImageProcessorPil(**SIZES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("towers")
    for name in FAMILIES:
        tiny_encoder(name).save_pretrained(root / name)
        processor().save_pretrained(root / name)
    return root


def states(model, shown, **more):
    with torch.inference_mode():
        return model.eval()(pixel_values=shown, output_hidden_states=True, **more).hidden_states


@pytest.mark.parametrize("name", FAMILIES)
def test_grid_is_that_of_patches_in_order(name, folders):
    tower, model = Tower(folders / name), tiny_encoder(name)
    assert (tower.modality, tower.grid, tower.width, tower.layer) == ("image", (3, 3), 16, -2)
    assert tower.size == "12 pixels"
    found = tower(images())
    shown = torch.from_numpy(
        np.stack([processor()(each, return_tensors="np")["pixel_values"][0] for each in images()])
    )
    if name == "ViTMAE":
        return  # below
    for layer in (-2, -1, 0):
        expected = states(model, shown)[layer][:, OTHERS[name] :].numpy()
        assert expected.shape == (3, 9, 16)
        assert np.abs(Tower(folders / name, layer=layer)(images()) - expected).max() < 1e-6
    alone = np.concatenate([tower([each]) for each in images()])
    assert np.abs(alone - found).max() < 1e-5


def test_patches_of_an_autoencoder_are_put_back_in_their_order(folders):
    model = tiny_encoder("ViTMAE")
    assert model.config.mask_ratio == 0.75  # left alone it hides three patches of four, others every time
    shown = torch.from_numpy(
        np.stack([processor()(each, return_tensors="np")["pixel_values"][0] for each in images()])
    )
    found = Tower(folders / "ViTMAE")(images())
    assert found.shape == (3, 9, 16)
    assert np.array_equal(found, Tower(folders / "ViTMAE")(images()))
    model.config.mask_ratio = 0.0
    torch.manual_seed(3)
    with torch.inference_mode():
        shuffled = model.eval()(pixel_values=shown, output_hidden_states=True)
    order = shuffled.ids_restore
    assert not torch.equal(order[0], torch.arange(9))
    patches = shuffled.hidden_states[-2][:, 1:]
    for picture in range(3):
        for place in range(9):
            expected = patches[picture, order[picture, place]].numpy()
            assert np.abs(found[picture, place] - expected).max() < 1e-5


def test_a_patch_that_changes_is_the_one_that_was_painted(folders):
    """Of the embeddings, which look at one patch each; in every family."""
    plain = Image.new("RGB", (12, 12), "white")
    for name in FAMILIES:
        tower = Tower(folders / name, layer=0)
        for row, column in ((0, 0), (0, 2), (2, 1)):
            painted = plain.copy()
            painted.paste((0, 0, 0), (4 * column, 4 * row, 4 * column + 4, 4 * row + 4))
            moved = np.abs(tower([plain]) - tower([painted])).max((0, 2)).reshape(3, 3)
            assert np.argwhere(moved > 1e-6).tolist() == [[row, column]], name


def test_of_two_towers_the_one_that_sees_is_taken(folders, tmp_path):
    from transformers import CLIPConfig, CLIPModel

    text = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=20)
    torch.manual_seed(0)
    both = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8))
    both.save_pretrained(tmp_path)
    processor().save_pretrained(tmp_path)
    alone = both.vision_model
    shown = torch.from_numpy(
        np.stack([processor()(each, return_tensors="np")["pixel_values"][0] for each in images()])
    )
    tower = Tower(tmp_path)
    assert tower.name == "CLIPVisionModel"
    assert np.abs(tower(images()) - states(alone, shown)[-2][:, 1:].numpy()).max() < 1e-6


@pytest.mark.parametrize("name", FAMILIES)
def test_another_side_interpolates_positions(name, folders):
    tower = Tower(folders / name, side=20)
    assert tower.grid == (5, 5)
    assert tower(images()).shape == (3, 25, 16)
    assert tower.blank().shape == (3, 20, 20)
    assert tower.size == "20 pixels"


def test_what_processors_cut_off_stays_in_proportion(tmp_path):
    from transformers import BitImageProcessorPil, ViTImageProcessorPil

    tiny_encoder("Dinov2").save_pretrained(tmp_path)
    BitImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 12, "width": 12}).save_pretrained(tmp_path)
    tower = Tower(tmp_path, side=24)
    expected = BitImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 24, "width": 24})
    assert np.array_equal(tower.pixels(images()[0]), expected(images()[0], return_tensors="np")["pixel_values"][0])
    ViTImageProcessorPil(size={"height": 12, "width": 12}).save_pretrained(tmp_path)
    assert Tower(tmp_path).grid == (3, 3)
    assert Tower(tmp_path, side=8).grid == (2, 2)


def test_what_is_no_tower_is_refused(folders, tmp_path):
    with pytest.raises(PresightError, match="encoder: transformers cannot load"):
        Tower(tmp_path)
    with pytest.raises(PresightError, match="layer: -4 of 3"):
        Tower(folders / "CLIP", layer=-4)
    from transformers import SwinConfig, SwinModel

    swin = SwinModel(
        SwinConfig(image_size=12, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=2)
    )
    swin.save_pretrained(tmp_path / "swin")
    processor().save_pretrained(tmp_path / "swin")
    with pytest.raises(PresightError, match="the states of SwinModel are not its patches"):
        Tower(tmp_path / "swin")
    tiny_encoder("ViT").save_pretrained(tmp_path / "bare")
    with pytest.raises(PresightError, match="save encoder and processor there"):
        Tower(tmp_path / "bare")


def test_missing_weights_are_not_drawn_at_random(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    tiny_encoder("CLIP").save_pretrained(tmp_path)
    processor().save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in state if "layers.0" in name)
    save_file({name: tensor for name, tensor in state.items() if name != gone}, tmp_path / "model.safetensors")
    with pytest.raises(PresightError, match="1 weights are missing"):
        Tower(tmp_path)


def test_pictures_of_several_sizes_need_a_processor_that_crops(tmp_path):
    from transformers import ViTImageProcessorPil

    tiny_encoder("Dinov2").save_pretrained(tmp_path)
    ViTImageProcessorPil(size={"shortest_edge": 12}, do_center_crop=False).save_pretrained(tmp_path)
    tower = Tower(tmp_path)
    with pytest.raises(PresightError, match="grids would differ"):
        tower([images()[0], Image.new("RGB", (12, 40))])


def test_half_precision_is_close(folders):
    full, half = Tower(folders / "CLIP"), Tower(folders / "CLIP", dtype="float16")
    assert half(images()).dtype == np.float32
    assert 0 < np.abs(full(images()) - half(images())).max() < 0.01 * np.abs(full(images())).max()
