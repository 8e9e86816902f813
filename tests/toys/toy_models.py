"""Language models and vision encoders with a few random weights, in the formats that real ones have."""

import torch

SIZES = dict(vocab_size=300, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, max_position_embeddings=32)
VISION = dict(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=12, patch_size=4
)


def tiny_lm(name):
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    if name == "llama":
        return LlamaForCausalLM(LlamaConfig(**SIZES, intermediate_size=32))
    return GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=16, n_layer=3, n_head=2, n_positions=32))


def tiny_encoder(name):
    import transformers as hf

    torch.manual_seed(0)
    more = {"Dinov2WithRegisters": {"num_register_tokens": 3}}.get(name, {})
    model = {"CLIP": "CLIPVisionModel", "Siglip": "SiglipVisionModel"}.get(name, f"{name}Model")
    config = {"CLIP": "CLIPVisionConfig", "Siglip": "SiglipVisionConfig"}.get(name, f"{name}Config")
    return getattr(hf, model)(getattr(hf, config)(**VISION, **more))
