"""A headless Chromium, and pages in it. Every test fails on a message in the console or on a request to another place than its own folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from coded_video import TIMES, page_fields, page_of, write_numbered
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from abaw_ray.report.video.page import write_video_page


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


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with ``v.mp4`` and its page."""
    write_numbered(tmp_path / "v.mp4", TIMES, 0.0)
    write_video_page(tmp_path, page_of(tmp_path / "v.mp4", **page_fields()))
    return tmp_path


@pytest.fixture
def page(folder, show) -> Page:
    opened = show(folder / "index.html")
    opened.wait_for_function("() => clock.reported")
    return opened
