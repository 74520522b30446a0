"""The JavaScript example of docs/api.md, in a page of the app."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Error

from dsum_demo.settings import PROJECT_ROOT

GUIDE = (PROJECT_ROOT / "docs" / "api.md").read_text(encoding="utf-8")
DIALOGUE = '"Maya: Are you free on Friday?\\nTom: Yes, after six."'


def test_the_javascript_example_of_the_guide_prints_a_summary_or_fails_with_the_reason(new_page, app_url):
    script = re.search(r"```javascript\n(.+?)```", GUIDE, re.DOTALL)[1].replace("http://127.0.0.1:7860", app_url)
    assert DIALOGUE in script
    page = new_page()
    printed: list[str] = []
    page.on("console", lambda message: printed.append(message.text))
    page.evaluate(f"(async () => {{ {script} }})()")
    assert printed and printed[-1].strip()
    with pytest.raises(Error, match="There is no dialogue"):
        page.evaluate(f"(async () => {{ {script.replace(DIALOGUE, repr(''))} }})()")
