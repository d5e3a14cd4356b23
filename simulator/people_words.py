"""What made-up people ask. Knows words and a given random source; knows no HTTP."""

import random

TOPICS = (
    "a canal lock",
    "sourdough bread",
    "the tides",
    "compound interest",
    "a small vegetable garden",
    "noise-cancelling headphones",
    "a bicycle's gears",
    "photosynthesis",
    "the offside rule",
    "a heat pump",
    "database indexes",
    "learning the ukulele",
    "a city trip with children",
    "regular expressions",
    "the northern lights",
    "moving to another flat",
    "a job interview",
    "mechanical keyboards",
    "making cheese at home",
    "public-key encryption",
)
OPENINGS = (
    "Explain {topic} to a curious ten-year-old",
    "What should I know about {topic}?",
    "I know nothing about {topic}. Where do I start?",
    "Give me five facts about {topic}",
    "What do most people get wrong about {topic}?",
    "Write a short, friendly text about {topic} for a newsletter.",
    "Help me plan a talk of ten minutes about {topic}.",
    "Is {topic} worth an afternoon of my time?",
    "Make a checklist for {topic}, please",
)
FOLLOW_UPS = (
    "Can you give me an example?",
    "Shorter, please.",
    "And what does that cost?",
    "Why is that so?",
    "Put that into a table, please",
    "How would you explain it to my grandmother?",
    "What would you do first?",
    "That helps, thank you! What comes next?",
    "Are there any risks?",
)
# Of a hundred people who rate, so many give 1, 2, 3, 4 and 5: 4.2 on average.
STARS = (4, 5, 11, 27, 53)
# Up to so many stars the page asks what was wrong; of a hundred who say it, so many say this.
BAD = 3
REASONS = {"incorrect": 32, "unhelpful": 28, "slow": 10, "style": 18, "unsafe": 2, "other": 10}
REASON_SHARE = 0.5


def first_question(rng: random.Random) -> str:
    """A question that starts a conversation."""
    return rng.choice(OPENINGS).format(topic=rng.choice(TOPICS))


def follow_up(rng: random.Random) -> str:
    """What somebody says who has read a reply."""
    return rng.choice(FOLLOW_UPS)


def stars(rng: random.Random) -> int:
    """A rating, 1 to 5."""
    return rng.choices((1, 2, 3, 4, 5), STARS)[0]


def reason(rating: int | None, rng: random.Random) -> str:
    """Why a rating is bad: said of about half of those that are, "" of all others."""
    if rating is None or rating > BAD or rng.random() >= REASON_SHARE:
        return ""
    return rng.choices([*REASONS], [*REASONS.values()])[0]
