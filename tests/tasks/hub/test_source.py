"""Models from folders and from a hub, and everything that can be wrong with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import peft
import pytest
import torch
import transformers
from tiny_classifiers import equal, save_text_model, word_tokenizer
from tiny_hub import COMMIT, serving
from tiny_hub_models import byte_tokenizer, save, save_causal

from coto_lab.ground.files import sha256
from coto_lab.tasks.hub.source import Source

MODEL = transformers.AutoModelForSequenceClassification
HEAD = ("classifier",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(save_text_model(tmp_path_factory.mktemp("bert"), "bert"))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """The folder again, to be damaged."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_a_fresh_head_is_the_same_each_time_and_draws_no_global_random_number(folder: Path) -> None:
    source = Source(str(folder))
    before = torch.get_rng_state()
    first, second = (source.load(MODEL, config=source.config(num_labels=3), whole=HEAD) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert equal(first, second) and first.classifier.weight.abs().min() > 0
    assert first.classifier is not second.classifier and first.classifier.weight.shape == (3, 32)
    other = source.load(MODEL, config=source.config(num_labels=3), whole=HEAD, seed=1)
    assert not torch.equal(other.classifier.weight, first.classifier.weight)
    assert torch.equal(other.bert.pooler.dense.weight, first.bert.pooler.dense.weight)


def test_what_the_checkpoint_has_is_what_was_saved(folder: Path) -> None:
    saved = transformers.BertModel.from_pretrained(folder)
    assert equal(Source(str(folder)).load(MODEL, whole=HEAD).bert, saved)


def test_a_head_of_another_size_is_fresh(tmp_path: Path) -> None:
    folder = save_text_model(tmp_path, "roberta", "RobertaForSequenceClassification", num_labels=3)
    source = Source(folder)
    kept = source.load(MODEL).classifier
    fresh = source.load(MODEL, config=source.config(num_labels=2), whole=HEAD).classifier
    assert kept.out_proj.weight.shape == (3, 32) and fresh.out_proj.weight.shape == (2, 32)
    assert torch.equal(kept.dense.weight, fresh.dense.weight)


def test_weights_that_are_missing_or_of_another_size_are_refused_unless_they_train(folder: Path, tmp_path: Path) -> None:
    source = Source(str(folder))
    said = (
        r"has no fitting weights for classifier, which would stay as they are drawn at random\. .*new_layers=\('classifier',\)"
    )
    with pytest.raises(ValueError, match=said):
        source.load(MODEL)
    without_pooler = save_text_model(tmp_path, "bert", "BertForMaskedLM")
    with pytest.raises(
        ValueError, match=r"weights for bert\.pooler\.dense, .*new_layers=\('classifier', 'bert\.pooler\.dense'\)"
    ):
        Source(without_pooler).load(MODEL, whole=HEAD)
    assert Source(without_pooler).load(MODEL, whole=("classifier", "bert.pooler.dense"))
    with pytest.raises(ValueError, match=r"fitting weights for bert\.embeddings\.position_embeddings"):
        source.load(MODEL, config=source.config(max_position_embeddings=50), whole=HEAD)


def test_half_precision_keeps_what_trains_whole_in_single(folder: Path) -> None:
    source = Source(str(folder), dtype="bfloat16")
    model = source.load(MODEL, whole=HEAD).eval()
    assert {p.dtype for p in model.bert.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in model.classifier.parameters()} == {torch.float32}
    tokens = source.tokenizer()(["good film"], return_tensors="pt")
    exact = replace(source, dtype="float32").load(MODEL, whole=HEAD).eval()
    with torch.no_grad():
        found, expected = model(**tokens).logits, exact(**tokens).logits
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_checkpointing_is_of_the_kind_that_is_not_reentrant_and_changes_no_gradient(folder: Path, dtype: str) -> None:
    def gradients(checkpointing: bool) -> list[torch.Tensor]:
        source = Source(str(folder), checkpointing=checkpointing, dtype=dtype)
        model = source.load(MODEL, config=source.config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0), whole=HEAD)
        layers = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
        assert bool(layers) == checkpointing
        assert all(layer._gradient_checkpointing_func.keywords == {"use_reentrant": False} for layer in layers)
        model = peft.get_peft_model(model, peft.LoraConfig(target_modules=["query"], init_lora_weights=False)).train()
        model(**source.tokenizer()(["good film"], return_tensors="pt")).logits.sum().backward()
        return [parameter.grad for parameter in model.parameters() if parameter.requires_grad]

    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = gradients(False)
        torch.manual_seed(0)
        found = gradients(True)
    assert all(map(torch.equal, found, expected)) and any(gradient.abs().max() > 0 for gradient in found)


