"""The PEFT types that dsum loads or trains: one row per type, from which every set of types is derived."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PeftType:
    """name: `peft_type` in adapter_config.json. config_class: its class in `peft`.

    adds_to_base: adds its update, multiplied by `scaling`, to the base's output, so that its strength can be changed.
    reads_base: reads or copies the base's weights instead of using only a layer's output. changes_inputs: a prompt
    method; PEFT changes the model during a call, so calls must not overlap.
    """

    name: str
    config_class: str
    adds_to_base: bool = False
    reads_base: bool = False
    changes_inputs: bool = False


PEFT_TYPES = {
    row.name: row
    for row in (
        PeftType("LORA", "LoraConfig", adds_to_base=True),
        PeftType("ADALORA", "AdaLoraConfig", adds_to_base=True, reads_base=True),
        PeftType("LOHA", "LoHaConfig", adds_to_base=True, reads_base=True),
        PeftType("LOKR", "LoKrConfig", adds_to_base=True, reads_base=True),
        PeftType("VERA", "VeraConfig", reads_base=True),
        PeftType("OFT", "OFTConfig", reads_base=True),
        PeftType("BOFT", "BOFTConfig", reads_base=True),
        PeftType("FOURIERFT", "FourierFTConfig", reads_base=True),
        PeftType("LN_TUNING", "LNTuningConfig", reads_base=True),
        PeftType("IA3", "IA3Config"),
        PeftType("PROMPT_TUNING", "PromptTuningConfig", changes_inputs=True),
        PeftType("PREFIX_TUNING", "PrefixTuningConfig", changes_inputs=True),
        PeftType("P_TUNING", "PromptEncoderConfig", changes_inputs=True),
    )
}
