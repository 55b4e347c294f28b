"""A headless Chromium, and pages in it. Every test fails on a message in the console or on a request to another place than its own folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright


@pytest.fixture(scope="session")
def browser(pytestconfig) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=pytestconfig.getoption("--chromium"), args=["--no-sandbox"])  # root has no sandbox
        yield program
        program.close()


@pytest.fixture
def show(browser) -> Iterator[Callable[..., Page]]:
    """Opens a file or an address; options are those of a browser context (viewport, color_scheme, ...). ``expected``: messages that may occur."""
    contexts, messages, addresses = [], [], []

    def log(message: ConsoleMessage) -> None:
        messages.append(f"{message.type}: {message.text}")

    def open_page(target: Path | str, *, expected: tuple[str, ...] = (), **options) -> Page:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        contexts.append((context, expected))
        page = context.new_page()
        page.on("console", log)
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: addresses.append(request.url))
        address = target.as_uri() if isinstance(target, Path) else target
        allowed.append(address.rsplit("/", 1)[0] + "/")
        page.goto(address)
        return page

    allowed: list[str] = ["data:", "blob:"]
    yield open_page
    excused = [text for _, expected in contexts for text in expected]
    for context, _ in contexts:
        context.close()
    assert [message for message in messages if not any(text in message for text in excused)] == []
    assert [address for address in addresses if not address.startswith(tuple(allowed))] == []
