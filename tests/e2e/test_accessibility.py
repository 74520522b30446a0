"""axe-core on every tab, in both themes, on a wide screen and on a phone's, and what the keyboard can reach."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.e2e.test_compare_page import REFERENCE, compare, paste

# A tab, and what it shows when it has loaded.
TABS = {
    "Compare": "#chart .bars .point path",
    "Evaluate": "#evaluation-means .bars .point path",
    "Train": "#learning tbody tr",
    "Methods": "#methods-chart .point",
    "Models": "#models .state.shipped",
}


# Visible things that a mouse can press and Tab cannot reach. Charts are left out: tables have their values. So are the
# choices of gradio's multiple dropdown, in which Tab reaches the button that removes one.
MOUSE_ONLY = """() => [...document.querySelectorAll('main *')].filter((one) => one.checkVisibility()
  && getComputedStyle(one).cursor === 'pointer'
  && !one.closest('a[href], button, input, select, textarea, summary, label, [tabindex="0"], .js-plotly-plot, .token')
).map((one) => one.outerHTML.slice(0, 200))"""


def open_all(page: Page) -> None:
    """Open every form and every part that is closed at first."""
    closed = page.locator("button.label-wrap:not(.open):visible")
    while closed.count():
        closed.first.click()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")


def test_every_tab_is_accessible(new_page, check_accessibility):
    page = new_page()
    for tab, shown in TABS.items():
        page.get_by_role("tab", name=tab).click()
        expect(page.locator(shown).first).to_be_visible()
        open_all(page)
        check_accessibility(page)
        assert page.evaluate(MOUSE_ONLY) == [], tab


def test_a_comparison_with_added_systems_and_a_form_of_an_evaluation_are_accessible(new_page, check_accessibility):
    page = new_page()
    paste(page, reference=REFERENCE)
    page.locator("#add-system").click()
    expect(page.locator("#card-added-1")).to_contain_text("The summary appears here.")
    page.locator("#choose-added-1 input").click()
    page.get_by_role("option", name="Summary from elsewhere").click()
    page.locator("#paste-added-1 textarea").fill(REFERENCE)
    compare(page)
    page.locator("#prove").click()
    expect(page.locator("#proof .notice")).to_have_count(3)
    expect(page.locator("#proof")).not_to_contain_text("checking")
    check_accessibility(page)
    page.get_by_role("tab", name="Evaluate").click()
    page.locator("#evaluation-new").click()
    expect(page.locator("#evaluation-family")).to_be_visible()
    check_accessibility(page)
