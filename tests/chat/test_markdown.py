import re
from html.parser import HTMLParser
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.markdown import _MARKDOWN, HIGHLIGHT_CHARS, BlockStream, render_blocks

# What begins, ends or continues blocks, in the ways that change what stands before it.
FRAGMENTS = (
    *("\n", "\n", "\n\n", "\r", "\r\n", " ", "    ", "\t", "text", "# h", "===", "---", "--", "-", "- a", "* ", "+ z"),
    *(
        "1. x",
        "2) y",
        "> q",
        ">",
        "```",
        "```py",
        "~~~",
        "| a | b |",
        "|---|---|",
        "a | b",
        "---|---",
        ":-|-:",
        "| 1 |",
    ),
    *("**b", "*", "`c`", "\\", "&amp;", "<b>", "[r]: http://x.y", "[r]", "[l](http://x.y)", "![i](http://i.j)"),
    # Plain words, and what must not be taken for one.
    *(
        "word",
        " word",
        " and, then",
        " it's",
        " **bold**",
        " and **two words**, bold",
        " **bold**s",
        "1",
        " 2",
        ".",
        ":",
        "//",
        "(",
        ")",
        " #",
        " - ",
        "mailto:",
        "a@b.c",
        "&",
        ";",
    ),
    *("http://a.b", "\0", "\u2028", "\x0b", "\x85", "\u00a0", "\u202e"),
)
# Lists and paragraphs of words, as most answers are, and what breaks them.
WORDS = (" word", "Word", "x", " **bold**", "**bold**", "\n", "\n\n", "\n\n- e", " ", "  ", "# ", "> ")
LISTS = ("\n- a", "\n- **B** c", "\n- ", "\n1. a", "\n2. ", "\n4) u", "\n* d", "\n+ v", "- ", "1. ")
PROSE = st.sampled_from((*WORDS, *LISTS, "\n - a", "\n  - n", "\n   deep"))
DELTAS = st.lists(st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join), max_size=12)


