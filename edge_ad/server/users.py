"""Who may do what on the page: people with a name, a role and a token of their own."""

from __future__ import annotations

import enum
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from edge_ad.errors import DataError, UsageError

__all__ = ["ANYBODY", "LONGEST_NAME", "Role", "User", "is_token", "needed_role", "new_token", "read_users"]

LONGEST_NAME = 40
_SHORTEST_TOKEN, _LONGEST_TOKEN = 12, 256
_MOST_USERS = 200
_LONGEST_FILE = 1 << 20
_HINT = "A line is NAME:ROLE:TOKEN, or NAME:ROLE for a token that is made for this run; # begins a remark."


class Role(enum.IntEnum):
    """What a person may do; each role may do what the ones before it may."""

    VIEWER = 1
    OPERATOR = 2
    ENGINEER = 3

    @property
    def word(self) -> str:
        """``"viewer"``, ``"operator"`` or ``"engineer"``."""
        return self.name.lower()


@dataclass(frozen=True)
class User:
    """A person, or a program, with a token of its own.

    Attributes:
        name: For the audit entry; empty where the token is shared, and a request says who asks.
        role: What it may do.
        token: What it must show.
        is_new: Whether the token was made for this run, so that it has to be shown once.
    """

    name: str
    role: Role
    token: str = field(repr=False)
    is_new: bool = False

    @property
    def title(self) -> str:
        """``"Ada (operator)"``, or the role alone."""
        return f"{self.name} ({self.role.word})" if self.name else f"A {self.role.word}"


ANYBODY = User("", Role.ENGINEER, "")
"""Who needs no token, or has the one that all share."""

# What a request needs that changes something; whatever is not here needs an engineer.
_POSTS = (
    (re.compile(r"/logout"), Role.VIEWER),
    (re.compile(r"/trigger"), Role.OPERATOR),
    (re.compile(r"/api/finds/\d+/label"), Role.OPERATOR),
    (re.compile(r"/api/records/confirm"), Role.OPERATOR),
    (re.compile(r"/api/recipe"), Role.OPERATOR),
    (re.compile(r"/api/golden/(begin|part|sign)"), Role.OPERATOR),
)


def needed_role(method: str, path: str) -> Role:
    """The role that a request needs: what only shows something is for every role."""
    if method in ("GET", "HEAD"):
        return Role.VIEWER
    return next((role for pattern, role in _POSTS if pattern.fullmatch(path)), Role.ENGINEER)


def new_token() -> str:
    """A token that nobody guesses: 144 bits."""
    return secrets.token_urlsafe(18)


def is_token(token: str) -> bool:
    """Whether it has 12 to 256 visible ASCII characters."""
    return _SHORTEST_TOKEN <= len(token) <= _LONGEST_TOKEN and all("!" <= character <= "~" for character in token)


def read_users(path: Path) -> list[User]:
    """Read a file of users: one in a line, ``NAME:ROLE:TOKEN`` or ``NAME:ROLE``.

    Raises:
        DataError: It cannot be read, or holds none.
        UsageError: A line is wrong, or two have one name or token. The line's number is said, never what is in it.
    """
    try:
        with path.open(encoding="utf-8") as file:
            lines = file.read(_LONGEST_FILE).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DataError(f"The users of the page cannot be read from {path}: {why}.", _HINT) from error
    users: list[User] = []
    for number, line in enumerate(lines, 1):
        if (text := line.strip()) and not text.startswith("#"):
            users.append(_user(text, f"Line {number} of {path}", users))
    if not 0 < len(users) <= _MOST_USERS:
        raise DataError(f"{path} has {len(users)} users; 1 to {_MOST_USERS} are taken.", _HINT)
    return users


def _user(text: str, where: str, others: list[User]) -> User:
    name, _, rest = text.partition(":")
    role, has_token, token = rest.partition(":")
    name, role, token = " ".join(name.split()), role.strip().lower(), token.strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise UsageError(f"{where} has no name of 1 to {LONGEST_NAME} characters.", _HINT)
    if role not in {known.word for known in Role}:
        raise UsageError(f"{where} has no role: viewer, operator or engineer.", _HINT)
    if has_token and not is_token(token):
        raise UsageError(f"{where} has no token of 12 to 256 visible ASCII characters.", _HINT)
    if any(name == other.name or (has_token and token == other.token) for other in others):
        raise UsageError(f"{where} has the name or the token of another line.", "Each person has a line of their own.")
    return User(name, Role[role.upper()], token or new_token(), is_new=not has_token)
