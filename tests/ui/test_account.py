"""Signing in with a Hugging Face account: who the visitor is, before, while and after."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr
import pytest

from dsum_demo.runs.store import Runs, RunState
from dsum_demo.ui.account import account_secret, can_sign_in, identify
from dsum_demo.ui.services import Services
from dsum_demo.ui.train.push import can_push, push_run
from dsum_demo.utils.ownership import set_owner


@pytest.fixture(autouse=True)
def oauth(monkeypatch) -> None:
    monkeypatch.setenv("OAUTH_CLIENT_ID", "id")
    monkeypatch.setenv("OAUTH_CLIENT_SECRET", "secret of this Space")


def profile(subject: str) -> gr.OAuthProfile:
    return gr.OAuthProfile({"sub": subject, "name": "Maya", "preferred_username": "maya", "profile": "", "picture": ""})


def test_an_account_is_the_same_visitor_in_every_browser_and_the_browser_is_itself_again_after_signing_out():
    account, own, changed = identify("a browser", "", profile("1"))
    assert changed and own == "a browser" and account == account_secret("1")
    assert identify("another browser", "", profile("1"))[0] == account != account_secret("2")
    assert identify(account, own, profile("1")) == (account, own, False), "a later load"
    assert identify(account, own, None) == ("a browser", "a browser", True)
    assert identify("a browser", own, None) == ("a browser", "a browser", False)


def test_a_browser_that_has_only_known_the_account_gets_a_new_secret_after_signing_out():
    account, own, changed = identify("", "", profile("1"))
    assert not changed, "nothing was drawn for another owner"
    new, *_ = identify(account, own, None)
    assert len(new) == 32 and new != identify(account, own, None)[0]


def test_the_secret_of_an_account_depends_on_the_secret_of_the_space(monkeypatch):
    here = account_secret("1")
    monkeypatch.setenv("OAUTH_CLIENT_SECRET", "of another Space")
    assert account_secret("1") != here


def test_visitors_sign_in_only_on_a_space_with_oauth(settings, monkeypatch):
    space = replace(settings, space="someone/dsum", public=True)
    assert can_sign_in(space) and not can_sign_in(settings)
    monkeypatch.delenv("OAUTH_CLIENT_ID")
    assert not can_sign_in(space)


def test_on_a_public_app_a_run_is_pushed_only_with_the_token_of_an_account(settings):
    services = Services.start(replace(settings, space="someone/dsum", public=True))
    run = Runs(settings.runs_dir).create({"base": "dsum-t5-base"}, "mine")
    set_owner(run.folder, account_secret("1"))
    run.write_status(RunState.FINISHED)
    assert can_push(services)
    assert "Sign in" in [*push_run(services, "mine", account_secret("1"), "me/mine", "private")][-1]
    token = gr.OAuthToken("token", "contribute-repos", 0)
    assert (
        "mine is finished and has no model"
        in [*push_run(services, "mine", account_secret("1"), "me/mine", "private", token)][-1]
    )
    assert "mine is finished" not in [*push_run(services, "mine", "a browser", "me/mine", "private", token)][-1]
    assert not can_push(Services.start(replace(settings, public=True)))
