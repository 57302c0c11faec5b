"""Classifiers as transformers saves them, one of each family: the same probabilities."""
import numpy as np
import pytest

import medley

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, max_position_embeddings=66)
FAMILIES = {
    "bert": {},
    "roberta": {"type_vocab_size": 1},
    "xlm-roberta": {"type_vocab_size": 1},
    "camembert": {"type_vocab_size": 1},
    "electra": {"embedding_size": 24},
    "mpnet": {},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8, "share_att_key": True,
                   "norm_rel_ebd": "layer_norm", "type_vocab_size": 0, "position_biased_input": False},
    "big_bird": {"attention_type": "original_full"},
    "modernbert": {"reference_compile": False, "local_attention": 16, "global_attn_every_n_layers": 2},
}
LONG = "a very long cable of many colours and no end at all " * 8
PAIRS = [("usb cable", "Red cable, 2 m"), ("usb <b>cable</b>", "cable &amp; plug"), ("", ""), ("shoes", LONG), (LONG, "shoes"),
         (LONG, LONG + "x"), (LONG + "x", LONG)]


@pytest.fixture(scope="module")
def tokenizer(workspace):
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(workspace.folder / "models" / "small" / "tokenizer.json"), unk_token="[UNK]", pad_token="[PAD]",
        cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]", model_max_length=64)


@pytest.mark.parametrize("labels", [4, 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_same_probabilities(tokenizer, tmp_path, family, labels):
    torch.manual_seed(5)
    config = transformers.AutoConfig.for_model(family, **{"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id,
                                                          "num_labels": labels, **SIZES, **FAMILIES[family]})
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    for name, p in model.named_parameters():  # as they come, biases are 0 and heads say nothing
        if name.endswith("bias") or "classifier" in name:
            torch.nn.init.normal_(p, std=0.3)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    ours = medley.CrossEncoder(tmp_path)
    assert ours.max_length == 64
    for pair, said in zip(PAIRS, ours.predict(PAIRS)):
        batch = tokenizer([pair[0]], [pair[1]], truncation=True, return_tensors="pt",  # lists: an empty text is a text
                          return_token_type_ids=getattr(config, "type_vocab_size", 0) > 1)
        if family == "mpnet" and tokenizer.unk_token_id in batch["input_ids"]:
            continue  # 1 in this vocabulary, and that is padding to MPNet whatever its configuration says
        with torch.no_grad():
            logits = model(**batch).logits[0]
        theirs = torch.softmax(logits, 0) if labels > 1 else torch.sigmoid(logits)[0]
        assert np.allclose(said, theirs.numpy(), atol=1e-5), pair
