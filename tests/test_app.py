"""app.py and what it does before the first visitor."""

from __future__ import annotations

import os
import subprocess
import sys

from dsum_demo.settings import PROJECT_ROOT
from dsum_demo.ui.app import warm_up
from dsum_demo.ui.services import Services


def test_warming_up_loads_the_default_models_and_measures_the_speed(tiny_settings):
    services = Services.start(tiny_settings)
    warm_up(services)
    assert len(services.store.loaded()) == 3 and services.speed


def test_a_wrong_setting_is_a_sentence():
    environment = {**os.environ, "DSUM_MEMORY_GB": "lots"}
    run = subprocess.run(
        [sys.executable, "app.py"], cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 2
    assert run.stderr.strip() == "dsum: DSUM_MEMORY_GB is 'lots'; give a number of gigabytes, such as 6."
