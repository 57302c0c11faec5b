"""Writes the small tokenizers of this folder and what the reference makes of some texts.

Made with Hugging Face tokenizers 0.23.3: python3 make.py. Texts are invented here.
"""
import json
import os

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
TEXTS = [
    "usb c cable 2m", "USB-C  Cable, 2 m!", " leading and trailing ", "don't they're we'll I'd",
    "café crème brûlée", "e\u0301 ﬁ ① ½ ﷺ", "日本語のテスト、ｶﾞｷﾞ。", "한국어 테스트", "İstanbul ıspanak",
    "a\tb\nc\r\n  d", "[X]foo [X] food foo", "x<mask>y <mask> z", "👩‍👩‍👧 ok 😀", "12345 67 8", "",
    "▁already▁marked", "Ǆ ΣΑΣ straße", "\u3000\u00a0\u2028", "h\u0001i\u200bj\ufeff", "ééééééééééééééééé" * 3,
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
]
SPECIALS = ["<s>", "</s>", "<pad>", "<unk>", "<mask>"]
GPT4 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def bpe(size=160, **k):
    return trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIALS, show_progress=False, **k)


def unigram(size=150):
    return trainers.UnigramTrainer(vocab_size=size, special_tokens=SPECIALS, unk_token="<unk>",
                                   show_progress=False)


def wordpiece():
    return trainers.WordPieceTrainer(vocab_size=150, special_tokens=SPECIALS + ["[UNK]"],
                                     show_progress=False)


def template(pair_type):
    return processors.TemplateProcessing(
        single="<s> $A </s>", pair=f"<s> $A </s> $B:{pair_type} </s>:{pair_type}",
        special_tokens=[("<s>", 0), ("</s>", 1)])


def build():
    n, p, m = normalizers, pre_tokenizers, models
    alphabet = p.ByteLevel.alphabet()
    yield ("byte-level-prefix", m.BPE(), None, p.ByteLevel(add_prefix_space=True),
           bpe(300, initial_alphabet=alphabet),
           processors.RobertaProcessing(("</s>", 1), ("<s>", 0)), [])
    yield ("byte-level-split", m.BPE(), n.NFC(),
           p.Sequence([p.Split(Regex(GPT4), "isolated"),
                       p.ByteLevel(add_prefix_space=False, use_regex=False)]),
           bpe(300, initial_alphabet=alphabet), None,
           [AddedToken("[X]", normalized=False), AddedToken("foo", single_word=True)])
    yield ("bpe-fused-unknown", m.BPE(unk_token="<unk>", fuse_unk=True),
           n.Sequence([n.NFKC(), n.Lowercase()]), p.Whitespace(), bpe(limit_alphabet=30), None, [])
    yield ("bpe-unknown", m.BPE(unk_token="<unk>"), n.Sequence([n.NFD(), n.StripAccents()]),
           p.WhitespaceSplit(), bpe(limit_alphabet=30), None, [])
    yield ("bpe-suffix", m.BPE(unk_token="<unk>", end_of_word_suffix="</w>"), n.BertNormalizer(),
           p.BertPreTokenizer(), bpe(end_of_word_suffix="</w>"), template(1), [])
    yield ("bpe-prefix", m.BPE(unk_token="<unk>", continuing_subword_prefix="##"),
           n.BertNormalizer(lowercase=False), p.BertPreTokenizer(),
           bpe(continuing_subword_prefix="##"), None, [])
    yield ("bpe-prepended", m.BPE(unk_token="<unk>", byte_fallback=True),
           n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")]), None, bpe(), template(0), [])
    yield ("unigram-nmt", m.Unigram(), n.Sequence([n.Nmt(), n.NFKC(), n.Replace(Regex(" {2,}"), " ")]),
           p.Metaspace(), unigram(), template(1), [])
    yield ("unigram-first", m.Unigram(), n.NFKD(), p.Metaspace(prepend_scheme="first", split=False),
           unigram(), None,
           [AddedToken("[X]", lstrip=True, rstrip=True), AddedToken("foo", normalized=True)])
    yield ("unigram-never", m.Unigram(), n.Sequence([n.Strip(), n.Lowercase()]),
           p.Sequence([p.Punctuation("merged_with_previous"), p.Digits(individual_digits=True),
                       p.Metaspace(prepend_scheme="never")]), unigram(), None, [])
    yield ("wordpiece-words", m.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30),
           n.Sequence([n.NFKC(), n.Lowercase(), n.StripAccents()]), p.Whitespace(), wordpiece(),
           None, [])
    yield ("wordpiece-digits", m.WordPiece(unk_token="[UNK]"), n.BertNormalizer(strip_accents=False),
           p.Sequence([p.WhitespaceSplit(), p.Punctuation("contiguous"), p.Digits()]), wordpiece(),
           processors.BertProcessing(("</s>", 1), ("<s>", 0)), [])
    yield ("wordlevel", m.WordLevel(unk_token="<unk>"), n.Lowercase(), p.CharDelimiterSplit(" "),
           trainers.WordLevelTrainer(vocab_size=60, special_tokens=SPECIALS, show_progress=False),
           None, [])
    for behaviour in ("removed", "isolated", "merged_with_previous", "merged_with_next",
                      "contiguous"):
        yield (f"split-{behaviour}", m.BPE(unk_token="<unk>"), None,
               p.Split(Regex(r"[aeiou ]|\d+"), behaviour, invert=behaviour == "isolated"),
               bpe(100, limit_alphabet=60), None, [])


def main():
    expected = {}
    for name, model, normalizer, pre, trainer, post, added in build():
        t = Tokenizer(model)
        if normalizer:
            t.normalizer = normalizer
        if pre:
            t.pre_tokenizer = pre
        t.train_from_iterator(TEXTS, trainer)
        if post:
            t.post_processor = post
        for token in added:
            t.add_tokens([token])
        t.save(os.path.join(HERE, name + ".json"), pretty=False)
        pairs = [t.encode(a, b) for a, b in zip(TEXTS, TEXTS[1:])]
        expected[name] = {"texts": [t.encode(text).ids for text in TEXTS],
                          "pairs": [{"ids": e.ids, "type_ids": e.type_ids} for e in pairs]}
    with open(os.path.join(HERE, "expected"), "w", encoding="utf-8") as f:
        json.dump({"texts": TEXTS, "tokenizers": expected}, f, ensure_ascii=True,
                  separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
