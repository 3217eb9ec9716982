"""A console that is used by its keys alone."""

from typing import Final

from playwright.async_api import Locator, Page, expect

_MOST_STEPS: Final = 200
_IS_FOCUSED: Final = "element => element === document.activeElement"
_LOOK: Final = """
element => {
  const style = getComputedStyle(element), box = element.getBoundingClientRect();
  const above = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return [outlined, above !== null && (element.contains(above) || above.contains(element))];
}
"""


async def tab_to(page: Page, target: Locator, *, back: bool = False) -> None:
    """Go on from where the focus is until `target` has it; it must show that, and nothing may cover it."""
    for _ in range(_MOST_STEPS):
        await page.keyboard.press("Shift+Tab" if back else "Tab")
        if await target.count() == 1 and await target.evaluate(_IS_FOCUSED):
            break
    else:
        raise AssertionError(f"no way to {target} by Tab")
    is_outlined, is_uncovered = await target.evaluate(_LOOK)
    assert is_outlined, f"nothing shows that {target} has the focus"
    assert is_uncovered, f"{target} has the focus under something else"


async def log_in_by_keys(page: Page, key: str) -> None:
    """Log in from the log-in page."""
    field = page.get_by_label("Admin key")
    if not await field.evaluate(_IS_FOCUSED):
        await tab_to(page, field)
    await page.keyboard.type(key)
    await page.keyboard.press("Enter")
    await expect(page.locator("body")).to_have_attribute("data-live", "on")


async def order_by_keys(page: Page, link: str, button: str, **fields: str) -> None:
    """Find an order, fill in its form, and give it.

    Args:
        page: the console.
        link: the order's accessible name.
        button: what the form's is called.
        fields: what to type, by the name of the field, in the order of the form.
    """
    await tab_to(page, page.get_by_role("link", name=link, exact=True))
    await page.keyboard.press("Enter")
    form = page.get_by_role("dialog")
    await expect(form).to_be_visible()
    for name, text in fields.items():
        field = form.locator(f"[name={name}]")
        if not await field.evaluate(_IS_FOCUSED):
            await tab_to(page, field)
        await page.keyboard.press("Control+A")
        await page.keyboard.type(text)
    submit = form.get_by_role("button", name=button, exact=True)
    if not await submit.evaluate(_IS_FOCUSED):
        await tab_to(page, submit)
    await page.keyboard.press("Space")
    await expect(form).to_be_hidden()
