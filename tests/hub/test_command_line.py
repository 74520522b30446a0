"""FLAN-T5 from the loopback Hub on the command line, as people run it: `python -m dsum_demo` in a child process.

The shipped catalog is used as it is; under its repository names the Hub serves small models of the same shape.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

from dsum_demo.models.catalog import read_catalog
from tests.hub.checkpoints import BASE, FULL, LORA, PINNED, QWEN, save_flan_trio, save_qwen, save_qwen_lora
from tests.hub.conftest import DIALOGUE

COMPARE = ("compare", "-", "--family", "flan-t5-base", "--max-new-tokens", "8")


def phases(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [system["phase"] for system in json.loads(done.stdout)["systems"]]


def blob(environment: dict[str, str], repository: str, name: str) -> Path:
    home = Path(environment["HF_HUB_CACHE"], f"models--{repository.replace('/', '--')}")
    return next(home.glob(f"snapshots/*/{name}")).resolve()


def test_the_first_start_downloads_the_second_does_not_and_damage_comes_again(flan_hub, child, environment):
    first = child(*COMPARE, "--reference", "They meet on Friday.", "--json")
    assert first.returncode == 0, first.stderr
    assert phases(first) == ["done"] * 3
    systems = json.loads(first.stdout)["systems"]
    assert all(system["summary"] and system["rouge"] for system in systems)
    assert len({system["summary"] for system in systems}) == 3
    for name in ("flan-t5-base", "flan-t5-base-full", "flan-t5-base-lora"):
        assert re.search(rf"Downloading {name}: 0 kB of \d+ kB", first.stderr), first.stderr

    def damage(repository: str, name: str, keep: int) -> None:
        file = blob(environment, repository, name)
        file.write_bytes(file.read_bytes()[:keep] + b"\x00")

    # From the cache, without a network: nothing is asked, and what is damaged is not used.
    damage(FULL, "model.safetensors", keep=-1)
    with flan_hub.watched() as seen:
        offline = child(*COMPARE, "--json", HF_HUB_OFFLINE="1")
    assert seen == [] and "Downloading" not in offline.stderr
    base, full, lora = json.loads(offline.stdout)["systems"]
    assert [base["summary"], lora["summary"]] == [systems[0]["summary"], systems[2]["summary"]]
    assert full["error"].startswith(
        "flan-t5-base-full is not on this machine (model.safetensors was corrupt) and cannot be downloaded. "
        "Offline: HF_HUB_OFFLINE is set."
    )

    # With the Hub: only what is damaged comes again.
    damage(LORA, "adapter_model.safetensors", keep=1000)
    with flan_hub.watched() as seen:
        mended = child(*COMPARE, "--json")
    assert [s["summary"] for s in json.loads(mended.stdout)["systems"]] == [s["summary"] for s in systems]
    assert "flan-t5-base-lora: adapter_model.safetensors is corrupt; downloading it again" in mended.stderr
    fetched = [request.path.rsplit("/", 2)[-2:] for request in seen if request.sent and "/cdn/" in request.path]
    assert sorted(fetched) == sorted([[FULL.split("/")[1], "model.safetensors"],
                                      [LORA.split("/")[1], "adapter_model.safetensors"]])  # fmt: skip


def test_a_qwen_and_an_adapter_of_it_come_with_chat_template_and_both_end_tokens(
    hub, child, environment, chat_tokenizer, root, tmp_path
):
    family = next(family for family in read_catalog(root).families if family.name == "qwen3-0.6b")
    repository = save_qwen(chat_tokenizer, tmp_path / "qwen")
    hub.add(QWEN, repository, commit=family.base.source.revision)
    save_qwen_lora(repository, root / "adapters" / "qwen-lora")
    compare = ("compare", "-", "--family", "qwen3-0.6b", "--max-new-tokens", "12", "--json")
    done = child(*compare, "--reference", "They meet on Friday.", DSUM_ROOT=str(root))
    assert done.returncode == 1, done.stderr  # the family has no full fine-tune
    base, _, lora = json.loads(done.stdout)["systems"]
    assert (base["phase"], lora["name"], lora["phase"]) == ("done", "qwen-lora", "done")
    assert base["summary"] and base["rouge"] and base["summary"] != lora["summary"]
    [snapshot] = Path(environment["HF_HUB_CACHE"]).glob("models--Qwen*/snapshots/*")
    assert snapshot.name == family.base.source.revision
    assert {"chat_template.jinja", "generation_config.json", "tokenizer.json"} <= {f.name for f in snapshot.iterdir()}

    # What plain transformers generates from the repository, with no end token but those two.
    model, tokenizer = AutoModelForCausalLM.from_pretrained(repository), AutoTokenizer.from_pretrained(repository)
    turns = [{"role": "user", "content": family.prompt.template.format(dialogue=DIALOGUE.strip())}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    output = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert base["summary"] == tokenizer.decode(output, skip_special_tokens=True).strip("\ufffd").strip()
    with hub.watched() as seen:
        again = child(*compare, DSUM_ROOT=str(root), HF_HUB_OFFLINE="1")
    assert seen == [] and [s["summary"] for s in json.loads(again.stdout)["systems"]][::2] == [
        base["summary"], lora["summary"],
    ]  # fmt: skip


def test_a_decoder_only_base_is_downloaded_trained_by_the_command_and_compared(
    hub, child, chat_tokenizer, root, tmp_path
):
    family = next(family for family in read_catalog(root).families if family.name == "qwen3-0.6b")
    hub.add(QWEN, save_qwen(chat_tokenizer, tmp_path / "qwen"), commit=family.base.source.revision)
    settings = ("max_steps=3", "batch_size=2", "evaluations=1", "learning_rate=0.01", "max_target_tokens=32")
    words = [word for setting in settings for word in ("--set", setting)]
    train = ("train", "--base", "qwen3-0.6b", "--data", "samples", "--no-check", *words)
    for name, more in (("mine", ("--preset", "smoke")), ("whole", ("--method", "full"))):
        done = child(*train, *more, "--name", name, DSUM_ROOT=str(root))
        assert done.returncode == 0, done.stderr
        assert f"{name} finished" in done.stderr and "step 3/3" in done.stderr
    adapter = json.loads((Path(done.stdout.strip()).parents[1] / "mine" / "best" / "adapter_config.json").read_text())
    assert (adapter["task_type"], adapter["base_model_name_or_path"]) == ("CAUSAL_LM", "qwen3-0.6b")
    assert "lm_head" not in adapter["target_modules"] and len(adapter["target_modules"]) == 7
    compared = child(
        "compare", "-", "--family", "qwen3-0.6b", "--max-new-tokens", "12", "--json",
        DSUM_ROOT=str(root), HF_HUB_OFFLINE="1",
    )  # fmt: skip
    systems = json.loads(compared.stdout)["systems"]
    assert [(system["name"], system["phase"]) for system in systems] == [
        ("qwen3-0.6b", "done"), ("whole", "done"), ("mine", "done"),
    ]  # fmt: skip
    assert len({system["summary"] for system in systems}) == 3


def test_an_interrupted_download_resumes_where_it_stopped(flan_hub, child, environment, tmp_path):
    model = "^/cdn/.*flan-t5-base/model"
    stalled = flan_hub.fault("stall", model, after=60_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "dsum_demo", *COMPARE], env={**environment, "HF_HUB_DOWNLOAD_TIMEOUT": "300"},
        cwd=tmp_path, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdin.write("A: Hello.\nB: Hello!")
    process.stdin.close()
    blobs = Path(environment["HF_HUB_CACHE"], f"models--{BASE.replace('/', '--')}", "blobs")
    begun: list[int] = []
    # Until only the stalled file is left: small files, which may come before it, are incomplete for a moment too.
    while not (len(begun) == 1 and begun[0] and flan_hub.requests(model, "GET")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
        # A small file may be complete, and renamed, before its size is read.
        with contextlib.suppress(FileNotFoundError):
            begun = [part.stat().st_size for part in blobs.glob("*.incomplete")]
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert "interrupted" in process.stderr.read()
    stalled.times = 0
    done = child(*COMPARE, "--json")
    assert phases(done) == ["done"] * 3, done.stderr
    broken, again = flan_hub.requests(model, "GET")
    size = blob(environment, BASE, "model.safetensors").stat().st_size
    assert 0 < again.begin <= broken.sent < size and again.sent == size - again.begin


def test_models_estimates_the_cost_of_a_download(flan_hub, child):
    done = child("models")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("flan-t5-large "))
    assert re.search(r"base +downloadable +3\.1 GB", lines[at])
    assert re.fullmatch(r" +about \d\.\d GB of memory, about [\d.]+ s per summary on this machine", lines[at + 1])
    assert "estimating" in done.stderr
    assert not [request for request in flan_hub.requests() if request.path != "/"]


def test_one_missing_and_one_gated_variant_leave_a_base_in_bin_shards_alone(hub, child, tiny_tokenizer, tmp_path):
    trio = save_flan_trio(tiny_tokenizer, tmp_path, safetensors=False, sharded=True)
    hub.add(BASE, trio[BASE], commit=PINNED[BASE])
    hub.add(LORA, trio[LORA])
    hub.fault("status", f"{LORA}/resolve/", status=401, code="GatedRepo")
    done = child(*COMPARE, "--json")
    assert done.returncode == 1
    base, full, lora = json.loads(done.stdout)["systems"]
    assert base["phase"] == "done" and base["summary"]
    assert len(hub.requests(rf"^/cdn/.*{BASE}/pytorch_model-.*\.bin", "GET")) > 1
    assert full["error"] == f"The Hub has no public repository {FULL} (401); if it is private, set HF_TOKEN."
    assert lora["error"] == (
        f"flan-t5-base-lora is gated (401): accept its terms at https://huggingface.co/{LORA} and set HF_TOKEN."
    )


def test_without_hub_and_cache_there_is_one_error_and_the_embedded_family_works(hub, child):
    # It takes the connection and stays silent, which costs more time than a refusal; the probe gives up before 2 s.
    hub.fault("hang", "^/")
    rows = {row["name"]: row for row in json.loads(child("models", "--json", DSUM_HUB_TIMEOUT="1").stdout)["models"]}
    assert rows["flan-t5-base"]["state"] == "unreachable"
    assert rows["flan-t5-base"]["reason"] == "The Hub did not answer within 1 s."
    assert [rows[f"dsum-t5-{kind}"]["state"] for kind in ("base", "full", "lora")] == ["shipped"] * 3
    assert len(hub.requests()) == 1
    done = child(*COMPARE, "--json", DSUM_HUB_TIMEOUT="1")
    assert done.returncode == 1
    assert {system["error"].split(" is not")[1] for system in json.loads(done.stdout)["systems"]} == {
        " on this machine and cannot be downloaded. The Hub did not answer within 1 s. "
        "The family dsum-t5 needs no network."
    }
