"""Signing in with a Hugging Face account on a Space with `hf_oauth: true`. The visitor is then the account instead of
the browser: its runs and reviews are the same in every browser.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets

import gradio as gr

from dsum_demo.settings import Settings
from dsum_demo.ui.assets import call
from dsum_demo.ui.theme import QUIET

_PREFIX = "account-"


def can_sign_in(settings: Settings) -> bool:
    """Whether this is a Space with `hf_oauth: true`, for which the Hub sets these variables."""
    return bool(settings.space and os.environ.get("OAUTH_CLIENT_ID") and os.environ.get("OAUTH_CLIENT_SECRET"))


def build_sign_in(settings: Settings) -> None:
    """The button, if visitors can sign in."""
    if can_sign_in(settings):
        gr.LoginButton(
            "Sign in", "Sign out ({})", variant="secondary", size="sm", scale=0, min_width=110, elem_id="sign-in"
        )


def connect_sign_in(page: gr.Blocks, settings: Settings, owner: gr.BrowserState) -> None:
    """Let `owner` follow the account. After a change the page is loaded again, because it was drawn for the previous
    owner.
    """
    if not can_sign_in(settings):
        return
    browser = gr.BrowserState("", storage_key="dsum-browser", secret="dsum")
    changed = gr.Checkbox(visible=False)
    identified = page.load(identify, [owner, browser], [owner, browser, changed], **QUIET)
    identified.then(None, changed, None, js=call("loadAgain"), **QUIET)


def identify(owner: str, browser: str, profile: gr.OAuthProfile | None) -> tuple[str, str, bool]:
    """(the visitor's secret, the browser's own for after signing out, whether the first has changed)."""
    own = browser if owner.startswith(_PREFIX) else owner
    new = account_secret(profile["sub"]) if profile is not None else own or secrets.token_hex(16)
    return new, own, bool(owner) and new != owner


def account_secret(subject: str) -> str:
    """The secret of the account with this id, which only this Space can compute."""
    key = os.environ["OAUTH_CLIENT_SECRET"].encode()
    return _PREFIX + hmac.new(key, subject.encode(), hashlib.sha256).hexdigest()


def account_name(profile: gr.OAuthProfile | None) -> str:
    """The account's user name, "" if the visitor has not signed in."""
    return profile.username if profile else ""
