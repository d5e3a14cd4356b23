"""Made-up answers: pleasant markdown about the question's own words.

Knows words and a given random source. Knows no vendor, no HTTP and no clock.
"""

import random
import re
from collections.abc import Callable

# Words that say nothing about what a question is about.
COMMON = frozenset(
    "about after again also and answer because been before being between both can code could does doing each explain for"
    " from give have having hello help here how into just like make many more most much need other over please"
    " shall should show slowly some such tell than that the their them then there these they this those through"
    " under very want was were what when where which while who whom why will with would write your you are not"
    " but its out any all had has her his him our".split()
)
LONGEST_TOPIC = 30

SENTENCES = (
    "The short version: {topic} rewards a small first step more than a big plan.",
    "Most people meet {topic} by accident and understand it only the second time.",
    "It helps to look at {topic} and {other} side by side, because each explains the other.",
    "A good habit is to write down what you expect of {topic} before you try it.",
    "When {topic} surprises you, look first at what changed last; it is usually that.",
    "There is no single right way here, but some ways are easier to undo than others.",
    "Measure once before and once after, or you will never know whether {topic} got better.",
    "If time is short, leave {other} for later: nothing breaks when it waits a week.",
    "Small, regular attention to {topic} beats a rescue every spring.",
    "Ask somebody who lives with {topic} every day; they know the corners that no book shows.",
    "What looks like a problem with {topic} is often a problem with how it is named.",
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
    blocks = [rng.choice(SENTENCES[:3])]
    if with_code:
        blocks.append(CODE)
    makers: tuple[Callable[[random.Random], str], ...] = (_paragraph, _list, _section, _steps, _extra)
    while sum(len(block.split()) for block in blocks) < words:
        blocks.append(rng.choice(makers)(rng))
    return "\n\n".join(block.format(topic=topic, other=other) for block in blocks)


def topics(question: str) -> tuple[str, str]:
    """The two words that a question seems to be about, with stand-ins where it names none."""
    found = [word[:LONGEST_TOPIC] for word in re.findall(r"[^\W_]{3,}", question) if word.lower() not in COMMON]
    ranked = sorted(dict.fromkeys(found), key=len, reverse=True)
    topic = ranked[0] if ranked else "your question"
    return topic, ranked[1] if len(ranked) > 1 else "the rest"


def _paragraph(rng: random.Random) -> str:
    return " ".join(rng.sample(SENTENCES, rng.randint(2, 3)))


def _list(rng: random.Random) -> str:
    return "\n".join(f"- {point}" for point in rng.sample(POINTS, 3))


def _section(rng: random.Random) -> str:
    return f"## {rng.choice(HEADINGS)}\n\n{_paragraph(rng)}"


def _steps(rng: random.Random) -> str:
    return "\n".join(f"{number}. {step}" for number, step in enumerate(STEPS[: rng.randint(3, 5)], start=1))


def _extra(rng: random.Random) -> str:
    return rng.choice((TABLE, CODE))
