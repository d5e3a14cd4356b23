"""A stored notice as an HTTP request: a webhook that is signed, or Slack's. Knows the formats; ``public_http`` sends.

Signatures follow Standard Webhooks (standardwebhooks.com): ``webhook-id``, ``webhook-timestamp`` and
``webhook-signature``, which is ``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``. Slack's format is that
of its incoming webhooks (api.slack.com/messaging/webhooks).
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rollout.models.notices import KEY_MARK


def webhook_request(
    *, delivery_id: str, event: str, rollout: str, at: datetime, message: Mapping[str, Any], secret: str, now: datetime
) -> tuple[bytes, dict[str, str]]:
    """Body and headers. ``delivery_id`` stays the same at each try, the timestamp is of this one."""
    document = {"id": delivery_id, "event": event, "rollout": rollout, "at": at.isoformat(), **message}
    body = json.dumps(document, ensure_ascii=False).encode()
    timestamp = str(int(now.timestamp()))
    return body, {
        "Content-Type": "application/json",
        "User-Agent": "Sluice",
        "webhook-id": delivery_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature(secret, delivery_id, timestamp, body),
    }


def signature(secret: str, delivery_id: str, timestamp: str, body: bytes) -> str:
    """``v1,…`` of one message; ``secret`` as the target has it, with its mark."""
    key = base64.b64decode(secret.removeprefix(KEY_MARK))
    digest = hmac.new(key, f"{delivery_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def slack_request(message: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Body and headers; Slack's three special characters are escaped, so that no text makes a link or calls anybody."""
    text = f"*{_escaped(message['subject'])}*\n{_escaped(message['text'])}"
    return json.dumps({"text": text}).encode(), {"Content-Type": "application/json", "User-Agent": "Sluice"}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
