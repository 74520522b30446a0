"""The table of chat formats: patterns of the line that begins a message, and of notices and reactions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dsum_demo.data.conversations.stamps import AGO, DATED, RELATIVE, STAMP, TIME

# Around the name in a line that had tabs, and before a time such as "Yesterday" that was on a separate line; private
# characters, which texts do not contain.
NICK_MARK = "\ue000"
TIME_MARK = "\ue001"
_LINE_NAME = r"(?P<who>[^:：\n]{1,60}?)"
_HEAD_NAME = r"(?P<who>[^:：\n\[\]<>|]{1,60}?)"
_BADGE = r"(?: ?:[a-z0-9_+-]{1,40}:){0,2}(?: ?\[?\b(?:APP|BOT)\b\]?)?"
_SPOKE = "said"
_QUOTED_NAME = r"[^:：\n]{1,60}"
_COLON = r" ?[:：] ?"
_AFTER_STAMP = r"[ ,;:|–—-]{0,4}"


@dataclass(frozen=True)
class Format:
    """A chat format.

    heads: patterns of a message's first line, with the groups `who`, `stamp`, and `text` if the message starts on the
    same line. notice: pattern of a line written by the program. least: the minimum share of lines that are heads.
    whole: whether the head is a separate line. clear: whether the head cannot be a sentence, so that any short name is
    one. recurs: whether a speaker must recur, and most heads be followed by a message. titles: more specific titles by
    pattern of the first head.
    """

    title: str
    heads: tuple[re.Pattern[str], ...]
    notice: re.Pattern[str] | None = None
    least: float = 0.1
    whole: bool = False
    clear: bool = False
    recurs: bool = False
    titles: tuple[tuple[str, re.Pattern[str]], ...] = ()

    def titled(self, head: str) -> str:
        return next((title for title, looks in self.titles if looks.search(head)), self.title)


def _all(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern, re.IGNORECASE | re.DOTALL) for pattern in patterns)


def _one(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


FORMATS = (
    Format(
        "Zoom chat",
        _all(
            rf"(?P<stamp>{STAMP}) (?:from|von|de|da|van) (?P<who>[^:\n]{{1,60}}?)"
            rf"(?: (?:to|an|(?-i:a)|à|para|aan) [^:\n]{{1,60}})?{_COLON}(?P<text>.*)"
        ),
    ),
    Format(
        "IRC log",
        _all(
            rf"(?P<stamp>(?:\[?{STAMP}\]? )?)<[ @+%&~!]?(?P<who>[^\s<>:/][^<>:/]{{0,30}})> ?(?P<text>.*)",
            rf"(?P<stamp>\[?{STAMP}\]? )\* (?P<who>[^\s:*]{{1,30}}) (?P<text>.*)",
            rf"(?P<stamp>{STAMP}) \|? ?(?P<who>[^\s:|]{{1,30}}) \| (?P<text>.*)",
        ),
        _one(
            rf"(?:\[?{STAMP}\]? )?\|? ?(?:-!-|\*{{3,4}}|<--|-->|[←→]|--|==) .*|--- (?:log|day) .*"
            rf"|(?:\[?{STAMP}\]? )?\* \S+ (?:\(.*\) )?(?:has )?(?:joined|left|quit|sets mode).*"
        ),
        least=0.4,
    ),
    Format(
        "log with tabs",
        _all(rf"(?P<stamp>\[?{STAMP}\]?) {NICK_MARK}[@+%&~!]?(?P<who>[^:{NICK_MARK}]{{1,40}}){NICK_MARK} (?P<text>.*)"),
        _one(rf"\[?{STAMP}\]? -!- .*"),
    ),
    Format(
        "chat export",
        _all(rf"(?P<stamp>\[?{DATED}\]?{_AFTER_STAMP}){_LINE_NAME}{_COLON}(?P<text>.*)"),
        _one(rf"(?P<stamp>\[?{DATED}\]?{_AFTER_STAMP}).*"),
        titles=(("WhatsApp export", _one(rf"^(?:\[(?=[^\]]*[,،]){DATED}\] |{DATED} [-–—] )")),),
    ),
    Format(
        "chat with times",
        _all(rf"(?P<stamp>(?:\[{TIME}\]|{TIME}){_AFTER_STAMP}){_LINE_NAME}{_COLON}(?P<text>.*)"),
        least=0.25,
    ),
    Format(
        "Telegram copy",
        _all(rf"{_HEAD_NAME},? (?P<stamp>\[{DATED}\]):?"),
        whole=True,
        clear=True,
    ),
    Format(
        "Discord copy",
        _all(rf"{_HEAD_NAME}{_BADGE} ?(?P<stamp>[—–] ?{STAMP})(?: ?\(edited\))?"),
        _one(
            r"image|bild|imagen|imagem|immagine|afbeelding|attachment|anhang|archivo adjunto|anexo|pièce jointe"
            r"|allegato|(?:image|video|audio|unknown) (?:attachment|file)|attachment file type: .*|add reaction"
            r"|click to react"
        ),
        whole=True,
        clear=True,
    ),
    Format(
        "Rev transcript",
        _all(rf"{_HEAD_NAME}{_BADGE}(?: ?[:：])? ?(?P<stamp>[(\[]{TIME}[)\]]) ?(?:{_COLON}(?P<text>.*)|$)"),
        whole=True,
        titles=(("Slack copy", _one(r"\[.*\b[ap]\.?m\.?\]")),),
    ),
    Format(
        "QQ or WeChat copy",
        _all(
            rf"(?P<stamp>{DATED}) {_HEAD_NAME} ?(?:\(\d{{4,12}}\)|<[^<>\s]+@[^<>\s]+>)?",
            rf"{_HEAD_NAME} ?\(\d{{4,12}}\) (?P<stamp>{STAMP})",
        ),
        whole=True,
        clear=True,
    ),
    Format(
        "Teams copy",
        _all(rf"(?P<stamp>\[{STAMP}\]) {_HEAD_NAME}"),
        whole=True,
        clear=True,
        titles=(
            ("Discord export", _one(r"^\[\d{1,2}-[a-z]{3}-\d{2} ")),
            ("iMessage export", _one(r"^\[.*\d:\d\d:\d\d")),
        ),
    ),
    Format(
        "Zoom transcript",
        _all(rf"\[{_HEAD_NAME}\] (?P<stamp>{STAMP})"),
        whole=True,
        clear=True,
    ),
    Format(
        "mails with addresses",
        _all(rf"{_HEAD_NAME} <[^<>\s]+@[^<>\s]+> (?P<stamp>{DATED})"),
        _one(r"(?:to|cc|bcc|reply-to): .*"),
        whole=True,
        clear=True,
        least=0.05,
    ),
    Format(
        "KakaoTalk export",
        _all(rf"\[{_HEAD_NAME}\] (?P<stamp>\[{TIME}\]) (?P<text>.*)"),
    ),
    Format(
        "copy from Messenger or ChatGPT",
        _all(rf"{_HEAD_NAME} (?:sent|{_SPOKE} ?[:：]|replied to (?:you|yourself|themself|themselves|{_QUOTED_NAME}))"),
        _one(r"original message ?:|(?-i:Enter)|seen(?: by .{1,80})?|(?:you )?(?:unsent|forwarded) a message"),
        whole=True,
        clear=True,
        least=0.15,
    ),
    Format(
        "transcript with times",
        _all(
            rf"{_HEAD_NAME}{_BADGE},? (?P<stamp>{STAMP}|\[{TIME}\]|{TIME_MARK}(?:{STAMP}|{RELATIVE}))",
        ),
        whole=True,
        titles=(
            ("copy with times", _one(TIME_MARK)),
            ("Otter or Teams transcript", _one(r" (?:0?0:)?0?[0-4]:\d{2}$")),
            ("Slack or Teams copy", _one(r".")),
        ),
    ),
    Format(
        "copy with times",
        _all(
            rf"{_HEAD_NAME}(?:,| ?[·•]|(?= (?:{AGO}))) (?P<stamp>{STAMP}|{RELATIVE})(?:,? \(?edited\)?)?",
            rf"(?P<stamp>{TIME})(?: ?[-–—|])? {_HEAD_NAME}",
        ),
        whole=True,
        clear=True,
        recurs=True,
    ),
    Format(
        "script",
        _all(
            rf"{_HEAD_NAME} [-–—] (?P<text>.*)",
            r"(?P<who>(?-i:[A-ZÀ-Þ][A-ZÀ-Þ .'’-]{1,30}))[.] (?P<text>.*)",
            rf"\[{_HEAD_NAME}\] (?P<text>.*)",
        ),
        recurs=True,
        least=0.7,
    ),
    Format(
        "copy with names above the messages",
        _all(rf"{_HEAD_NAME} ?[:：]"),
        whole=True,
        least=0.2,
    ),
    Format(
        "interview",
        _all(
            r"(?:\*\*|__)?(?P<who>q|a|question|answer|frage|antwort|pregunta|respuesta|pergunta|resposta|réponse)"
            r" ?\d{0,3} ?[.:：)](?:\*\*|__)?(?: |$)(?P<text>.*?)(?:\*\*|__)?"
        ),
    ),
    Format(
        "Markdown with bold names",
        _all(
            r"(?:[-*>] )?(?:\*\*|__)(?P<who>[^:：*_\n]{1,60}?)(?:[:：] ?(?:\*\*|__)|(?:\*\*|__) ?[:：]) ?(?P<text>.*)",
            r"\*\*(?P<who>[^:：*_\n]{1,60}?)[:：] (?P<text>[^*\n]*)\*\*",
        ),
    ),
)

# Texts that programs insert as messages. WhatsApp puts them in angle brackets in every language.
_NOTICES = (
    r"<[^<>]{3,80}>",
    r"(?:image|video|audio|sticker|gif|document|contact card|media|photo|voice message|poll) (?:omitted|not included)",
    r"(?:bild|video|audio|sticker|gif|dokument|medien) (?:weggelassen|ausgeschlossen)",
    r"(?:imagen|video|audio|sticker|gif|documento) omitid[ao]",
    r"(?:imagem|vídeo|áudio|figurinha|gif|documento) (?:ocultad[ao]|omitid[ao])",
    r"(?:immagine|video|audio|sticker|gif|documento) omess[ao]|(?:afbeelding|video|audio|sticker|gif) weggelaten",
    r"(?:изображение|видео|аудио|стикер|документ|gif) (?:отсутствует|опущен[оа]?|пропущен[оа]?)",
    r"(?:图像|图片|圖片|视频|影片|音频|語音訊息|贴图|貼圖|文件|文档|gif)已?(?:忽略|略過|省略)|忽略(?:图像|图片|视频|文件)",
    r"(?:image|vidéo|audio|sticker|gif|document) (?:absente?|omise?)",
    r"(?:this|you deleted this|you unsent this) message(?: was deleted| was unsent)?(?: by .{1,40})?\.?"
    r"|message deleted\.?|deleted message\.?|this message has been deleted\.?|\[?deleted\]?|null",
    r"(?:diese nachricht wurde|du hast diese nachricht) gelöscht\.?",
    r"(?:se eliminó|eliminaste|este mensaje fue eliminado).{0,20}",
    r"(?:mensagem apagada|esta mensagem foi apagada|você apagou esta mensagem).{0,20}",
    r"ce message a été supprimé\.?|vous avez supprimé ce message\.?",
    r"questo messaggio è stato eliminato\.?|hai eliminato questo messaggio\.?",
    r"dit bericht (?:is|werd) verwijderd\.?|je hebt dit bericht verwijderd\.?",
    r"ta wiadomość została usunięta\.?|usunięto tę wiadomość\.?|bu mesaj silindi\.?|bu mesajı sildiniz\.?",
    r"(?:данное |это )?сообщение удалено\.?|вы удалили (?:данное|это) сообщение\.?",
    r"pesan ini telah dihapus\.?|anda telah menghapus pesan ini\.?|تم حذف هذه الرسالة\.?|הודעה זו נמחקה\.?",
    r".{0,30}撤回了?(?:一条|一則|了)?(?:消息|訊息)"
    r"|(?:此|该|這則|这条)(?:消息|訊息)已(?:被)?(?:删除|刪除|撤回)。?|[你您]已?(?:删除|刪除)了?(?:此|这条|這則)(?:消息|訊息)。?",
    r"このメッセージは削除されました。?|(?:이 메시지는 삭제되었습니다|삭제된 메시지입니다)\.?",
    r"missed (?:voice|video|group)? ?(?:voice|video)? ?call.{0,30}|verpasster (?:sprach|video)anruf.{0,30}"
    r"|llamada (?:perdida|de voz perdida).{0,30}|chamada (?:de voz|de vídeo) perdida.{0,30}",
    r"appel (?:vocal|vidéo)? ?manqué.{0,30}",
    r"\S{1,120}\.(?:jpe?g|png|gif|webp|mp4|mov|opus|ogg|mp3|m4a|pdf|vcf|docx?|xlsx?) \([^()]{4,40}\)",
    r"\[ ?(?:photo|video|sticker|voice message|audio|file|gif|album|location|contact|poll|фотография|стикер|видео|"
    r"图片|表情|文件|语音|视频|사진|동영상|이모티콘|スタンプ|写真|動画|貼圖|圖片)(?: [^\w\s\[\]]{1,8})? ?\]",
    r"\[(?:forwarded from|in reply to|reply to|weitergeleitet von|reenviado de|encaminhado de|"
    r"transféré de) [^\[\]]{1,80}\]",
    r"transcribed by https?://\S+.*|replying to [\"“].*[\"”]:?|joined #\S+\.?"
    r"|replied to a thread:.*|was added to #\S+ by .{1,60}"
    r"|set the channel (?:topic|purpose|description).*"
    r"|.{1,60} sent the following messages? at .{1,20}|view .{1,60}['’]s? profile",
)
# Users may write these too, so they are removed only below other text.
_EVENTS = (
    r".{0,40}end-to-end encrypt.*|.*ende-zu-ende.verschlüssel.*|.*cifrad[ao]s? de extremo a extremo.*"
    r"|.*criptografi.{0,20}de ponta a ponta.*|.*chiffré.{0,10}de bout en bout.*|.*端到端加密.*",
    r".{1,60} (?:started|stopped) (?:the )?(?:transcription|recording)\.?",
    r".{1,60} (?:joined|left) (?:the )?(?:group|channel|meeting|chat|call)\.?",
)
_DIVIDER = "NEW|NEU|NUEVOS?|NOVO|NOVAS|NOUVEAUX?|NUOV[OI]|NIEUW|NOWE|НОВОЕ|НОВЫЕ"  # above unread messages
_REACTIONS = (
    r"(?:reacted to|removed a .{1,20} reaction from) [\"“].*",
    r"(?:liked|loved|disliked|emphasized|questioned|laughed at) [\"“].*[\"”]",
    r"(?:(?::[a-z0-9_+'-]{1,40}:|[^\w\s\d.,;:!?()'\"…/-]{1,8}) ?\d{1,4} ?)+",
    r"\d{1,4} (?:replies|reply|reactions?|files?|(?:like|heart|laugh|sad|angry|surprised) reactions?\.?)",
    r"(?:like|heart|laugh) \d{1,3}",
    r"view thread|last reply .{1,40}|also sent to the channel|\(?edited\)?|view newer replies|new",
    rf"(?-i:{_DIVIDER})",
)
is_notice = re.compile("|".join(_NOTICES), re.IGNORECASE).fullmatch
is_event = re.compile("|".join(_EVENTS), re.IGNORECASE).fullmatch
is_reaction = re.compile("|".join(_REACTIONS), re.IGNORECASE).fullmatch
is_quoting_reaction = re.compile("|".join(_REACTIONS[:2]), re.IGNORECASE).fullmatch
is_divider = re.compile(_DIVIDER).fullmatch
is_emoji = re.compile(r":[a-z0-9_+'-]{1,40}:|[^\w\s.,;:!?()'\"…/–—-]{1,8}", re.IGNORECASE).fullmatch
EDITED = re.compile(
    r" ?(?:\((?:edited|bearbeitet|editado|editada|modifié)\)"
    r"|<(?:this message was edited|diese nachricht wurde bearbeitet|se editó este mensaje|mensagem editada)>)$",
    re.IGNORECASE,
)