class Elements(HTMLParser):
    """The tags and attributes that a browser would make of the HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def stream(deltas: list[str]) -> list[str]:
    """What a page shows that follows the deltas."""
    blocks = BlockStream()
    shown: list[str] = []
    for delta in deltas:
        start, changed = blocks.feed(delta)
        assert start <= len(shown)
        shown[start:] = changed
    return shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("Some *text* and", " words", id="a paragraph"),
        pytest.param("a wo", "rd", id="a word that goes on"),
        pytest.param("- one\n- two", " more", id="a list"),
        pytest.param("> **bold**", " and plain", id="behind bold words in a quote"),
        pytest.param("# A head", "ing", id="a heading"),
    ],
)
def test_words_that_follow_words_are_not_parsed(monkeypatch: pytest.MonkeyPatch, text: str, words: str):
    blocks = BlockStream()
    shown = blocks.feed(text)[1]
    monkeypatch.setattr("chat.markdown._MARKDOWN.parse", lambda _text: pytest.fail("parsed again"))

    start, changed = blocks.feed(words)

    monkeypatch.undo()
    assert shown[:start] + changed == render_blocks(text + words)


def test_words_behind_a_paragraph_that_is_too_long_for_links_take_them_away():
    text = "http://a.b " + "word " * 1000

    assert stream([text[:4990], *text[4990:]]) == render_blocks(text)


def text_of(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html)


@given(DELTAS)
def test_however_a_text_streams_in_it_ends_as_the_whole_rendered_at_once(deltas: list[str]):
    assert stream(deltas) == render_blocks("".join(deltas))


@given(st.lists(st.lists(PROSE, max_size=4).map("".join), max_size=10))
def test_prose_streams_as_it_renders(deltas: list[str]):
    assert stream(deltas) == render_blocks("".join(deltas))


@given(st.text(max_size=60), st.integers(1, 5))
def test_any_text_at_all_streams_as_it_renders(text: str, size: int):
    assert stream([text[i : i + size] for i in range(0, len(text), size)]) == render_blocks(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("- a\n---x", id="a rule that becomes a list's continued line"),
        pytest.param("a\nb | c\n---|--x", id="a table that becomes a paragraph's continued line"),
        pytest.param("a\r\n\r\nb\r\n- c", id="CRLF, cut in half"),
        pytest.param("- a\n\n\n- b\n\nc", id="a list that goes on after blank lines"),
    ],
)
def test_a_last_line_may_change_the_block_before_it(text: str):
    assert stream(list(text)) == render_blocks(text)


def test_a_finished_block_is_not_sent_again():
    blocks = BlockStream()
    blocks.feed("one\n\ntwo\n\nthr")

    assert blocks.feed("ee") == (2, ["<p>three</p>\n"])


def test_a_delta_that_changes_nothing_says_so():
    blocks = BlockStream()
    blocks.feed("one")

    assert blocks.feed("\n") == (1, [])


def test_a_finished_block_is_not_parsed_again():
    blocks = BlockStream()
    for _ in range(100):
        blocks.feed("a paragraph\n\n")

    assert len(blocks._tail) < 100


def test_a_paragraph_is_finished_by_a_blank_line_and_what_follows():
    blocks = BlockStream()
    blocks.feed("one\n\ntwo")

    assert blocks._tail == "two"


def test_plain_words_and_bold_ones_are_not_parsed(monkeypatch):
    blocks = BlockStream()
    blocks.feed("- one")
    monkeypatch.setattr("chat.markdown._MARKDOWN", None)

    assert blocks.feed(" two **three four**, five ") == (
        0,
        ["<ul>\n<li>one two <strong>three four</strong>, five</li>\n</ul>\n"],
    )
    assert blocks.feed("six") == (0, ["<ul>\n<li>one two <strong>three four</strong>, five six</li>\n</ul>\n"])


def test_neither_is_an_item_that_begins_with_words(monkeypatch):
    blocks = BlockStream()
    blocks.feed("1. one")
    monkeypatch.setattr("chat.markdown._MARKDOWN", None)

    assert blocks.feed(" more\n2. **two**, and \n3. three ") == (
        0,
        ["<ol>\n<li>one more</li>\n<li><strong>two</strong>, and</li>\n<li>three</li>\n</ol>\n"],
    )
    assert blocks.feed("four") == (
        0,
        ["<ol>\n<li>one more</li>\n<li><strong>two</strong>, and</li>\n<li>three four</li>\n</ol>\n"],
    )


def test_what_follows_a_blank_line_is_parsed_without_the_paragraph_before_it(monkeypatch):
    blocks = BlockStream()
    blocks.feed("one\n\ntwo")
    parse = mock.Mock(wraps=_MARKDOWN.parse)
    monkeypatch.setattr("chat.markdown._MARKDOWN.parse", parse)

    assert blocks.feed(" three\n\n- four") == (1, ["<p>two three</p>\n", "<ul>\n<li>four</li>\n</ul>\n"])
    parse.assert_called_once_with("\n\n- four")


def test_the_usual_markdown_becomes_html():
    text = "# Title\n\n- **bold**\n- ~~gone~~\n\n> quote\n\n```python\nprint(1)\n```"

    assert render_blocks(text) == [
        "<h1>Title</h1>\n",
        "<ul>\n<li><strong>bold</strong></li>\n<li><s>gone</s></li>\n</ul>\n",
        "<blockquote>\n<p>quote</p>\n</blockquote>\n",
        '<pre data-language="python"><code><span class="nb">print</span><span class="p">(</span>'
        '<span class="mi">1</span><span class="p">)</span>\n</code></pre>\n',
    ]


def test_a_tables_alignment_is_a_class_and_not_a_style():
    (html,) = render_blocks("|a|b|\n|:-:|-:|\n|1|2|")

    assert '<th class="center">a</th>' in html
    assert '<td class="right">2</td>' in html
    assert "style" not in html


@pytest.mark.parametrize("language", ["nonsense", '"><script>', "python\0", "x" * 1000])
def test_code_in_a_language_that_nobody_knows_is_shown_as_it_is(language: str):
    (html,) = render_blocks(f"```{language}\n<b> & 'quotes'\n```")

    (pre, code) = Elements(html).found
    assert (pre[0], code) == ("pre", ("code", {}))
    assert "&lt;b&gt; &amp; 'quotes'" in html


def test_very_long_code_is_shown_without_colours():
    source = "x = 1\n" * (HIGHLIGHT_CHARS // 5)

    (html,) = render_blocks(f"```python\n{source}```")

    assert "<span" not in html
    assert text_of(html) == f"{source}\n"


def test_code_keeps_every_blank_line_and_space():
    (html,) = render_blocks("```python\n\n\n  a\n\n```")

    assert text_of(html) == "\n\n  a\n\n\n"


ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java&#115;cript:alert(1))",
    "[x](&#x6A;avascript:alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](vbscript:x)",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "![x](https://evil.example/beacon.png)",
    '![x](https://evil.example/a.png "t" onerror=alert(1))',
    "[![x](https://evil.example/a.png)](https://evil.example)",
    '[x](https://evil.example/"onmouseover="alert(1))',
    "[x](//evil.example)",
    "[x](/accounts/logout/)",
    "[x][y]\n\n[y]: javascript:alert(1)",
    '```"><script>alert(1)</script>\nx\n```',
    "```html\n<script>alert(1)</script>\n```",
    "<style>*{display:none}</style>",
    "<iframe src=https://evil.example></iframe>",
    "<form action=https://evil.example><button hx-post=/x>",
    "|a|\n|-|\n|<img src=x onerror=alert(1)>|",
    "- <details open ontoggle=alert(1)>",
    "`<script>`<script>",
    "a\0<scr\0ipt>alert(1)</scr\0ipt>",
)
TAGS = {
    *("a", "blockquote", "br", "code", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre"),
    *("s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}


def assert_harmless(html: str) -> None:
    for tag, attributes in Elements(html).found:
        assert tag in TAGS
        assert set(attributes) <= {"href", "title", "rel", "target", "class", "start", "data-language"}
        if tag == "a":
            assert re.match("https?://|mailto:|$", attributes.get("href") or "")
            assert attributes["rel"] == "noopener noreferrer nofollow"


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_shown_and_does_nothing(attack: str):
    assert_harmless("".join(render_blocks(attack)))


@given(st.lists(st.sampled_from([*ATTACKS, *FRAGMENTS]), max_size=8).map("".join))
def test_attacks_are_harmless_in_any_surroundings(text: str):
    assert_harmless("".join(render_blocks(text)))


def test_an_image_becomes_a_link_to_it():
    (html,) = render_blocks("![a lock](https://example.com/lock.png)")

    assert Elements(html).found[1][1]["href"] == "https://example.com/lock.png"
    assert text_of(html) == "a lock\n"


def test_an_image_inside_a_link_leaves_one_link():
    (html,) = render_blocks("[![a lock](https://example.com/lock.png)](https://example.com)")

    assert [attributes.get("href") for tag, attributes in Elements(html).found if tag == "a"] == ["https://example.com"]


def test_bare_links_need_their_scheme():
    (html,) = render_blocks("https://example.com/a_b_c main.py www.example.com me@example.com")

    assert [attributes["href"] for tag, attributes in Elements(html).found if tag == "a"] == [
        "https://example.com/a_b_c"
    ]


def test_unusual_characters_survive():
    text = "\u2028שלום \u202eabc\u202c 👩‍👩‍👧 e\u0301 \x85 ﷽"

    (html,) = render_blocks(f"a {text}")

    assert text_of(html) == f"<p>a {text}</p>\n".replace("<p>", "").replace("</p>", "")


def test_nul_is_replaced_and_a_lone_cr_ends_a_line():
    assert render_blocks("a\0b\rc") == ["<p>a\ufffdb\nc</p>\n"]


def test_nothing_renders_as_nothing():
    assert render_blocks("") == []
    assert BlockStream().feed("") == (0, [])
