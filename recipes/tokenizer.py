"""Trains the family's tokenizer: an 8k Unigram vocabulary that keeps newlines, speaker labels and punctuation apart.

Speaker labels and newlines are ordinary pieces, not special tokens: `skip_special_tokens=True` must
not eat `#Person1#` out of a summary.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY_SIZE = 8000
SENTINELS = 32
WHOLE_PIECES = (*(f"▁#Person{i}#" for i in range(1, 10)), "▁\n", '▁"', "▁(", "▁$", "▁Summarize", "▁Summary")
MAX_LENGTH = 512

# A speaker label, a newline and each punctuation mark stand alone; apostrophes and hyphens stay in their word.
SPLIT = r"▁?#Person\d+#|▁?\n|▁?[^\w\s'▁\-]"


def in_fixed_order(tokenizer: Tokenizer, specials: int) -> list[tuple[str, float]]:
    """A trained Unigram tokenizer's (piece, score), best first. The trainer's order of ties and of sums differs between
    processes, so equal scores differ in their last digits.
    """
    pieces = [(piece, round(score, 6)) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]
    return pieces[:specials] + sorted(pieces[specials:], key=lambda piece: (-piece[1], piece[0]))


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train on `texts`; ids 0, 1, 2 are pad, end, unknown, and the last 32 ids are T5's sentinels."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(r" *\n"), " \n "), normalizers.Replace(Regex(r" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="always", split=True),
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Metaspace(prepend_scheme="always"),
            decoders.Fuse(),
            decoders.Replace(Regex(r" ?\n ?"), "\n"),
        ]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY_SIZE - SENTINELS - len(WHOLE_PIECES),
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    learned = in_fixed_order(tokenizer, specials=3)
    known = {piece for piece, _ in learned}
    # The trainer builds pieces of letters and digits only; these are worth one each, and at -3 they always win.
    tokenizer.model = models.Unigram(learned + [(p, -3.0) for p in WHOLE_PIECES if p not in known], unk_id=2)
    tokenizer.add_special_tokens([AddedToken(f"<extra_id_{i}>", special=True) for i in range(SENTINELS)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=[f"<extra_id_{i}>" for i in range(SENTINELS)],
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )
