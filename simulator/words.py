"""Made-up answers: pleasant markdown about the question's own words.

Knows words and a given random source. Knows no vendor, no HTTP and no clock.
"""

import random
import re
from collections.abc import Iterator, Sequence
from itertools import islice

# Words that say nothing about what a question is about.
COMMON = frozenset(
    re.findall(
        r"\w+",
        """
        about after again all also and answer any are because been before being between both but can code compare could
        does doing each error explain for from give had has have having hello help her here him his how into its just
        like make many more most much need not other our out over please shall should show slowly some such tell than
        that the their them then there these they this those through under very want was were what when where which
        while who whom why will with would write you your
        """,
    )
)
LONGEST_TOPIC = 30

OPENINGS = (
    "The short version: with {topic}, a small first step beats a big plan.",
    "Most people meet {topic} by accident and make friends with the idea only later.",
    "It helps to look at {topic} and {other} side by side, because each explains the other.",
)
SENTENCES = (
    "A good habit is to write down what you expect of {topic} before you try it.",
    "When something about {topic} surprises you, look first at what changed last; it is usually that.",
    "There is no single right way here, but some ways are easier to undo than others.",
    "Measure once before and once after, or you will never know whether {topic} got better.",
    "If time is short, leave {other} for later: nothing breaks when it waits a week.",
    "Small, regular attention to {topic} beats a rescue every spring.",
    "Ask somebody who lives with {topic} every day; they know the corners that no book shows.",
    "What looks like a problem with {topic} is often only a problem with a name.",
    "Keep the first version plain, and let real use tell you what it lacks.",
)
HEADINGS = (
    "Where to start",
    "What matters most",
    "A closer look at {topic}",
    "Things to watch",
    "In practice",
    "From {topic} to {other}",
)
POINTS = (
    "**Start small**: pick one part of {topic} and finish it",
    "**Compare**: put {other} next to it and note three differences",
    "**Keep a record**: a line a day is enough",
    "**Ask early**: a question costs less than a repair",
    "**Leave room**: the first estimate is always too tight",
    "**Look back**: after a week, drop what did not help",
)
STEPS = (
    "Write down what *good* looks like for {topic}.",
    "Try the smallest version that could work.",
    "Show it to one person and watch, without explaining.",
    "Change one thing, then look again.",
    "Decide: keep it, change it, or let it go.",
)
TABLE = """| Way | Effort | Good for |
|---|---|---|
| Try it out | an hour | getting a feel for {topic} |
| Plan first | a day | {other} with many people involved |
| Ask around | a week | decisions that are hard to undo |"""
CODE = '''```python
def steps(topic: str, days: int) -> list[str]:
    """One small step a day."""
    return [f"Day {{day}}: look at {{topic}}" for day in range(1, days + 1)]


for line in steps("{topic}", 3):
    print(line)
```'''


def compose(question: str, *, words: int, rng: random.Random, with_code: bool = False) -> str:
    """A markdown answer that speaks of ``question``, of about ``words`` words (its last block may run over).

    ``with_code`` makes sure of a fenced python block; without it there is one now and then.
    """
    topic, other = topics(question)
    blocks = [rng.choice(OPENINGS)]
    if with_code:
        blocks.append(CODE)
    more = _blocks(rng, with_code=not with_code)
    while sum(len(block.split()) for block in blocks) < words:
        blocks.append(next(more))
    return "\n\n".join(block.format(topic=topic, other=other) for block in blocks)


def topics(question: str) -> tuple[str, str]:
    """The two words that a question seems to be about, with stand-ins where it names none."""
    found = [word[:LONGEST_TOPIC] for word in re.findall(r"[^\W_]{3,}", question) if word.lower() not in COMMON]
    ranked = sorted(dict.fromkeys(found), key=len, reverse=True)
    topic = ranked[0] if ranked else "your question"
    return topic, ranked[1] if len(ranked) > 1 else "the rest"


def _blocks(rng: random.Random, *, with_code: bool) -> Iterator[str]:
    """Headings, paragraphs, lists, tables and code without end; nothing comes back before the rest was seen."""
    sentences, headings = _dealt(SENTENCES, rng), _dealt(HEADINGS, rng)
    insets = _dealt([_bullets(rng), _steps(rng), TABLE, *([CODE] if with_code else [])], rng)
    while True:
        yield " ".join(islice(sentences, 2))
        yield next(insets)
        yield f"## {next(headings)}\n\n{' '.join(islice(sentences, 2))}"


def _bullets(rng: random.Random) -> str:
    return "\n".join(f"- {point}" for point in rng.sample(POINTS, 3))


def _steps(rng: random.Random) -> str:
    return "\n".join(f"{number}. {step}" for number, step in enumerate(STEPS[: rng.randint(3, 5)], start=1))


def _dealt(cards: Sequence[str], rng: random.Random) -> Iterator[str]:
    while True:
        yield from rng.sample(cards, len(cards))
