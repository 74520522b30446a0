"""E-mail threads: replies with quoted messages, and messages with `From:` headers."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from dsum_demo.data.conversations.names import is_name_like, split_heads
from dsum_demo.data.conversations.turns import Parsed, Turn

UNNAMED = "Sender"
_WROTE = (
    r"\b(?:wrote|schrieb|a écrit|escribió|escreveu|ha scritto|schreef|skrev|kirjoitti|napsal|yazdı|пишет|писал)\b"
    r"|\bpisze/?|\bnapisał(?:\(a\)|a)?|\bнаписала?(?:\(а\))?"
)
_QUOTED = re.compile(r"(?:> ?)+")
_ATTRIBUTION = re.compile(
    rf"(?:on|am|le|el|em|il|op|den|w dniu|в) .{{6,160}}(?:{_WROTE}).{{0,80}}[:：]"
    rf"|.{{4,120}}(?:写道|寫道|のメール|님이 작성)[:：]|(?:\w{{2,4}}\.?, )?\d.{{8,60}}<[^<>\s]+@[^<>\s]+>[:：]",
    re.IGNORECASE,
)
_VERBS = re.compile(rf"{_WROTE}|写道|寫道", re.IGNORECASE)
_LAST_TIME = re.compile(r".*(?:\d{1,2}[:.h]\d{2}(?: ?[ap]\.?m\b\.?)?(?: ?[+-]\d{4})?|\d{4}|于)", re.IGNORECASE)
_FROM = re.compile(
    r"\*?(?:from|von|de|da|van|fra|från|od|от|发件人|寄件者|寄件人|差出人|보낸 사람)\*? ?[:：]\*? ?(.+)", re.IGNORECASE
)
_DATE = (
    r"sent|date|gesendet|datum|enviado(?: el| em)?|fecha|data|envoyé|inviato|verzonden|sendt|skickat|wysłano|отправлено"
    r"|дата|发送时间|寄件日期|送信日時|日時|보낸 날짜"
)
_TITLE = r"subject|betreff|asunto|assunto|objet|oggetto|onderwerp|emne|ämne|temat|тема|主题|主旨|件名|제목"
_TO = r"to|an|para|à|a|aan|til|till|do|кому|收件人|收件者|宛先|받는 사람"
_HEADER = re.compile(
    rf"\*?(?:from|cc|kopie|copia|kopi|bcc|reply-to|message-id|received|type|attachments?|importance|von|de|da|van|fra|från|"
    rf"od|от|发件人|寄件者|寄件人|差出人|抄送|{_DATE}|{_TO}|{_TITLE})\*? ?[:：]\*? ?(.*)",
    re.IGNORECASE,
)
_SUBJECT = re.compile(rf"\*?(?:{_TITLE})\*? ?[:：]\*? ?(.*)", re.IGNORECASE)
_RECIPIENT = re.compile(rf"\*?(?:{_TO})\*? ?[:：]\*? ?([^;]+)", re.IGNORECASE)
_RULE = re.compile(
    r"[-_= ]{3,}|-{2,} ?(?:original message|forwarded message|ursprüngliche nachricht|mensaje original|"
    r"mensagem original|message d'origine)[ -]*-{2,}|begin forwarded message:",
    re.IGNORECASE,
)
_FOOTER = re.compile(
    r"(?:sent|gesendet|enviado|envoyé) (?:from|von|desde|do|de) (?:my|mein|mi|meu|mon)\b.*|get outlook for.*", re.I
)
_REPLY = re.compile(r"(?:re|aw|antw|rv|res|sv|vs|odp|ynt|r|回复|答复|回覆|返信) ?[:：]", re.IGNORECASE)
_CLOSING = re.compile(
    r"(?:best|kind|warm|many)?,? ?(?:regards|wishes|thanks|thank you|cheers|best|yours|sincerely|love|"
    r"(?:viele|liebe|beste|mit freundlichen)? ?gr(?:ü(?:ß|ss)en?|uß|uss)|lg|vg|saludos|abrazos?|abraços?|"
    r"cordialement|bien à vous|cordiali saluti)[,.!]?",
    re.IGNORECASE,
)


@dataclass
class _Mail:
    author: str
    subject: str = ""
    recipient: str = ""
    lines: list[str] = field(default_factory=list)
    depth: int = 0


def read_thread(text: str) -> Parsed | None:
    """The mails of a thread as turns, oldest first, or None for another format.

    Quote marks, headers, attributions and signatures are removed. A mail without a known author gets `Sender`.
    """
    lines = _whole_attributions(text.split("\n"))
    bare = [_QUOTED.sub("", line, count=1) if line.startswith(">") else line for line in lines]
    headers = [at for at, line in enumerate(bare) if _FROM.fullmatch(line) and _has_headers(bare[at + 1 : at + 6])]
    attributions = [at for at, line in enumerate(bare) if _ATTRIBUTION.fullmatch(line)]
    if not attributions and not headers:
        return None
    filled = [line for line in lines if line]
    if bare == lines and not headers and 2 * sum(map(bool, split_heads(filled))) >= len(filled):
        return None  # a dialogue that quotes a letter
    dropped: Counter[str] = Counter()
    mails = _split(lines, bare, set(headers), set(attributions), dropped)
    written = [mail for mail in mails if mail.lines]
    if len(written) < 2:
        return None
    if _newest_first(written, bool(attributions)):
        written.reverse()
    top, below = (written[-1], written[-2]) if mails[0] is written[-1] else (written[0], written[1])
    if not top.author and not attributions:
        top.author = below.recipient  # the answer above the headers is by the recipient of that mail
    authors = [mail.author for mail in written if mail.author]
    turns = []
    for mail in written:
        signed = _sign_off(mail)
        dropped["signatures"] += bool(signed)
        # A mail signed by Dana belongs to Dana Wolff, the author of another mail.
        full = next((author for author in authors if signed and author.startswith(signed)), signed)
        turns.append(Turn(mail.author or full or UNNAMED, " ".join(mail.lines)))
    return Parsed("e-mail thread", [turn for turn in turns if turn.text], dropped)


def _has_headers(lines: list[str]) -> bool:
    return any(_HEADER.fullmatch(line) for line in lines[:2]) and any(
        _SUBJECT.fullmatch(line) or re.match(rf"(?:{_DATE}|{_TO}) ?[:：]", line, re.I) for line in lines
    )


def _whole_attributions(lines: list[str]) -> list[str]:
    """Join attributions that a mail program wrapped over two lines."""
    joined: list[str] = []
    for line in lines:
        if (
            joined
            and re.match(r"(?:> ?)*(?:On|Am|Le|El|Em|Il|Op|Den|W dniu) ", joined[-1])
            and not _ATTRIBUTION.search(joined[-1])
        ):
            whole = f"{joined[-1]} {_QUOTED.sub('', line, count=1)}"
            if _ATTRIBUTION.fullmatch(_QUOTED.sub("", whole, count=1) if whole.startswith(">") else whole):
                joined[-1] = whole
                continue
        joined.append(line)
    return joined


def _split(
    lines: list[str], bare: list[str], headers: set[int], attributions: set[int], dropped: Counter[str]
) -> list[_Mail]:
    authors: dict[int, str] = {0: ""}
    mails = [_Mail("")]
    in_headers = signature = False
    for at, line in enumerate(lines):
        depth = _depth(line, bare[at])
        content = bare[at]
        if at in attributions:
            following = next((i for i in range(at + 1, len(lines)) if bare[i]), at)
            level = max(depth, _depth(lines[following], bare[following]))  # Apple Mail quotes its attribution too
            authors[level] = _author(content)
            mails.append(_Mail(authors[level], depth=level))
            signature = False
            dropped["attributions"] += 1
        elif at in headers:
            match = _FROM.fullmatch(content)
            authors[depth] = _address_name(match[1]) if match else ""
            mails.append(_Mail(authors[depth], depth=depth))
            in_headers, signature = True, False
            dropped["headers"] += 1
        elif in_headers and content and (header := _HEADER.fullmatch(content)):
            if (recipient := _RECIPIENT.fullmatch(content)) and not mails[-1].recipient:
                mails[-1].recipient = _address_name(recipient[1])
            subject = _SUBJECT.fullmatch(content)
            mails[-1].subject = subject[1] if subject else mails[-1].subject
            dropped["headers"] += bool(header)
        elif _RULE.fullmatch(content) or content == "--":
            in_headers, signature = False, content == "--"
        elif _FOOTER.fullmatch(content):
            dropped["signatures"] += 1
        elif content:
            in_headers = False
            if depth != mails[-1].depth:
                mails.append(_Mail(authors.get(depth, ""), depth=depth))
                signature = False
            if signature:
                dropped["signatures"] += 1
            else:
                mails[-1].lines.append(content)
        else:
            in_headers = False
    return mails


def _depth(line: str, bare: str) -> int:
    return line[: len(line) - len(bare)].count(">")


def _author(attribution: str) -> str:
    name = re.sub(r"[:：]$", "", attribution)
    name = re.sub(r" {2,}", " ", _VERBS.sub(" ", name))
    after = re.sub(r"^[ ,·]*(?:uhr|um)?[ ,]*", "", _LAST_TIME.sub("", name), flags=re.IGNORECASE)
    before = re.match(r"[^\d<>]{1,60}<[^<>\s]+@[^<>\s]+>", name)
    return _address_name(after or (before[0] if before else ""))


def _address_name(sender: str) -> str:
    """ "Nora Lind" of `"Lind, Nora" <nora@example.org>`, or the part before the @ without a name."""
    sender = re.sub(r"\[mailto:[^\]]*\]", "", sender)
    name = re.sub(r"\(?[<(\[][^<>()\[\]]*[@+][^<>()\[\]]*[>)\]]\)?", "", sender).strip(" \"'*,")
    if not name:
        found = re.search(r"([^\s<>@]+)@", sender)
        return found[1] if found else ""
    if "@" in name:
        return name.split("@")[0]
    last, comma, first = name.partition(", ")
    return f"{first} {last}" if comma and first and "," not in first else name


def _newest_first(mails: list[_Mail], quoting: bool) -> bool:
    if quoting:
        return mails[0].depth < mails[-1].depth or all(mail.depth == mails[0].depth for mail in mails)
    if not mails[0].author and not mails[0].subject:
        return True  # a text above the headers of another mail answers it
    return bool(_REPLY.match(mails[0].subject)) and not _REPLY.match(mails[-1].subject)


def _sign_off(mail: _Mail) -> str:
    """Remove a closing such as "Best regards," and the name below it; return the name, "" without one."""
    *body, last = mail.lines
    last = last.lstrip("—–- ")
    closed = bool(body and _CLOSING.fullmatch(body[-1]))
    if not is_name_like(last) or not body or not (closed or (mail.author and mail.author.startswith(last))):
        return ""
    mail.lines = body[:-1] if closed else body
    return last
