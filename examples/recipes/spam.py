"""SpamAssassin's public mails: spam or not, from subject and body (classify); what is quoted in a mail, and what is
answered (summarize).

    python examples/recipes/spam.py FOLDER OUT

FOLDER has a folder a group (easy-ham-1, hard-ham-1, spam-1 …), with a JSON file a mail: {"group", "text", …}. Of the
head only the subject is kept: the other lines tell what came by which way, not what it says.
"""

import email
import json
import re
import sys
from collections.abc import Iterator
from email.message import Message
from email.policy import default
from pathlib import Path

from written import Row, written

WORDS = 200


def rows(folder: Path) -> Iterator[Row]:
    """A mail that came several times is one."""
    seen = set()
    for path in sorted(folder.glob("*am-*/*.json")):
        held = json.loads(path.read_text(encoding="utf-8"))
        text = said(email.message_from_string(held["text"], policy=default))
        if text and text not in seen:
            seen.add(text)
            yield "mails", text, {"text": text, "label": "spam" if held["group"].startswith("spam") else "ham"}
            yield from (("replies", text, row) for row in answered(held["text"]))


def said(mail: Message) -> str:
    """Subject and body, without markup, at most WORDS words of it."""
    try:
        subject = str(mail["subject"] or "")
    except Exception:  # a head that no standard allows
        subject = ""
    body = ""
    for part in mail.walk():
        if part.get_content_type() in ("text/plain", "text/html") and not body.strip():
            content = part.get_payload()
            if "base64" not in str(part.get("content-transfer-encoding", "")).lower():
                body = re.sub(r"(?s)<(style|script).*?</\1>|<[^>]*>|&\w+;|=\n", " ", str(content))
    return " ".join(f"{subject} {body}".split()[:WORDS])


def answered(mail: str) -> Iterator[dict]:
    """Each block of quoted lines (> …), and the paragraph right behind it."""
    for quoted, reply in re.findall(r"((?:^>.*\n)+)\s*((?:^[^>\s].*\n)+)", mail, re.MULTILINE):
        parts = [" ".join(re.sub(r"(?m)^[> ]+", "", part).split()[:WORDS]) for part in (quoted, reply)]
        if all(len(part.split()) > 3 for part in parts):
            yield {"source": parts[0], "target": parts[1]}


if __name__ == "__main__":
    written(sys.argv[2], rows(Path(sys.argv[1])))
