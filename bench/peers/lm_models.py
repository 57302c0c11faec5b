"""Encoders of the benchmarks with random weights: a folder that Medley and Transformers load, and the same
weights as an ONNX graph in the form that ONNX Runtime's own optimiser for transformers aims at (fused
embeddings, attention, skip + norm, bias + GELU), in float32 and quantised."""
import json
import pathlib
import shutil
import struct

import numpy as np

SHAPES = {
    "minilm": dict(hidden=384, layers=6, heads=12, inner=1536),
    "base": dict(hidden=768, layers=12, heads=12, inner=3072),
}
WORDS, POSITIONS, CLASSES, EPS = 30522, 512, 4, 1e-12


def weights(shape, seed=1):
    """Hugging Face's names to arrays, as BertForSequenceClassification holds them."""
    random = np.random.default_rng(seed)
    hidden, inner = shape["hidden"], shape["inner"]
    out = {}

    def matrix(name, rows, cols, std=0.02):
        out[name + ".weight"] = random.normal(0, std, (rows, cols)).astype(np.float32)

    def linear(name, rows, cols, std=0.04):
        matrix(name, rows, cols, std)
        out[name + ".bias"] = random.normal(0, 0.02, rows).astype(np.float32)

    def norm(name):
        out[name + ".weight"] = np.ones(hidden, np.float32)
        out[name + ".bias"] = np.zeros(hidden, np.float32)

    for table, rows in (("word", WORDS), ("position", POSITIONS), ("token_type", 2)):
        matrix(f"bert.embeddings.{table}_embeddings", rows, hidden)
    norm("bert.embeddings.LayerNorm")
    for i in range(shape["layers"]):
        layer = f"bert.encoder.layer.{i}."
        for part in ("query", "key", "value"):
            linear(layer + "attention.self." + part, hidden, hidden)
        linear(layer + "attention.output.dense", hidden, hidden)
        norm(layer + "attention.output.LayerNorm")
        linear(layer + "intermediate.dense", inner, hidden)
        linear(layer + "output.dense", hidden, inner)
        norm(layer + "output.LayerNorm")
    linear("bert.pooler.dense", hidden, hidden)
    linear("classifier", CLASSES, hidden)
    return out


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, x in tensors.items():
        header[name] = dict(dtype="F32", shape=list(x.shape), data_offsets=[offset, offset + x.nbytes])
        offset += x.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for x in tensors.values():
            f.write(x.tobytes())


def folder(path, name, tokenizer):
    """Made when it is not there yet."""
    path, shape = pathlib.Path(path), SHAPES[name]
    if (path / "model.safetensors").exists():
        return path
    path.mkdir(parents=True, exist_ok=True)
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(tokenizer / file, path / file)
    config = dict(architectures=["BertForSequenceClassification"], model_type="bert",
                  vocab_size=WORDS, hidden_size=shape["hidden"], num_hidden_layers=shape["layers"],
                  num_attention_heads=shape["heads"], intermediate_size=shape["inner"],
                  hidden_act="gelu", max_position_embeddings=POSITIONS, type_vocab_size=2,
                  layer_norm_eps=EPS, initializer_range=0.02, hidden_dropout_prob=0.1,
                  attention_probs_dropout_prob=0.1, pad_token_id=0,
                  id2label={str(i): "ESCI"[i] for i in range(CLASSES)},
                  label2id={"ESCI"[i]: i for i in range(CLASSES)})
    (path / "config.json").write_text(json.dumps(config))
    (path / "medley.json").write_text(json.dumps(dict(
        format=1, fields="query,title", head="cls", max_tokens=256, keyword_words=32,
        classes=list("ESCI"))))
    write_safetensors(path / "model.safetensors", weights(shape))
    return path


def onnx_graph(path, name):
    """The fused graph: inputs ids, types, mask [batch, tokens] int32; output logits."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shape, w = SHAPES[name], weights(SHAPES[name])
    nodes, constants = [], []
    ms = "com.microsoft"

    def constant(label, value):
        constants.append(numpy_helper.from_array(np.array(value, order="C"), label))
        return label

    def node(op, inputs, output, domain="", extra=(), **attributes):
        nodes.append(helper.make_node(op, inputs, [output, *extra], domain=domain, **attributes))
        return output

    def of(label):
        return constant(label, w[label])

    e = "bert.embeddings."
    x = node("EmbedLayerNormalization",
             ["ids", "types", of(e + "word_embeddings.weight"), of(e + "position_embeddings.weight"),
              of(e + "token_type_embeddings.weight"), of(e + "LayerNorm.weight"),
              of(e + "LayerNorm.bias"), "mask"],
             "embedded", ms, ["lengths"], epsilon=EPS)
    for i in range(shape["layers"]):
        layer, tag = f"bert.encoder.layer.{i}.", f"l{i}."
        parts = [layer + "attention.self." + part for part in ("query", "key", "value")]
        both = node("Attention",
                    [x, constant(tag + "qkv", np.concatenate([w[p + ".weight"] for p in parts]).T),
                     constant(tag + "qkv_bias", np.concatenate([w[p + ".bias"] for p in parts])),
                     "lengths"], tag + "attended", ms, num_heads=shape["heads"])

        def product(source, part, label):
            return node("MatMul", [source, constant(tag + label + "_w", w[layer + part + ".weight"].T)],
                        tag + label)

        def skip(source, residual, part, label):
            norm = layer + part + "LayerNorm"
            return node("SkipLayerNormalization",
                        [source, residual, of(norm + ".weight"), of(norm + ".bias"),
                         of(layer + part + "dense.bias")], tag + label, ms, epsilon=EPS)

        x = skip(product(both, "attention.output.dense", "out"), x, "attention.output.", "norm1")
        up = node("BiasGelu", [product(x, "intermediate.dense", "up"), of(layer + "intermediate.dense.bias")],
                  tag + "gelu", ms)
        x = skip(product(up, "output.dense", "down"), x, "output.", "norm2")
    first = node("Gather", [x, constant("zero", np.array(0, np.int64))], "first", axis=1)
    pooled = node("Tanh", [node("Gemm", [first, of("bert.pooler.dense.weight"),
                                         of("bert.pooler.dense.bias")], "pool", transB=1)], "pooled")
    node("Gemm", [pooled, of("classifier.weight"), of("classifier.bias")], "logits", transB=1)
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT32, ["batch", "tokens"])
              for n in ("ids", "types", "mask")]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
    graph = helper.make_graph(nodes, name, inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17),
                                                    helper.make_opsetid(ms, 1)])
    model.ir_version = 8
    onnx.save(model, path)


def onnx_files(path, name):
    """float32 and int8: quantize_dynamic with a scale per column."""
    path = pathlib.Path(path)
    full, int8 = path / "model.onnx", path / "model-int8.onnx"
    if not full.exists():
        onnx_graph(full, name)
    if not int8.exists():
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
        quantize_dynamic(full, int8, per_channel=True, weight_type=QuantType.QInt8,
                         extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
    return {"fp32": full, "int8": int8}
