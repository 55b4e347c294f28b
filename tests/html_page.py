"""The parts of an HTML page, for tests of the pages."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """The tags of a page with their attributes, its text, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.scripts, self.texts, self.open = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.open == "script":
            self.scripts[-1] += data
        elif self.open != "style":
            self.texts.append(data)

    def handle_endtag(self, tag):
        self.open = None

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def values(self, name):
        """Values of an attribute, in the order of the page."""
        return [attrs[name] for _, attrs in self.tags if name in attrs]
