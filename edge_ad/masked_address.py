"""Masks addresses of cameras, brokers and servers, so that they show nothing that could be a password.

This is an allow list: a part of an address that is not known to be harmless is left out, because cameras put logins
into user info, path and query in more ways than a deny list could hold.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from urllib.parse import unquote

__all__ = ["ENCODE_LOGIN", "MASK", "is_ambiguous", "masked_address", "masked_text"]

MASK = "***"
ENCODE_LOGIN = "Write %40 for @, and in user and password %2F for /, %3F for ? and %23 for #."

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}")
_HOST = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]{2,45}(?:%[\w.-]{1,40})?\])(?::[0-9]{1,5})?")
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]{1,40}")
# A word beside which a secret stands: /token/abc, /user/admin/secret.
_TELLING = re.compile(
    r"pass|pwd|pw$|token|auth|key|sig|session|cred|secret|user|usr|login|account|admin|root", re.IGNORECASE
)
# Whose value in a query or path is remembered by itself, as a library may quote it.
_SECRET_KEY = "(?:pass|pwd|pw|token|auth|key|sig|session|cred|secret)"
_SECRET_VALUE = re.compile(_SECRET_KEY + r"[\w.-]{0,20}[=:]([^&;/?#]+)", re.IGNORECASE)
# Longer than camera makers' own words: keys of streams; in groups, as servers for RTMP give them.
_RANDOM = re.compile(
    r"(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{14,}|(?=[A-Z]*[a-z])(?=[a-z]*[A-Z])[A-Za-z0-9]{16,}"
    r"|(?=.*[0-9])(?:[A-Za-z0-9]{3,}[-_.]){3,}[A-Za-z0-9]{3,}"
)
# What says which picture of a camera is meant; a value is a number or one of a few words, and so no secret.
_PICTURE_KEYS = frozenset(
    {"cam", "camera", "ch", "channel", "channelno", "chn", "compression", "fps", "framerate", "height", "id", "index"}
    | {"profile", "quality", "rate", "res", "resolution", "size", "stream", "streamtype", "subtype", "unicast", "video"}
    | {"videocodec", "width", "x", "y"}
)
_PICTURE_VALUE = re.compile(
    r"[0-9]{1,3}|[0-9]{2,4}x[0-9]{2,4}|main|sub|h26[45]|mjpe?g|jpe?g|high|low|medium|tcp|udp", re.IGNORECASE
)
_NUMBERED = re.compile(r"(\S+) #[0-9]{1,3}")  # what two masked addresses are told apart by
_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>`]+")
_CLOSING = ".,;:!?)]}"  # of the sentence around an address

_LEAST_SECRET = 6  # characters: a shorter one would be found in numbers and words of every other message
_MOST_KNOWN = 1000
_known: deque[str] = deque(maxlen=_MOST_KNOWN)
_known_lock = threading.Lock()


def masked_address(address: str) -> str:
    """An address without login, and without what in its path, query or fragment could be a secret.

    Shown are the scheme, host and port, plain words of the path up to the first that could be more than that, and
    settings of the query that choose a picture, such as ``channel=1``. ``***`` stands for the rest. Where a password
    with an unencoded ``/``, ``?``, ``#`` or ``@`` leaves open where the host begins, it is not shown either. What was
    hidden is remembered for `masked_text`.

    Args:
        address: ``scheme://…``; anything else is taken for an address whose scheme was forgotten.

    Returns:
        The address to show; applied to that, the same again.
    """
    numbered = _NUMBERED.fullmatch(address)
    if numbered is not None and masked_address(numbered[1]) == numbered[1]:
        return address
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "", address
    prefix = f"{scheme}{separator}" if _SCHEME.fullmatch(scheme) else ""
    host, tail = _host_and_tail(rest)
    shown = prefix + (MASK if host is None else host + _shown_tail(tail))
    if rest and shown != address:
        _remember(address, rest, host, tail)
    return shown


def is_ambiguous(address: str) -> bool:
    """Whether it may be read with another host: ``user:12/34@host`` is host ``user``, or a password with a slash."""
    return "@" in _split(address.partition("://")[2])[1]


def masked_text(text: str) -> str:
    """A message with every address in it masked, and what `masked_address` hid before.

    For words of libraries, which quote an address, or a part of it, as they got it.
    """
    with _known_lock:
        known = sorted(_known, key=len, reverse=True)
    for secret in known:
        text = text.replace(secret, MASK)
    return _IN_TEXT.sub(_masked_match, text)


def _host_and_tail(rest: str) -> tuple[str | None, str]:
    """Host with port, None when it is not sure which part is it; and what follows."""
    authority, tail = _split(rest)
    host = authority.rpartition("@")[2]
    if "@" not in tail:
        return (host, tail) if _HOST.fullmatch(host) else (None, tail)
    # A password with an unencoded / ? or #, or an address that has an @ later on. Only where the first part is no host
    # with its port, as in user:pa/ss@host, and one @ is left, is it sure.
    if _HOST.fullmatch(host) or tail.count("@") > 1:
        return None, tail
    host, tail = _split(tail.rpartition("@")[2])
    return (host, tail) if _HOST.fullmatch(host) else (None, tail)


def _split(rest: str) -> tuple[str, str]:
    authority = re.split(r"[/?#\\;]", rest, maxsplit=1)[0]
    return authority, rest[len(authority) :]


def _shown_tail(tail: str) -> str:
    before, hash_sign, _ = tail.partition("#")
    path, question, query = before.partition("?")
    shown, is_whole = _shown_path(path)
    if not is_whole:
        return shown
    return shown + (f"?{_shown_query(query)}" if question and query else "") + (f"#{MASK}" if hash_sign else "")


def _shown_path(path: str) -> tuple[str, bool]:
    """Its segments up to the first that could hold a secret, and whether that was all."""
    if path and not path.startswith("/"):
        return f"/{MASK}", False
    shown: list[str] = []
    segments = path.split("/")
    for number, segment in enumerate(segments, 1):
        if segment and (not _SEGMENT.fullmatch(segment) or _RANDOM.search(segment)):
            return "/".join([*shown, MASK]), False
        shown.append(segment)
        if _TELLING.search(segment) and number < len(segments):
            return "/".join([*shown, MASK]), False
    return "/".join(shown), True


def _shown_query(query: str) -> str:
    """The settings that choose a picture; one mask for all others."""
    shown, hides = [], False
    for setting in query.split("&"):
        key, _, value = setting.partition("=")
        if key.lower() in _PICTURE_KEYS and _PICTURE_VALUE.fullmatch(value):
            shown.append(setting)
        else:
            hides = True
    return "&".join([*shown, MASK] if hides else shown)


def _remember(address: str, rest: str, host: str | None, tail: str) -> None:
    """What was hidden, whole and in the parts that a library may quote."""
    before_host = rest if host is None else rest.rpartition(f"@{host}{tail}")[0]
    login = before_host.partition(":")[2]
    words = [] if host is None else _hidden_words(tail)
    parts = [address, rest, before_host, login, login.partition("@")[0], *_SECRET_VALUE.findall(tail), *words]
    hidden = {form for part in parts for form in (part, unquote(part), unquote(unquote(part)))}
    with _known_lock:
        for form in hidden:
            if len(form) >= _LEAST_SECRET and form not in _known and not _PICTURE_VALUE.fullmatch(form):
                _known.append(form)


def _hidden_words(tail: str) -> list[str]:
    """What the shown tail leaves out, in one piece each for path, query and fragment."""
    before, _, fragment = tail.partition("#")
    path, _, query = before.partition("?")
    shown, is_whole = _shown_path(path)
    hidden_path = "" if is_whole else path[len(shown) - len(MASK) :]
    return [hidden_path, fragment, "" if _shown_query(query) == query else query]


def _masked_match(match: re.Match[str]) -> str:
    address = match[0].rstrip(_CLOSING)
    return _without_memory(address) + match[0][len(address) :]


def _without_memory(address: str) -> str:
    """As `masked_address`; an address in somebody's text is not remembered."""
    scheme, _, rest = address.partition("://")
    host, tail = _host_and_tail(rest)
    return f"{scheme}://" + (MASK if host is None else host + _shown_tail(tail))