def test_a_skeleton_needs_the_configuration_alone(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    source = Source(str(copy))
    model = source.skeleton(MODEL, config=source.config(num_labels=7))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert model.classifier.weight.shape == (7, 32)


def test_identity_of_a_folder_is_the_hash_of_its_weights(folder: Path, tmp_path: Path) -> None:
    assert Source(str(folder)).identity == sha256(folder / "model.safetensors")
    sharded = tmp_path / "sharded"
    transformers.BertModel.from_pretrained(folder).save_pretrained(sharded, max_shard_size="40KB")
    assert len(list(sharded.glob("*.safetensors"))) > 1
    assert len(Source(str(sharded)).identity) == 64 and Source(str(sharded)).identity != Source(str(folder)).identity


def test_a_tokenizer_pads_with_its_end_where_it_has_no_padding(tmp_path: Path) -> None:
    tokenizer = Source(save_causal(tmp_path / "with end")).tokenizer()
    assert tokenizer.pad_token == tokenizer.eos_token == "<|im_end|>"
    bare = word_tokenizer()
    bare.pad_token = None
    with pytest.raises(ValueError, match=r"has no padding token, and no end-of-sequence token that could take its place"):
        Source(save(tmp_path / "without", bare)).tokenizer()


# What cannot be read


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"name": 3}, TypeError, "name=3: give a name on the hub, such as 'bert-base-uncased', or a folder"),
        ({"name": ""}, ValueError, "name='': give a name on the hub"),
        ({"revision": 3}, TypeError, "revision=3: give a branch, a tag or a commit as a string, or None"),
        ({"checkpointing": "yes"}, TypeError, "checkpointing='yes': give True or False"),
        ({"dtype": "float16"}, ValueError, "dtype='float16': must be one of 'float32', 'bfloat16'"),
        ({"quantised": "int4"}, ValueError, "quantised='int4': must be None or one of 'nf4', 'int8', 'int8-torchao'"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_read(settings: dict, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Source(**{"name": "a/b"} | settings)


def test_an_adapter_s_folder_is_told_from_a_model_s(copy: Path) -> None:
    peft.get_peft_model(
        transformers.BertModel.from_pretrained(copy), peft.LoraConfig(target_modules=["query"])
    ).save_pretrained(copy / "adapter")
    said = rf"the folder .* holds an adapter, and no base model .*Give its base model, '{copy}'; Adapter.load reads"
    with pytest.raises(ValueError, match=said):
        Source(str(copy / "adapter")).config()


def test_weights_that_are_not_finite_are_refused(folder: Path, tmp_path: Path) -> None:
    model = transformers.BertModel.from_pretrained(folder)
    with torch.no_grad():
        model.encoder.layer[1].attention.self.key.weight[0, 0] = torch.nan
    source = Source(save(tmp_path, model))
    with pytest.raises(ValueError, match=r"has weights that are not finite, in bert\.encoder\.layer\.1\.attention\.self\.key"):
        source.load(MODEL, whole=HEAD)


def test_a_padding_token_without_an_embedding_is_refused(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    folder = save_causal(tmp_path, "llama", tokenizer, vocab_size=len(tokenizer) - 1, pad_token_id=None)
    said = r"pads with '<pad>', token 259, and the model has embeddings of 259 tokens, .*its eos_token"
    with pytest.raises(ValueError, match=said):
        Source(folder).tokenizer()


def test_checkpointing_asks_for_nothing_that_is_deprecated(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = Source(str(folder), checkpointing=True).skeleton(MODEL)
    assert any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def test_a_bad_seed_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="seed=-1: must be a whole number"):
        Source(str(folder)).load(MODEL, whole=HEAD, seed=-1)


READS: dict[str, Callable[[Source], object]] = {
    "config": lambda source: source.config(),
    "load": lambda source: source.load(MODEL, whole=HEAD),
    "skeleton": lambda source: source.skeleton(MODEL),
    "tokenizer": lambda source: source.tokenizer(),
    "processor": lambda source: source.processor(),
    "identity": lambda source: source.identity,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_no_such_folder(read: Callable[[Source], object], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no folder of this name here and nothing of this name on the hub"):
        read(Source(str(tmp_path / "nothing")))


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_no_network(read: Callable[[Source], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match=r"'nobody/has-this' is no folder here, and the hub cannot be reached"):
        read(Source("nobody/has-this"))


def test_weights_in_another_format_are_not_read(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    for read in ("load", "identity"):
        with pytest.raises(ValueError, match=r"has no weights in the safetensors format, and no other is read, since it could"):
            READS[read](Source(str(copy)))


def test_code_that_comes_with_a_model_is_not_run(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "unheard_of", "auto_map": {"AutoConfig": "code.Config"}}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "code.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(ValueError, match=r"needs Python code that comes with it, and such code is never run here"):
        Source(str(copy)).config()


@pytest.mark.parametrize(
    ("file", "content", "read", "said"),
    [
        ("config.json", "{", "config", "the model .* cannot be read"),
        ("config.json", '{"model_type": "not-yet"}', "config", "not-yet.*install the version of the library that wrote it"),
        ("model.safetensors", "no tensors", "load", "the model .* cannot be read .SafetensorError: .*Restore its files"),
        ("tokenizer.json", "{}", "tokenizer", "the tokenizer of model .* cannot be read"),
        ("preprocessor_config.json", "{", "processor", "the image processor of model .* cannot be read"),
    ],
)
def test_damaged_files(copy: Path, file: str, content: str, read: str, said: str) -> None:
    (copy / file).write_text(content)
    with pytest.raises(ValueError, match=said):
        READS[read](Source(str(copy)))


SCRIPT = """
from transformers import AutoModelForSequenceClassification
from coto_lab.tasks.hub.source import Source
for source in (Source("gated/model"), Source("no/model"), Source("tiny/bert", revision="nope")):
    try:
        source.config()
    except Exception as error:
        print(type(error).__name__, error)
source = Source("tiny/bert")
print(source.identity)
print(source.tokenizer().pad_token)
print(source.load(AutoModelForSequenceClassification, whole=("classifier",)).num_parameters())
"""


@pytest.mark.slow
def test_a_hub(folder: Path, tmp_path: Path) -> None:
    """Gated, missing, and one that is there, whose download is interrupted once."""
    with serving({"tiny/bert": folder}) as hub:
        hub.breaks.add("model.safetensors")
        home = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", SCRIPT], env=os.environ | home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    gated, missing, revision, identity, pad, parameters = done.stdout.splitlines()
    assert gated.startswith("PermissionError the model 'gated/model' is gated") and "hf auth login" in gated
    assert missing.startswith("ValueError the model 'no/model': there is no folder of this name here and nothing of this name")
    assert revision == "ValueError the model 'tiny/bert' has no revision='nope'. Give a branch, a tag or a commit, or None."
    assert identity == f"tiny/bert@{COMMIT}"
    assert (pad, int(parameters)) == ("[PAD]", Source(str(folder)).load(MODEL, whole=HEAD).num_parameters())
    assert hub.asked.count("model.safetensors") == 2
