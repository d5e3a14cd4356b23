"""What the slow vendor says, known to both ends: each word has its answer's number and its own, ``a17w4``.

Words come in sentences, with something bold now and then, in paragraphs and lists, as models write.
"""

import re

WORD = re.compile(r"a(\d+)w(\d+)")
_BLOCK = 40
_BOLD = 13
_ITEM = 10


def token(answer: int, number: int) -> str:
    """The ``number``th piece of an answer, from 0."""
    word = f"a{answer}w{number}"
    if number % _BOLD == _BOLD - 1:
        word = f"**{word}**"
    place = number % _BLOCK
    is_list = number // _BLOCK % 3 == 2
    if number and place == 0:
        return f".\n\n- {word}" if is_list else f".\n\n{word}"
    if is_list and place % _ITEM == 0:
        return f"\n- {word}"
    return f" {word}" if number else word


def text(answer: int, tokens: int) -> str:
    """The whole answer."""
    return "".join(token(answer, number) for number in range(tokens))


def words(html: str) -> list[tuple[int, int]]:
    """The (answer, number) of each word that is seen in it, in order."""
    return [(int(answer), int(number)) for answer, number in WORD.findall(html)]
