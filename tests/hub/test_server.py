"""The loopback Hub against the real clients: they get from it, by its answers alone, what was put in."""

from __future__ import annotations

import json

import pytest

from tests.hub.checkpoints import (
    DIALOGSUM,
    dialogsum_repository,
    dialogsum_viewer,
    flan_model,
    save_flan,
    save_flan_lora,
)

LAYOUTS = {
    "whole": {}, "shards": {"sharded": True}, "bin": {"safetensors": False},
    "bin-shards": {"safetensors": False, "sharded": True},
}  # fmt: skip


def test_transformers_and_peft_load_each_layout_with_its_own_head(hub, child, tiny_tokenizer, tmp_path):
    model = flan_model(tiny_tokenizer, 1)
    for name, layout in LAYOUTS.items():
        folder = save_flan(model, tiny_tokenizer, tmp_path / name, **layout)
        files = {file.name for file in folder.iterdir()}
        assert (len([file for file in files if "-of-" in file]) > 1) is ("shards" in name)
        assert any(file.endswith(".bin") for file in files) is name.startswith("bin")
        hub.add(f"flan/{name}", folder)
    hub.add("flan/lora", save_flan_lora(flan_model(tiny_tokenizer, 1), tmp_path / "lora", base="flan/shards"))
    done = child(
        "import json\nfrom peft import AutoPeftModelForSeq2SeqLM\n"
        "from transformers import AutoModelForSeq2SeqLM, AutoTokenizer\n"
        f"for name in {list(LAYOUTS)}:\n"
        "    model = AutoModelForSeq2SeqLM.from_pretrained('flan/' + name)\n"
        "    sums = [w.weight.double().sum().item() for w in (model.lm_head, model.shared)]\n"
        "    print(json.dumps([*sums, len(AutoTokenizer.from_pretrained('flan/' + name))]))\n"
        "model = AutoPeftModelForSeq2SeqLM.from_pretrained('flan/lora')\n"
        "print(json.dumps(model.peft_config['default'].r))\n"
    )
    assert done.returncode == 0, done.stderr
    sums = [weights.weight.double().sum().item() for weights in (model.lm_head, model.shared)]
    assert sums[0] != pytest.approx(sums[1])
    *printed, rank = map(json.loads, done.stdout.splitlines())
    for line in printed:
        assert line == [pytest.approx(sums[0]), pytest.approx(sums[1]), len(tiny_tokenizer)]
    assert len(printed) == 4 and rank == 4


def test_datasets_loads_dialogsum_with_its_1500_test_rows(hub, child):
    hub.add(DIALOGSUM, dialogsum_repository(), kind="datasets")
    hub.viewer[DIALOGSUM] = dialogsum_viewer()
    # A proxy setting leads every host name here, the data set viewer's too.
    named = {"HF_ENDPOINT": "http://hub.test", "HTTP_PROXY": hub.url}
    done = child(
        f"import datasets, json\ndata = datasets.load_dataset({DIALOGSUM!r})\n"
        "print(json.dumps([{s: len(rows) for s, rows in data.items()}, data['test'][4]]))\n",
        **named,
    )
    assert done.returncode == 0, done.stderr
    sizes, row = json.loads(done.stdout)
    assert sizes == {"train": 40, "validation": 10, "test": 1500}
    assert row["id"] == "test_1_2" and '"travel"' in row["dialogue"] and row["dialogue"].count("\n") == 2
    assert [request.status for request in hub.requests("^/info$")] == [200]


def test_ranges_and_redirects_are_answered_as_the_hub_answers_them(hub, child):
    content = bytes(range(256)) * 500
    commit = hub.add("some/model", {"weights.bin": content, "config.json": b"{}"})
    done = child(
        "from huggingface_hub import get_hf_file_metadata, hf_hub_url\n"
        "big, small = (get_hf_file_metadata(hf_hub_url('some/model', f)) for f in ('weights.bin', 'config.json'))\n"
        "print(big.size, big.etag, big.commit_hash, '/cdn/' in big.location, small.size, small.etag)\n"
        "from huggingface_hub import get_session\n"
        "part = get_session().get(hf_hub_url('some/model', 'weights.bin'), headers={'Range': 'bytes=127000-'})\n"
        "print(part.status_code, part.headers['Content-Range'], len(part.content))\n"
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    etags = {name: file.etag for name, file in hub.repository("models", "some/model").commits[commit].items()}
    assert first == f"128000 {etags['weights.bin']} {commit} True 2 {etags['config.json']}"
    assert second == "206 bytes 127000-127999/128000 1000"
