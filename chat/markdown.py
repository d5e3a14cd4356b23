"""Markdown to HTML, block by block.

Knows text only: no Django, no models, no clock. A document's HTML is the concatenation of its
top-level blocks, each parsed, highlighted and sanitised on its own, so that an answer that streams
in and the same answer read from history can't differ. For that, link reference definitions
(``[name]: url``), which act on blocks far away, are plain text here.

Everything that comes in is hostile: HTML is off in the parser, and nh3 lets through no more than the
tags and attributes that the renderer below makes. Nothing rendered fetches anything: an image
becomes a link to it.
"""

import re
from collections.abc import Iterator, Sequence
from html import escape

import nh3
from linkify_it import LinkifyIt
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES
from pygments.util import ClassNotFound

from chat.open_text import BLANK, CLOSED_BY_BLANK, LINE_END, OpenText, begins_text, open_text

# Longer fenced code is shown without colours: lexers are slow, and this one runs as the text grows.
HIGHLIGHT_CHARS = 20_000
LONGEST_LANGUAGE = 30
# Bare links are found in paragraphs up to here: looking for them takes time by the square of the length.
LINKIFY_CHARS = 5_000
LINK_SCHEMES = ("http:", "https:", "mailto:")
ALIGNED = {f"text-align:{side}": side for side in ("left", "center", "right")}

# What a bare link begins with; much quicker to look for than the links themselves.
_LINK_START = re.compile(r"https?://|mailto:", re.IGNORECASE)


def render_blocks(text: str) -> list[str]:
    """The sanitised HTML of each top-level block of ``text``, in order."""
    return [_html(tokens) for tokens in _top_level_blocks(_MARKDOWN.parse(text))]


class BlockStream:
    """The blocks of a text that grows at its end.

    Text before the last block whose beginning is certain is never looked at again, so the work for
    each delta depends on the length of the last blocks, not of the whole answer. And where plain words, some of them
    bold, follow words, or begin another item of a list of words, they are written behind them and nothing is parsed.
    """

    def __init__(self) -> None:
        self._tail = ""
        self._settled = 0
        self._shown: list[str] = []
        self._raw: list[str] = []
        self._open: OpenText | None = None

    def feed(self, delta: str) -> tuple[int, list[str]]:
        """Take in the next piece of the text, of any length; answer which blocks changed.

        ``(start, blocks)``: whoever shows the text replaces everything from block ``start`` (0 is the
        first) on with ``blocks``. Where nothing changed, ``start`` is the number of blocks.
        """
        self._tail += delta
        if self._open is not None and len(self._tail) <= LINKIFY_CHARS:
            if self._open.takes(delta):
                return self._append(self._open, delta)
            if (change := self._go_on(self._open, delta)) is not None:
                return change
        groups = list(_top_level_blocks(_MARKDOWN.parse(self._tail)))
        raw = [_raw_html(tokens) for tokens in groups]
        unchanged = _length_of_common_start(self._raw, raw)
        blocks = [*self._shown[:unchanged], *map(_CLEANER.clean, raw[unchanged:])]
        same = _length_of_common_start(self._shown, blocks)
        change = self._settled + same, blocks[same:]
        self._raw, self._shown = raw, blocks
        self._open = open_text(self._tail, groups[-1], blocks[-1]) if groups else None
        self._settle(groups)
        return change

    def _go_on(self, last: OpenText, delta: str) -> tuple[int, list[str]] | None:
        """A block that ends, or gets another item, with no look at its beginning; ``None`` where it does neither."""
        if last.separator is None:
            return None
        words, *more = last.separator.split(delta)
        if not more or (words and not last.takes(words)):
            return None
        if last.separator is BLANK:
            return self._end(last, words, delta[len(words) :])
        if not all(map(begins_text, more)):
            return None
        last.write(words)
        for item in more:
            last.write_item(item)
        return self._show(last)

    def _end(self, last: OpenText, words: str, rest: str) -> tuple[int, list[str]]:
        start, ended = self._append(last, words)
        self._settled += len(self._shown)
        self._tail, self._shown, self._raw, self._open = "", [], [], None
        _start, following = self.feed(rest)
        return start, [*ended, *following]

    def _append(self, last: OpenText, words: str) -> tuple[int, list[str]]:
        if last.write(words):
            return self._show(last)
        return self._settled + len(self._shown), []

    def _show(self, last: OpenText) -> tuple[int, list[str]]:
        # What was parsed is not what is shown any more.
        self._raw[-1] = ""
        self._shown[-1] = last.html + last.closing
        return self._settled + len(self._shown) - 1, self._shown[-1:]

    def _settle(self, groups: Sequence[Sequence[Token]]) -> None:
        """Cut off the blocks that no further text can change.

        CommonMark closes a block only by a line that begins another, and the parser looks at most one
        line past that (a table's second line): so a block stands once two whole lines follow it. A last
        line without its end may still become anything; but behind a paragraph or heading and a blank line,
        nothing that it becomes belongs to them.
        """
        ends = [match.end() for match in LINE_END.finditer(self._tail)]
        lines = [_lines(tokens) for tokens in groups]
        last = max(
            (
                place
                for place in range(1, len(groups))
                if lines[place][0] + 2 <= len(ends)
                or (groups[place - 1][0].type in CLOSED_BY_BLANK and lines[place - 1][1] < lines[place][0])
            ),
            default=0,
        )
        if not last:
            return
        self._tail = self._tail[ends[lines[last][0] - 1] :]
        self._settled += last
        self._raw, self._shown = self._raw[last:], self._shown[last:]


