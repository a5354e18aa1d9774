"""The peers of the benchmarks: the published networks as people run them today, in PyTorch.

usage: peers.py NETWORK DEPTH WEIGHTS INPUTS OUTPUT THREADS DTYPE DEVICE

A benchmark starts this beside itself and speaks with it by lines: "run" runs one forward pass and answers with its
seconds, "save" writes the last result to OUTPUT and answers "saved", "reference" does the same with the result of the
network in float32. WEIGHTS and INPUTS are safetensors files.
"""

import sys
import time

import torch
from safetensors.torch import load_file, save_file


def load(model, weights, ignore=()):
    state = {name: tensor for name, tensor in load_file(weights).items() if name not in ignore}
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


def pixcell(depth, weights, sizes):
    """diffusers' transformer whose blocks, embeddings and names PixCell's class has."""
    from diffusers import PixArtTransformer2DModel

    dim, heads = sizes["dim"], sizes["heads"]
    model = PixArtTransformer2DModel(
        num_attention_heads=heads, attention_head_dim=dim // heads, in_channels=16, out_channels=32,
        num_layers=depth, cross_attention_dim=dim, attention_bias=True, sample_size=32, patch_size=2,
        activation_fn="gelu-approximate", num_embeds_ada_norm=1000, norm_type="ada_norm_single",
        norm_elementwise_affine=False, norm_eps=1e-6, interpolation_scale=0.5,
        use_additional_conditions=False, caption_channels=1536)
    model = load(model, weights, ignore=("caption_projection.uncond_embedding",))
    none = {"resolution": None, "aspect_ratio": None}

    def run(inputs):
        return model(inputs["x"], encoder_hidden_states=inputs["y"], timestep=inputs["t"],
                     added_cond_kwargs=none, return_dict=False)[0]

    return model, run


def uni2h(depth, weights, sizes):
    import timm

    model = timm.create_model(
        "vit_giant_patch14_224", pretrained=False, img_size=224, patch_size=14, depth=depth, num_heads=24,
        init_values=1e-5, embed_dim=1536, mlp_ratio=2.66667 * 2, num_classes=0, no_embed_class=True,
        mlp_layer=timm.layers.SwiGLUPacked, act_layer=torch.nn.SiLU, reg_tokens=8, dynamic_img_size=True)
    model = load(model, weights)
    return model, lambda inputs: model(inputs["x"])


def cancerfoundation(depth, weights, sizes):
    """torch's own encoder layers, which the published code uses, behind its two embeddings."""
    from torch import nn

    class ValueEncoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear1, self.linear2, self.norm = nn.Linear(1, 256), nn.Linear(256, 256), nn.LayerNorm(256)

        def forward(self, x):
            return self.norm(self.linear2(torch.relu(self.linear1(x.clamp(max=512).unsqueeze(-1)))))

    class GeneEncoder(nn.Module):
        def __init__(self, genes):
            super().__init__()
            self.embedding = nn.Embedding(genes, 256, padding_idx=1)
            self.enc_norm = nn.LayerNorm(256)

        def forward(self, ids):
            return self.enc_norm(self.embedding(ids))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.gene_encoder, self.value_encoder = GeneEncoder(sizes["genes"]), ValueEncoder()
            layer = nn.TransformerEncoderLayer(256, 8, 512, dropout=0.2, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, depth)

        def forward(self, ids, values):
            padding = ids.eq(1)
            x = self.gene_encoder(ids) + self.value_encoder(values)
            return self.encoder(x, src_key_padding_mask=padding)[:, 0]

    model = load(Model(), weights)
    return model, lambda inputs: model(inputs["ids"], inputs["values"])


def sd3_vae(depth, weights, sizes):
    from diffusers import AutoencoderKL

    block = "UpDecoderBlock2D"
    model = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=16, block_out_channels=(128, 256, 512, 512),
        layers_per_block=2, act_fn="silu", norm_num_groups=32, sample_size=1024, use_quant_conv=False,
        use_post_quant_conv=False, mid_block_add_attention=True, scaling_factor=1.5305, shift_factor=0.0609,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=(block,) * 4)
    model = load(model, weights)
    return model, lambda inputs: model.decode(inputs["z"] / 1.5305 + 0.0609, return_dict=False)[0]


def main():
    network, depth, weights, inputs, output, threads, dtype, device = sys.argv[1:]
    torch.set_num_threads(int(threads))
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
    tensors = load_file(inputs)
    sizes = {name[5:]: int(value) for name, value in tensors.items() if name.startswith("size.")}
    make = globals()[network]

    def prepare(dtype):
        model, run = make(int(depth), weights, sizes)
        model.to(device=device, dtype=dtype)
        given = {name: tensor.to(device) if name in ("ids", "t") else tensor.to(device=device, dtype=dtype)
                 for name, tensor in tensors.items()}
        return lambda: run(given)

    def save(result):
        save_file({"out": result.float().cpu().contiguous()}, output)
        print("saved", flush=True)

    forward = prepare(dtype)
    result = None
    print("ready", flush=True)
    with torch.inference_mode():
        for line in sys.stdin:
            if line.strip() == "run":
                start = time.perf_counter()
                result = forward()
                if device != "cpu":
                    torch.cuda.synchronize()
                print(time.perf_counter() - start, flush=True)
            elif line.strip() == "save":
                save(result)
            elif line.strip() == "reference":
                save(prepare(torch.float32)())


main()
