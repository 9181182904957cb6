"""Addresses are shown without what could be a secret, wherever in them it stands."""

from __future__ import annotations

import base64
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_ad.masked_address import is_ambiguous, masked_address, masked_text

_KEYS = (
    *(
        "pass",
        "passwd",
        "password",
        "passwort",
        "Pw",
        "pwd",
        "userPwd",
        "token",
        "access_token",
        "auth",
        "key",
        "apikey",
    ),
    *(
        "api_key",
        "sig",
        "Signature",
        "session",
        "JSESSIONID",
        "credential",
        "SECRET",
        "X-Amz-Signature",
        "loginuse",
        "rs",
    ),
)
_FORMS = [
    "rtsp://user:{}@host:554/Streaming/Channels/101",
    "rtsp://user:{}@[fe80::1]:554/stream1",
    "rtsp://user:{}@host@elsewhere/live",
    "rtsp://{}@host/live",
    "rtsp://{}:x@host/live",
    "rtsp://host/user=admin_password={}_channel=1_stream=0.sdp?real_stream",
    "rtsp://host:554/user=admin&password={}&channel=1&stream=0.sdp",
    "rtsp://host/live/;pwd={}",
    "http://host/video#token={}",
    "http://host/video?x=1;pwd={}",
    "http://host/token/{}",
    "rtsp://host/user/admin/{}/live",
    "http://host/cgi-bin/api.cgi?cmd=Snap&channel=0&rs=abc&user=admin&password={}",
    "http://host/cam?pwd%3D{}",
    "http://host/cam?pwd%253D{}",
    "http://host/cam?channel=1&{}",
    "snapshot+http://user:{}@host/snap.jpg",
    "mqtts://user:{}@broker:8883/line-1",
    "http://user:{}@host/line.mp4",
    *(f"rtsp://host/live?user=admin&{key}={{}}&channel=1" for key in _KEYS),
]
# A mark that nothing else in an address holds, at both ends of whatever else a password may be.
_PASSWORDS = st.builds(
    "Zq{}qZ".format, st.text(string.ascii_letters + string.digits + "/@#?:;&=%._~+!$ \\äß", max_size=12)
)


@given(st.sampled_from(_FORMS), _PASSWORDS, st.sampled_from(["raw", "encoded", "twice", "base64"]))
def test_no_part_of_a_secret_is_shown_wherever_it_stands(form: str, secret: str, how: str) -> None:
    written = {
        "raw": secret,
        "encoded": quote(secret, safe=""),
        "twice": quote(quote(secret, safe=""), safe=""),
        "base64": base64.b64encode(f"admin:{secret}".encode()).decode(),
    }[how]
    address = form.format(written)
    shown = masked_address(address)
    for piece in (secret, written, "Zq", "qZ"):
        assert piece not in shown or piece in form, (address, shown)
    assert masked_address(shown) == shown
    said = masked_text(f"[tcp @ 0x5] Failed to open {address}: Invalid data in '{address.partition('//')[2]}'.")
    for piece in (secret, written, "Zq", "qZ"):
        assert piece not in said, (address, said)


@given(st.text(max_size=60))
def test_any_text_can_be_masked_and_masked_again(text: str) -> None:
    shown = masked_address(f"rtsp://{text}")
    assert masked_address(shown) == shown
    assert shown.startswith("rtsp://")


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://admin:hunter%2F22@host/live",
        "rtsp://admin:hunter/22@host/live",
        "http://host/a?pwd=hunter/22",
        "rtsp://host/a/user=admin&password=hunter%252F22",
    ],
)
def test_a_password_that_a_library_quotes_by_itself_is_hidden_too(address: str) -> None:
    masked_address(address)
    assert "hunter" not in masked_text("Port could not be read: 'hunter/22' (user admin).")


@given(st.from_regex("[a-z]{1,8}:[0-9]{1,4}[/?#][A-Za-z0-9/?#]{0,8}", fullmatch=True))
def test_a_password_whose_start_could_be_a_port_hides_the_host_too(login: str) -> None:
    assert masked_address(f"rtsp://{login}@host/live") == "rtsp://***"
    assert is_ambiguous(f"rtsp://{login}@host/live")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://host/stream", "rtsp://host/stream"),
        ("rtsp://user:secret@10.0.0.5:554/Streaming/Channels/101", "rtsp://10.0.0.5:554/Streaming/Channels/101"),
        ("rtsp://host:554/cam/realmonitor?channel=1&subtype=0", "rtsp://host:554/cam/realmonitor?channel=1&subtype=0"),
        ("rtsp://host/h264Preview_01_main", "rtsp://host/h264Preview_01_main"),
        ("http://host/axis-cgi/mjpg/video.cgi?resolution=640x480", "http://host/axis-cgi/mjpg/video.cgi?resolution=640x480"),
        ("http://[fe80::1%25eth0]:80/video", "http://[fe80::1%25eth0]:80/video"),
        ("http://kamera-süd.local/video", "http://kamera-süd.local/video"),
        ("rtsp://host/?user=admin&pwd=secret", "rtsp://host/?***"),
        ("rtsp://host/user=admin_password=secret_channel=1", "rtsp://host/***"),
        ("rtsp://user:pa/ss@host/live", "rtsp://host/live"),
        ("rtsp://user:pa@ss@host/live", "rtsp://host/live"),
        ("rtsp://user:p@a/ss@host/live", "rtsp://***"),
        ("rtsp://user:secret/live", "rtsp://***"),
        ("rtsps://nvr:7441/aBcDeFgHiJkLmNoP?enableSrtp", "rtsps://nvr:7441/***"),
        ("http://host/live/admin/12345/1.ts", "http://host/live/admin/***"),
        ("rtmp://host/live2/abcd-ef12-ghij-klmn", "rtmp://host/live2/***"),
        ("admin:secret@10.0.0.5/live", "10.0.0.5/live"),
        ("rtsp://host/live?*** #2", "rtsp://host/live?*** #2"),
        ("rtsp://host/live?pwd=secret #2", "rtsp://host/live?***#***"),
        ("http://host/cam?token=a&channel=2", "http://host/cam?channel=2&***"),
    ],
)  # fmt: skip
def test_what_tells_cameras_apart_stays(address: str, shown: str) -> None:
    assert masked_address(address) == shown


def test_a_sentence_keeps_its_words_around_an_address() -> None:
    text = "Cannot open (rtsp://a:b@host/live), see http://host/help."
    assert masked_text(text) == "Cannot open (rtsp://host/live), see http://host/help."
