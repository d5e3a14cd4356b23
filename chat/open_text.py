"""Where Markdown that grows may go on without being parsed: plain words behind words, and what ends them.

Knows text and the parser's tokens only. Used by ``markdown``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markdown_it.token import Token

LINE_END = re.compile(r"\r\n?|\n")
# Words, and marks that mean nothing in Markdown behind a letter, nor need escaping in HTML.
_WORDS = r"(?:[^\W_]|[ ,.:!?'\"(’“”…–—-])"
# Something bold that is whole: it begins behind a space, so it closes nothing, and nothing before it can close it.
_BOLD = re.compile(r"(?<= )\*\*([^\W_]+(?: [^\W_]+)*)\*\*(?=[ ,.:!?]|$)")
_PLAIN = re.compile(f"(?:{_WORDS}|{_BOLD.pattern})+")
_LAST_WORD = re.compile(r"(?:^|(?<=\s))[^\W_](?:[^\W_]|[,.!?'’])*$")
_TAG_END = re.compile(r"</")
_CLOSING = re.compile(r"(?:</(?:p|h[1-6]|li|ul|ol|blockquote)>\s*)+$")
CLOSED_BY_BLANK = ("paragraph_open", "heading_open")
BLANK = re.compile(r"\n\n")
# What begins another item of a list, by what its first token says of its marker.
_NEXT_ITEM = {
    **{marker: re.compile(rf"\n{re.escape(marker)} ") for marker in "-*+"},
    **{marker: re.compile(rf"\n\d{{1,9}}{re.escape(marker)} ") for marker in ".)"},
}
# Where a list's items are words alone.
_LIST_END = re.compile(r"</li>\n</(?:ul|ol)>\s*$")
# Words, or bold ones, that begin nothing else than a text.
_TEXT_START = re.compile(r"[^\W\d_]|\*\*[^\W_]")


@dataclass
class OpenText:
    """A block whose text goes on where it ends: its HTML up to there, the rest of it, and spaces not shown yet.

    ``in_word`` says that a word may go on too, not only a new one begin. ``separator`` is what ends the block for good,
    or begins the next item of a list whose items are words alone.
    """

    html: str
    closing: str
    spaces: str
    in_word: bool
    separator: re.Pattern[str] | None

    def takes(self, words: str) -> bool:
        """Whether they can be written behind it."""
        following = self.spaces + words
        return (self.in_word or following.startswith(" ")) and _PLAIN.fullmatch(following) is not None

    def write(self, words: str) -> bool:
        """Write them behind it; whether there is more to be seen than spaces."""
        text = (self.spaces + words).rstrip(" ")
        self.spaces = (self.spaces + words)[len(text) :]
        if text:
            self.in_word = not text.endswith("*")
            self.html += _with_bold(text)
        return bool(text)

    def write_item(self, words: str) -> None:
        """Write them as the next item."""
        text = words.rstrip(" ")
        self.spaces = words[len(text) :]
        self.in_word = not text.endswith("*")
        # Behind a marker's space, as in the source.
        self.html += f"</li>\n<li>{_with_bold(f' {text}')[1:]}"


def _with_bold(text: str) -> str:
    return _BOLD.sub(r"<strong>\1</strong>", text)


def begins_text(item: str) -> bool:
    """Whether an item of these words is a text, whatever follows them."""
    return _TEXT_START.match(item) is not None and _PLAIN.fullmatch(f" {item}") is not None


def open_text(tail: str, block: Sequence[Token], html: str) -> OpenText | None:
    """The last block, if plain words, and bold ones, that follow ``tail`` can do nothing but be the next words in it.

    That is so in the last line of a paragraph or heading, also in lists and quotes. A space changes nothing that stands
    before it, as Markdown takes the end of a text for one; what closes something is not plain. A letter in the line
    keeps it from becoming an item or a rule. A word goes on as text if it is text, and no link, to its last character.
    """
    place = next((place for place in reversed(range(len(block))) if block[place].type == "inline"), None)
    if place is None:
        return None
    inline, after, closing = block[place], block[place + 1 :], _CLOSING.search(html)
    line = inline.content.rpartition("\n")[2]
    is_last = inline.map is not None and inline.map[1] > len(LINE_END.findall(tail))
    shown = sum(not token.hidden for token in after)
    if not (is_last and closing and inline.children and any(map(str.isalpha, line))):
        return None
    # A table's line, a heading's end, other spaces than plain ones.
    before = tail.rstrip(" ")
    if "|" in line or before.endswith("#") or before != tail.rstrip():
        return None
    if len(_TAG_END.findall(closing[0])) != shown:
        return None
    end = inline.children[-1]
    return OpenText(
        html=html[: closing.start()],
        closing=closing[0],
        spaces=tail[len(before) :],
        in_word=end.type == "text" and _LAST_WORD.search(end.content) is not None,
        separator=_separator(block[0], closing[0]),
    )


def _separator(first: Token, closing: str) -> re.Pattern[str] | None:
    if first.type in CLOSED_BY_BLANK:
        return BLANK
    return _NEXT_ITEM.get(first.markup) if _LIST_END.match(closing) is not None else None
