"""What loading in bfloat16 and sharing the base's tensors buy, against float32 and models loaded apart, in one run.

    python benchmarks/serving.py

A FLAN-T5-base-shaped model with random weights (nothing is downloaded): 230 tokens in, 48 out, greedy. Prints a row a
claim, with the ratio to the plain way; `benchmarks/README.md` holds a result.
"""

from __future__ import annotations

import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import GenerationConfig, T5Config, T5ForConditionalGeneration

from dsum_demo.assembly import native_bf16, twin

SHAPE = {
    "vocab_size": 32128, "d_model": 768, "d_kv": 64, "d_ff": 2048, "num_layers": 12, "num_heads": 12,
    "feed_forward_proj": "gated-gelu", "decoder_start_token_id": 0,
}  # fmt: skip
TOKENS_IN, TOKENS_OUT, REPEATS = 230, 48, 5


def seconds(model: torch.nn.Module, inputs: torch.Tensor) -> float:
    """Median time of one summary."""
    settings = GenerationConfig(
        max_new_tokens=TOKENS_OUT, min_new_tokens=TOKENS_OUT, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1
    )
    times = []
    with torch.inference_mode():
        for _ in range(REPEATS + 1):
            started = time.perf_counter()
            model.generate(input_ids=inputs, attention_mask=torch.ones_like(inputs), generation_config=settings)
            times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def megabytes(*models: torch.nn.Module) -> float:
    """Tensors of all models together, shared ones once."""
    storages = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for m in models for p in m.parameters()}
    return sum(storages.values()) / 1e6


def with_lora(base: torch.nn.Module) -> torch.nn.Module:
    config = LoraConfig(task_type="SEQ_2_SEQ_LM", r=32, lora_alpha=32, target_modules=["q", "v"])
    return get_peft_model(base, config, autocast_adapter_dtype=False)


def main() -> None:
    torch.manual_seed(0)
    plain = T5ForConditionalGeneration(T5Config(**SHAPE)).eval()
    inputs = torch.randint(10, 32000, (1, TOKENS_IN))
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, bfloat16 in hardware: {native_bf16()}")
    slow, size = seconds(plain, inputs), megabytes(plain)
    halved = twin(plain).to(torch.bfloat16)
    fast, small = seconds(halved, inputs), megabytes(halved)
    print(f"time of a summary      fp32 {slow:.2f} s    bf16 {fast:.2f} s    {fast / slow:.2f}x")
    print(f"weights                fp32 {size:.0f} MB   bf16 {small:.0f} MB   {small / size:.2f}x")
    shared = megabytes(plain, with_lora(twin(plain)))
    apart = size + megabytes(with_lora(T5ForConditionalGeneration(T5Config(**SHAPE))))
    print(f"original and LoRA      apart {apart:.0f} MB  shared {shared:.0f} MB  {shared / apart:.2f}x")


if __name__ == "__main__":
    main()
