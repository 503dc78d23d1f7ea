"""Posts a text to Slack, by a bot or a webhook. Nothing that it raises or logs has a secret in it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import requests

#: Of one attempt. Airflow gives all callbacks of a file 50 s.
TIMEOUT_S = 5.0
ATTEMPTS = 3
#: Before the second attempt; doubled before the third. What Slack asks for (429) goes before it, up to
#: `MAX_PAUSE_S`.
PAUSE_S = 1.0
MAX_PAUSE_S = 10.0

API_URL = "https://slack.com/api"


class SlackError(Exception):
    """Slack did not take the message: why, and what to do."""


@dataclass(frozen=True)
class Target:
    """Where to post, and the right to do so."""

    url: str
    token: str | None = field(default=None, repr=False)
    channel: str | None = None

    @classmethod
    def bot(cls, token: str, channel: str | None, api_url: str) -> Target:
        """Return the target of a bot token.

        :raises SlackError: there is no token or no channel
        """
        if not token or not channel:
            raise SlackError("a bot token needs a channel, and a channel a bot token: neither may be empty")
        return cls(f"{api_url.rstrip('/')}/chat.postMessage", token, channel)

    @classmethod
    def webhook(cls, url: str) -> Target:
        """Return the target of an incoming webhook."""
        return cls(url)


def post(target: Target, text: str) -> None:
    """Post a text, in up to three attempts.

    :raises SlackError: Slack does not take it
    """
    body = {"text": text} | ({"channel": target.channel, "unfurl_links": False} if target.token else {})
    headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}
    for attempt in range(1, ATTEMPTS + 1):
        pause_s = PAUSE_S * 2 ** (attempt - 1)
        try:
            reply = requests.post(
                target.url, json=body, headers=headers, timeout=TIMEOUT_S, allow_redirects=False
            )
        except requests.RequestException as error:
            # Its text has the address, which is a secret if it is a webhook's.
            refusal: str | None = f"no answer ({type(error).__name__})"
        else:
            refusal = _refusal(target, reply)
            if refusal is None:
                return
            if reply.status_code == 429:
                pause_s = _retry_after_s(reply, pause_s)
            elif reply.status_code < 500:
                break
        if attempt < ATTEMPTS:
            time.sleep(min(pause_s, MAX_PAUSE_S))
    raise SlackError(f"Slack did not take the message: {refusal}")


def _refusal(target: Target, reply: requests.Response) -> str | None:
    if reply.status_code != 200:
        return f"HTTP status {reply.status_code}"
    if target.token is None:
        return None
    try:
        answer = reply.json()
    except ValueError:
        return "the answer is not Slack's"
    return None if answer.get("ok") is True else str(answer.get("error", "no reason given"))[:100]


def _retry_after_s(reply: requests.Response, default_s: float) -> float:
    try:
        return max(0.0, float(reply.headers["Retry-After"]))
    except (KeyError, ValueError):
        return default_s
