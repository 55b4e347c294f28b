"""The documentation names only things that exist, and the built site loads nothing from another host."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import is_dataclass
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pytest
from timeouts import TIMEOUT_S

from abaw_ray.cli.analyze import settings_of as settings_of_analyze
from abaw_ray.cli.arguments import parse
from abaw_ray.cli.commands import COMMANDS
from abaw_ray.cli.doctor.run import LINE
from abaw_ray.cli.jobs import JOBS, settings_of
from abaw_ray.cli.models import settings_of as settings_of_models
from abaw_ray.cli.runs import LINE as RUNS
from abaw_ray.cluster.launch.presets import PAPER
from abaw_ray.core import schema

ROOT = Path(__file__).parents[1]
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *sorted((ROOT / "docs").rglob("*.md"))]
SCRIPTS = {
    "prepare_faces": "faces",
    "train_encoder": "train",
    "search_encoder": "search",
    "extract_features": "features",
    "sweep_fusion": "sweep",
}
"""Scripts for ``ray job submit`` whose name is not that of their command."""
FOLDERS = ("abaw_ray", "docs", "jobs", "tests", "tools")
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "embed": "src", "object": "data"}
RELATIONS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "manifest"}


def code(page: Path) -> list[str]:
    """The code of a page: every line of its blocks (continued lines joined, comments removed) and every inline span."""
    text = page.read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [re.sub(r"(^|\s)#.*", "", line) for line in lines] + spans


CODE = [(page, text) for page in PAGES for text in code(page)]


def find_in_code(pattern: str) -> set[tuple[str, str]]:
    """Page and match of a pattern in all code of the documentation."""
    return {(str(page.relative_to(ROOT)), match) for page, text in CODE for match in re.findall(pattern, text)}


def options(text: str) -> list[str]:
    """The arguments of a command line; variables and what follows a pipe or semicolon are left out."""
    words = shlex.split(re.split(r"[;|]", text)[0])
    return [word for word in words if not word.startswith("$")]


def slug(title: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", title.replace("`", "")).strip().lower())


def test_the_readme_has_at_most_150_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_every_path_that_is_named_exists():
    named = find_in_code(rf"(?<![\w/.<-])((?:{'|'.join(FOLDERS)})/[\w./-]*|[a-z]+\.yaml|[A-Z]+\.(?:md|cff))")
    wrong = {
        (page, path)
        for page, path in named
        if not (ROOT / path.rstrip("/.")).exists() and not any((ROOT / folder / path).exists() for folder in ("tools/clusters", "docs"))
    }
    assert not wrong


def test_every_module_that_is_run_exists():
    named = {(page, module) for page, module in find_in_code(r"python -m ([\w.]+)") if module not in ("pytest", "venv", "pip")}
    assert named
    paths = {(page, module): ROOT / module.replace(".", "/") for page, module in named}
    assert not {key for key, path in paths.items() if not path.with_suffix(".py").exists() and not (path / "__main__.py").exists()}


def test_every_test_that_is_named_exists():
    named = set(find_in_code(r"\b(test_\w{20,})"))
    tests = {name for path in ROOT.glob("tests/**/test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}
    assert named
    assert not {(page, name) for page, name in named if name not in tests}


def test_every_make_target_exists():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert not {(page, target) for page, target in find_in_code(r"^(?:\S+ )*make ([a-z-]+)") if target not in targets}


def test_every_command_line_is_valid():
    named = [(page, SCRIPTS.get(script, script), text) for page, (script, text) in find_in_code(r"jobs/(\w+)\.py +([^`\n]*)")]
    named += [(page, name, text) for page, (name, text) in find_in_code(r"(?<!\")abaw-ray +([a-z]\w*) *([^`\n]*)")]
    assert {name for _, name, _ in named} >= {*JOBS, "doctor"}
    for page, name, text in named:
        args = options(text)
        assert name in {command.name for command in COMMANDS}, f"{page}: abaw-ray has no command {name}"
        if not args or "..." in args:
            continue
        if "--help" in args or "--help-all" in args:
            with pytest.raises(SystemExit, match="0"):
                settings_of(name, args)
        else:
            own = {"doctor": partial(parse, LINE), "runs": partial(parse, RUNS), "models": settings_of_models, "analyze": settings_of_analyze}
            assert own.get(name, partial(settings_of, name))(args)


def test_every_option_with_a_dotted_name_is_a_setting():
    def has(settings: object, path: list[str]) -> bool:
        return not path or (is_dataclass(settings) and hasattr(settings, path[0]) and has(getattr(settings, path[0]), path[1:]))

    named = find_in_code(r"--([a-z]\w*(?:[.-]\w+)*\.[\w.-]+\w)")
    assert named
    assert not {(page, name) for page, name in named if not has(PAPER, name.replace("-", "_").removeprefix("data.no_").split("."))}


def test_every_relative_link_has_a_target():
    wrong = []
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, anchor = link.partition("#")
            if "://" in link:
                continue
            target = (page.parent / path).resolve() if path else page
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if target.suffix == ".md" and target.exists() else []
            if not target.exists() or (anchor and anchor not in map(slug, titles)):
                wrong.append((page.name, link))
    assert not wrong


def test_every_column_is_in_the_data_dictionary():
    page = (ROOT / "docs/data.md").read_text()
    images, features = (schema.IMAGE, schema.ANNOTATED_IMAGE), (schema.feature(1, 1), schema.visual_feature(1))
    tables = (schema.VIDEO, schema.FACE, *images, *features, schema.LOGITS, schema.PREDICTION, schema.ANALYSIS, schema.FAILURE)
    assert not {name for table in tables for name in table.names if f"`{name}`" not in page}


def test_every_package_folder_has_a_page_of_the_reference():
    folders = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for path in (ROOT / "abaw_ray").rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    }
    shown = {name for page in (ROOT / "docs/api").glob("*.md") for name in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE)}
    assert folders == shown


def test_the_site_configuration_names_no_other_host():
    assert "//" not in re.sub(r"#.*", "", (ROOT / "mkdocs.yml").read_text())
    assert "font: false" in (ROOT / "mkdocs.yml").read_text()


class ResourceCollector(HTMLParser):
    """Collects the addresses that a page loads when it is opened; links to other pages do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in LOADED:
            self.addresses.append(values.get(LOADED[tag], ""))
        if tag == "link" and RELATIONS & set(values.get("rel", "").split()):
            self.addresses.append(values["href"])
        self.addresses += values.get("srcset", "").split(",") + styles(values.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.addresses += styles(data)


def styles(css: str) -> list[str]:
    """Addresses that a style sheet loads."""
    return re.findall(r"url\(\s*[\"']?([^\"')]+)", css) + re.findall(r"@import\s+[\"']([^\"']+)", css)


def is_foreign(address: str) -> bool:
    return re.match(r"\s*(?:https?:)?//", address) is not None


@pytest.mark.slow
def test_the_built_site_loads_nothing_from_another_host(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").rglob("*.md"))) - 2
    for page in pages:
        collector = ResourceCollector()
        collector.feed(page.read_text())
        assert not [address for address in collector.addresses if is_foreign(address)], page
        # The theme fetches Mermaid from a network unless a script has defined it.
        assert 'class="mermaid"' not in page.read_text() or any("mermaid.min.js" in address for address in collector.addresses), page
    for sheet in (tmp_path / "site").rglob("*.css"):
        assert not [address for address in styles(sheet.read_text()) if is_foreign(address)], sheet
