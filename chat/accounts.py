"""People: guests, sign-up, and what a guest's chats become when an account logs in.

Knows users and whose conversations are whose. Knows no requests and no sessions.
"""

from secrets import token_hex

from django.db import IntegrityError, transaction

from chat.models import Conversation, User


class UsernameTaken(Exception):
    """Somebody has that name, whatever the case of its letters."""


def create_guest() -> User:
    """A new person without a name of their own or a password."""
    guest = User(username=f"guest-{token_hex(8)}", is_guest=True)
    guest.set_unusable_password()
    guest.save()
    return guest


def username_taken(username: str) -> bool:
    """Whether somebody has that name, whatever the case of its letters."""
    return User.objects.filter(username__iexact=username).exists()


def sign_up(user: User | None, username: str, password: str, email: str = "") -> User:
    """Turn a guest into a full account, in the same row: chats, unit and so the arm stay. Others get a new row.

    The password is taken as it is; forms judge it. Raises UsernameTaken.
    """
    try:
        with transaction.atomic():
            # Locked: two tabs that sign the same guest up at once must not share one account.
            guest = User.objects.select_for_update().filter(pk=user.pk, is_guest=True).first() if user else None
            account = guest or User()
            account.username = User.normalize_username(username)
            account.email = User.objects.normalize_email(email)
            account.is_guest = False
            account.set_password(password)
            account.save()
    except IntegrityError:
        raise UsernameTaken(username) from None
    return account


def adopt_conversations(guest: User, account: User) -> int:
    """Give a guest's conversations to the account that the guest turned out to have; returns how many.

    The account wins: its name, unit and so its arm stay, and what was measured under the guest's unit
    stays there. The guest's empty row stays too, for an answer that is still being written.
    """
    return Conversation.objects.filter(user=guest, user__is_guest=True).update(user=account)