def _top_level_blocks(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    block: list[Token] = []
    depth = 0
    for token in tokens:
        block.append(token)
        depth += token.nesting
        if depth == 0:
            yield block
            block = []


def _lines(tokens: Sequence[Token]) -> Sequence[int]:
    """Where a top-level block begins and the line after its end, from 0; the parser gives each of them a map."""
    lines = tokens[0].map
    assert lines is not None  # noqa: S101
    return lines


def _length_of_common_start(before: Sequence[str], after: Sequence[str]) -> int:
    for index, (old, new) in enumerate(zip(before, after, strict=False)):
        if old != new:
            return index
    return min(len(before), len(after))


def _html(tokens: Sequence[Token]) -> str:
    return _CLEANER.clean(_raw_html(tokens))


def _raw_html(tokens: Sequence[Token]) -> str:
    return str(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))


def _code(source: str, language: str, _attributes: str) -> str:
    """A fenced code block, coloured by CSS classes where Pygments knows the language."""
    label = f' data-language="{escape(language[:LONGEST_LANGUAGE])}"' if language else ""
    return f"<pre{label}><code>{_coloured(source, language)}</code></pre>"


def _coloured(source: str, language: str) -> str:
    if not language or len(source) > HIGHLIGHT_CHARS:
        return escape(source)
    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return escape(source)
    return str(highlight(source, lexer, HtmlFormatter(nowrap=True)))


def _is_link(url: str) -> bool:
    return url.lower().startswith(LINK_SCHEMES)


def _adapt(state: StateCore) -> None:
    """Images to links, and table cells' alignment from a style attribute (which the CSP forbids) to a class."""
    for token in state.tokens:
        if token.type == "inline" and token.children:
            token.children = list(_images_as_links(token.children, state.md))
        elif token.type in ("th_open", "td_open") and (style := token.attrs.pop("style", None)):
            token.attrs["class"] = ALIGNED[str(style)]


def _images_as_links(tokens: Sequence[Token], md: MarkdownIt) -> Iterator[Token]:
    links = 0
    for token in tokens:
        links += {"link_open": 1, "link_close": -1}.get(token.type, 0)
        if token.type != "image":
            yield token
            continue
        source = str(token.attrs["src"])
        words = Token("text", "", 0, content=token.content or source)
        if links:
            yield words
        else:
            yield from (Token("link_open", "a", 1, attrs={"href": source}), words, Token("link_close", "a", -1))


class _BareLinks(LinkifyIt):  # type: ignore[misc]
    """Finds only what says its scheme: file names ("main.py") look like host names."""

    def __init__(self) -> None:
        super().__init__(options={"fuzzy_link": False, "fuzzy_email": False, "fuzzy_ip": False})
        for scheme in ("ftp:", "//"):
            self.add(scheme, None)

    def pretest(self, text: str) -> bool:
        return len(text) <= LINKIFY_CHARS and _LINK_START.search(text) is not None and bool(super().pretest(text))


def _make_markdown() -> MarkdownIt:
    md = MarkdownIt("commonmark", {"html": False, "linkify": True, "highlight": _code, "maxNesting": 50})
    md.enable(["table", "strikethrough", "linkify"])
    md.disable(["reference", "html_block", "html_inline"])
    # The core rule of the same name does it; this one takes time by the square of the text's length.
    md.inline.ruler.disable("linkify")
    md.core.ruler.push("adapt", _adapt)
    md.validateLink = _is_link  # type: ignore[method-assign]
    md.linkify = _BareLinks()
    md.add_render_rule("table_open", lambda *_: '<div class="table"><table>\n')
    md.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return md


_MARKDOWN = _make_markdown()
_CLEANER = nh3.Cleaner(
    tags={
        *("a", "blockquote", "br", "code", "del", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li"),
        *("ol", "p", "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
    },
    attributes={"a": {"href", "title"}, "ol": {"start"}, "pre": {"data-language"}},
    allowed_classes={
        "div": {"table"},
        "span": {name for name in STANDARD_TYPES.values() if name},
        **{cell: set(ALIGNED.values()) for cell in ("td", "th")},
    },
    set_tag_attribute_values={"a": {"target": "_blank"}},
    link_rel="noopener noreferrer nofollow",
    url_schemes={scheme.rstrip(":") for scheme in LINK_SCHEMES},
    url_relative="deny",
)
