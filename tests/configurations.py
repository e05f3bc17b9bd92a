"""Tiny diffusers configurations for the tests: a few thousand parameters on a handful of pixels."""

UNET = {
    "_class_name": "UNet2DModel",
    "sample_size": 4,
    "in_channels": 1,
    "out_channels": 1,
    "layers_per_block": 1,
    "block_out_channels": [4, 4],
    "down_block_types": ["DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D"],
    "attention_head_dim": 4,
    "norm_num_groups": 2,
}
CLASS_UNET = UNET | {"num_class_embeds": 3}
TEXT_UNET = UNET | {
    "_class_name": "UNet2DConditionModel",
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "attention_head_dim": 2,
    "cross_attention_dim": 5,
}
SDXL = TEXT_UNET | {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 30,
}
# attention whose keys and values of the text are added to those of the image, as in Kandinsky and IF
ADDED_KEYS = TEXT_UNET | {
    "down_block_types": ["SimpleCrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "SimpleCrossAttnUpBlock2D"],
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
}
SIGNAL = {
    "_class_name": "UNet1DModel",
    "sample_size": 16,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": [8, 8],
    "down_block_types": ["DownResnetBlock1D", "DownResnetBlock1D"],
    "up_block_types": ["UpResnetBlock1D"],
    "mid_block_type": "MidResTemporalBlock1D",
    "out_block_type": "OutConv1DBlock",
    "use_timestep_embedding": True,
    "time_embedding_type": "positional",
    "act_fn": "mish",
}
# diffusers' default blocks: the time embedding enters as 8 more channels, the last convolution adds to a skip
AUDIO = {
    "_class_name": "UNet1DModel",
    "sample_size": 16,
    "in_channels": 1,
    "out_channels": 1,
    "extra_in_channels": 8,
    "time_embedding_type": "positional",
    "block_out_channels": [8, 32],
    "down_block_types": ["DownBlock1DNoSkip", "DownBlock1D"],
    "up_block_types": ["UpBlock1D", "UpBlock1DNoSkip"],
}
DIT = {
    "_class_name": "DiTTransformer2DModel",
    "sample_size": 4,
    "in_channels": 1,
    "out_channels": 2,
    "num_layers": 1,
    "patch_size": 2,
    "attention_head_dim": 4,
    "num_attention_heads": 2,
    "num_embeds_ada_norm": 3,
}
PIXART = {
    "_class_name": "PixArtTransformer2DModel",
    "sample_size": 4,
    "in_channels": 1,
    "out_channels": 2,
    "num_layers": 1,
    "patch_size": 2,
    "attention_head_dim": 6,
    "num_attention_heads": 2,
    "cross_attention_dim": 12,
    "caption_channels": 5,
    "use_additional_conditions": True,
}
EVERY_CLASS = {config["_class_name"]: config for config in (CLASS_UNET, TEXT_UNET, SIGNAL, DIT, PIXART)}
EVERY_KIND = EVERY_CLASS | {"bare": UNET, "SDXL": SDXL, "added keys": ADDED_KEYS, "audio": AUDIO}
