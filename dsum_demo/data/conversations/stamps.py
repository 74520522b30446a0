"""Regular expressions for dates and times of chat messages, for text with single spaces and no invisible characters."""

from __future__ import annotations

import re

_MONTHS = (
    "jan(?:uary|uar|eiro|vier|v)?|jän(?:ner)?|ene(?:ro)?|gen(?:naio)?|feb(?:ruary|ruar|rero|braio)?|fev(?:ereiro)?|"
    "fév(?:rier|r)?|mar(?:ch|zo|ço|s)?|märz?|mrz|maart|apr(?:il|ile)?|abr(?:il)?|avr(?:il)?|may|mai|mayo|maio|maggio|"
    "mei|jun[ei]?|junio|junho|juin|giugno|jul[yi]?|julio|julho|juil(?:let)?|luglio|aug(?:ust|ustus)?|ago(?:sto)?|août|"
    "sep(?:tember|tiembre|tembre|t)?|set(?:iembre|embro|t)?|oct(?:ober|ubre|obre)?|okt(?:ober)?|out(?:ubro)?|"
    "ott(?:obre)?|nov(?:ember|iembre|embro|embre)?|dec(?:ember)?|dez(?:ember|embro)?|dic(?:iembre|embre)?|"
    "déc(?:embre)?"
)
_WEEKDAYS = (
    "mon(?:day|tag)?|tue(?:s|sday)?|wed(?:nesday)?|thu(?:rs|rsday|r)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?|"
    "dienstag|mittwoch|donnerstag|freitag|samstag|sonntag|mo|di|mi|do|fr|sa|so|"
    "lunes|martes|miércoles|jueves|viernes|sábado|domingo|segunda-feira|terça-feira|quarta-feira|quinta-feira|"
    "sexta-feira|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|lun|mar|mié|mer|jue|jeu|vie|ven|sáb|sam|dom|dim|"
    "seg|ter|qua|qui|sex"
)
_LONG_WEEKDAYS = (
    "mon(?:day)?|tue(?:sday)?|wed(?:nesday)?|thu(?:rsday)?|fri(?:day)?|saturday|sunday|montag|dienstag|mittwoch|"
    "donnerstag|freitag|samstag|sonntag|lunes|martes|miércoles|jueves|viernes|sábado|domingo|segunda-feira|"
    "terça-feira|quarta-feira|quinta-feira|sexta-feira|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche"
)
_RELATIVE = (
    "today|yesterday|heute|gestern|hoy|ayer|hoje|ontem|aujourd['’]hui|hier|oggi|ieri|vandaag|gisteren|"
    "今天|昨天|前天|今日|昨日|(?:星期|周|週)[一二三四五六日天]"
)
_DAY_PARTS = "上午|下午|凌晨|清晨|早上|中午|晚上|午前|午後|오전|오후"
_NUMERIC = r"\d{1,4}(?:\. ?|[/-])\d{1,2}(?:\. ?|[/-])\d{1,4}\.?"
_ASIAN_WEEKDAY = r"(?: ?\(?(?:[日月火水木金土월화수목금토일](?:曜日|요일|(?=\)))|星期.|周.)\)?)?"
_DATE = (
    rf"(?:(?:{_WEEKDAYS})\.?,? )?(?:{_NUMERIC}|\d{{4}}[年년] ?\d{{1,2}}[月월] ?\d{{1,2}}[日일]{_ASIAN_WEEKDAY}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|º|er)?\.?[ -](?:de )?(?:{_MONTHS})\b\.?(?:,?[ -](?:de )?\d{{4}}|-\d{{2}})?"
    rf"|(?:{_MONTHS})\.? \d{{1,2}}(?:st|nd|rd|th)?\b(?:,? \d{{4}})?)"
    rf"(?: ?\((?:{_WEEKDAYS})\))?|(?:{_RELATIVE})"
    rf"|(?:sat|sun)(?=,? (?:at )?\d{{1,2}}:)|(?:{_LONG_WEEKDAYS})(?=,? (?:at |um |à |a las )?\d)"
    rf"|\d{{1,2}}[./]\d{{1,2}}\.?(?=,? \d)"
)
_ENDING = rf"(?: ?(?:[ap]\.?m\b\.?|[ap]\. ?m\.|uhr\b|[مص]\b|{_DAY_PARTS}))?"
_ZONE = r"(?: ?(?:z|utc|gmt)\b(?:[+-]\d{1,2}(?::?\d{2})?)?|[+-]\d{2}:?\d{2}\b)?"
TIME = rf"(?:(?:{_DAY_PARTS}) ?)?\d{{1,3}}:\d{{2}}(?::\d{{2}})?(?:[.,]\d{{1,6}}(?!\d))?{_ENDING}{_ZONE}"
_DOTTED_TIME = rf"\d{{1,2}}[.h]\d{{2}}(?:[.]\d{{2}})?{_ENDING}"
_BETWEEN = r"(?!\d)(?:t|[,،、·•|]? ?(?:(?:um|at|à|a las|às|as|alle|kl\.?|om|le)\b )?(?:[-–—] )?)"
DATED = rf"(?:(?:{_DATE}){_BETWEEN}(?:{TIME}|{_DOTTED_TIME})|{TIME},? (?:(?:on|am|le|el) )?(?:{_DATE}))"
STAMP = rf"(?:{DATED}|{TIME})"

# How long ago, as programs show it: "5 min", "2 hours ago", "vor 3 Std.", "Yesterday".
_UNITS = (
    "s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|wks?|weeks?|mos?|months?|y|yrs?|years?|"
    "sek|sekunden?|minuten?|std|stunden?|t|tage?n?|wochen?|segundos?|minutos?|horas?|d[ií]as?|semanas?|"
    "secondes?|heures?|jours?|semaines?"
)
AGO = (
    rf"(?:\d{{1,3}} ?(?:{_UNITS})\b\.?|an? (?:few seconds|moment|minute|hour|day|week)) ago"
    rf"|(?:vor|hace|há|il y a) (?:\d{{1,3}}|einer|einem) ?(?:{_UNITS})\b\.?"
    "|\\d{1,3} ?(?:秒|分钟?|分鐘|小时|小時|時間|天|日|周|週間?)(?:前|以前)"
)
SHORT_AGO = rf"\d{{1,3}} ?(?:{_UNITS})\b\.?"
_NOW = "just now|now|gerade eben|jetzt|ahora|agora|à l['’]instant|maintenant|刚刚|刚才|剛剛|たった今"
RELATIVE = rf"(?:{AGO}|{SHORT_AGO}|{_NOW}|{_RELATIVE}|{_LONG_WEEKDAYS})"

only_ago = re.compile(AGO, re.I).fullmatch
only_relative = re.compile(rf"[\[(]?{RELATIVE}[\])]?", re.I).fullmatch
only_a_stamp = re.compile(rf"[\[(]?{STAMP}[\])]?", re.I).fullmatch
# A line between the messages of two days: a date with a year, or between dashes.
only_a_day = re.compile(
    rf"(?:[-–—=_ ]*(?=.*\d{{4}})(?:{_DATE})[-–—=_ ]*|[-–—=_]{{2,}} ?(?:{_DATE}) ?[-–—=_]{{2,}})", re.I
).fullmatch


def shape(stamp: str) -> str:
    """The stamp with numbers replaced by 0 and words by a; equal for all stamps of an export."""
    return re.sub(r"[^\W\d_]+\.?(?: ?[^\W\d_]+\.?)*", "a", re.sub(r"\d+", "0", stamp)).replace(" a", "").strip()
