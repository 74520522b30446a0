"""Reviews in one SQLite file that several processes may use at the same time. A verdict is on disk when its call
returns, also if the process is killed or the power fails immediately after it.
"""

from __future__ import annotations

import json
import math
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dsum_demo import __version__
from dsum_demo.errors import InputError, StorageError
from dsum_demo.evaluation.records import SystemInfo
from dsum_demo.review.assignment import Asked, displayed, next_item, remaining
from dsum_demo.review.records import (
    LABELS,
    LONGEST_COMMENT,
    Card,
    ErrorSpan,
    Review,
    ReviewDraft,
    ReviewItem,
    ReviewProgress,
    ReviewSettings,
    ReviewTask,
    ReviewText,
    Verdict,
    check_name,
    check_spans,
)
from dsum_demo.utils.files import locked
from dsum_demo.utils.ownership import digest

BUSY_SECONDS = 30.0
ABANDONED_SECONDS = 1_800.0  # an item that is shown for longer without a verdict can be asked of others
LONGEST_SECONDS = 86_400.0

# Each entry raises the file's user_version by one; entries never change, new ones are appended.
MIGRATIONS = (
    """
    CREATE TABLE reviews (
        id TEXT PRIMARY KEY, token TEXT NOT NULL UNIQUE, name TEXT NOT NULL, source TEXT NOT NULL,
        systems TEXT NOT NULL, decode TEXT NOT NULL, settings TEXT NOT NULL, identical INTEGER NOT NULL,
        without_dialogue INTEGER NOT NULL, simulated INTEGER NOT NULL, owner TEXT NOT NULL, created TEXT NOT NULL,
        version TEXT NOT NULL
    );
    CREATE TABLE items (
        review TEXT NOT NULL REFERENCES reviews ON DELETE CASCADE, id TEXT NOT NULL, place INTEGER NOT NULL,
        dialogue TEXT NOT NULL, reference_texts TEXT NOT NULL, PRIMARY KEY (review, id)
    );
    CREATE TABLE texts (
        review TEXT NOT NULL, item TEXT NOT NULL, system TEXT NOT NULL, text TEXT NOT NULL, sha256 TEXT NOT NULL,
        tokens INTEGER, seconds REAL, PRIMARY KEY (review, item, system),
        FOREIGN KEY (review, item) REFERENCES items ON DELETE CASCADE
    );
    CREATE TABLE assignments (
        review TEXT NOT NULL, item TEXT NOT NULL, reviewer TEXT NOT NULL, round INTEGER NOT NULL,
        cards TEXT NOT NULL, assigned REAL NOT NULL, revealed TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (review, item, reviewer, round),
        FOREIGN KEY (review, item) REFERENCES items ON DELETE CASCADE
    );
    CREATE TABLE verdicts (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, review TEXT NOT NULL, item TEXT NOT NULL,
        reviewer TEXT NOT NULL, round INTEGER NOT NULL, cards TEXT NOT NULL, ranks TEXT NOT NULL,
        all_bad INTEGER NOT NULL, skipped TEXT NOT NULL, spans TEXT NOT NULL, comment TEXT NOT NULL,
        seconds REAL NOT NULL, created TEXT NOT NULL, version TEXT NOT NULL, UNIQUE (review, id),
        FOREIGN KEY (review, item, reviewer, round) REFERENCES assignments ON DELETE CASCADE
    );
    CREATE INDEX verdicts_by_key ON verdicts (review, item, reviewer, round);
    """,
)

ASSIGNED_COLUMNS = "review, item, reviewer, round, cards, assigned"
VERDICT_COLUMNS = "id, item, reviewer, round, cards, ranks, all_bad, skipped, spans, comment, seconds, created, version"


class ReviewStore:
    """All reviews of one data folder (`Settings.reviews_file`). Nothing is cached between calls, and every method may
    be called from several threads and processes. Every method raises StorageError if the file cannot be used. saved: is
    called with the review's id after each verdict that `save_verdict` stored.
    """

    def __init__(self, file: Path, saved: Callable[[str], None] = lambda review_id: None):
        self.file, self._saved = file, saved

    def create(self, draft: ReviewDraft, owner: str = "") -> Review:
        """Store a new review. owner: the secret of its creator's browser, of which only the hash is stored."""
        return self.insert(draft, secrets.token_hex(8), owner)

    def insert(
        self, draft: ReviewDraft, review_id: str, owner: str = "", created: str = "", version: str = ""
    ) -> Review:
        """`create` with a given id, for the import of a review. Raises InputError if the id is already stored."""
        row = (
            review_id, secrets.token_urlsafe(16), _clean(check_name(draft.name)), _clean(draft.source),
            _dump([asdict(system) for system in draft.systems]), _dump(dict(draft.decode) if draft.decode else None),
            _dump(asdict(draft.settings)), draft.identical, draft.without_dialogue, draft.simulated,
            digest(owner) if owner else "", created or _now(), version or __version__,
        )  # fmt: skip
        with self._writing() as database:
            if database.execute("SELECT 1 FROM reviews WHERE id = ?", (review_id,)).fetchone():
                raise InputError(f"The review {review_id!r} is already stored.")
            database.execute(f"INSERT INTO reviews VALUES ({', '.join('?' * len(row))})", row)
            database.executemany(
                "INSERT INTO items VALUES (?, ?, ?, ?, ?)",
                [
                    (review_id, _clean(item.id), place, _clean(item.dialogue), _dump(list(item.references)))
                    for place, item in enumerate(draft.items)
                ],
            )
            database.executemany(
                "INSERT INTO texts VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (review_id, _clean(item.id), name, text.text, text.digest, text.tokens, text.seconds)
                    for item in draft.items
                    for name, text in ((n, replace(t, text=_clean(t.text))) for n, t in item.texts.items())
                ],
            )
            return _review(database, review_id)

    def list(self, owner: str | None = None) -> list[Review]:
        """All reviews, newest first; with an owner's secret only that owner's."""
        where, values = ("", ()) if owner is None else ("WHERE owner = ?", (digest(owner),))
        if owner == "":
            return []
        with self._reading() as database:
            rows = database.execute(f"SELECT id FROM reviews {where} ORDER BY created DESC, id", values).fetchall()
            return [_review(database, row[0]) for row in rows]

    def get(self, review_id: str) -> Review:
        """A review by its id. Raises InputError for an unknown one."""
        with self._reading() as database:
            return _review(database, review_id)

    def by_token(self, token: str) -> Review:
        """The review of a link. Raises InputError for an unknown token."""
        with self._reading() as database:
            row = database.execute("SELECT id FROM reviews WHERE token = ?", (_clean(token),)).fetchone()
            if row is None:
                raise InputError(
                    "This link belongs to no review; it may have been deleted. Ask its owner for a new one."
                )
            return _review(database, row[0])

    def items(self, review_id: str) -> tuple[ReviewItem, ...]:
        """The items in the review's order. Raises InputError for an unknown review."""
        with self._reading() as database:
            return _items(database, _review(database, review_id))

    def delete(self, review_id: str) -> None:
        """Delete a review and its verdicts. Raises InputError for an unknown one."""
        with self._writing() as database:
            _review(database, review_id)
            database.execute("DELETE FROM reviews WHERE id = ?", (review_id,))

    def next_task(self, review_id: str, reviewer: str) -> ReviewTask | None:
        """The item to show this reviewer: the one that is open, or a new one; None if nothing remains. The displayed
        order is stored. Raises InputError for an unknown review or an invalid reviewer.
        """
        reviewer = check_name(reviewer, "The reviewer")
        with self._writing() as database:
            review = _review(database, review_id)
            open_ = database.execute(
                "SELECT item, round FROM assignments a WHERE review = ? AND reviewer = ? AND NOT EXISTS "
                "(SELECT 1 FROM verdicts v WHERE v.review = a.review AND v.item = a.item AND v.reviewer = a.reviewer "
                "AND v.round = a.round) ORDER BY assigned LIMIT 1",
                (review_id, reviewer),
            ).fetchone()
            if open_ is None:
                open_ = _choose(database, review, reviewer)
                if open_ is None:
                    return None
                item = _item(database, review, open_[0])
                cards = displayed(item, reviewer, open_[1], review.settings.seed)
                database.execute(
                    f"INSERT INTO assignments ({ASSIGNED_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
                    (review_id, open_[0], reviewer, open_[1], _dump([c.systems for c in cards]), time.time()),
                )
            else:
                database.execute(
                    "UPDATE assignments SET assigned = ? WHERE review = ? AND item = ? AND reviewer = ? AND round = ?",
                    (time.time(), review_id, open_[0], reviewer, open_[1]),
                )
            return _task(database, review, reviewer, *open_)

    def task(self, review_id: str, reviewer: str, item: str, round: int = 0) -> ReviewTask:
        """An item that this reviewer was asked, as it was displayed, to revise its verdict. Raises InputError if the
        reviewer was not asked.
        """
        with self._reading() as database:
            return _task(database, _review(database, review_id), reviewer, item, round)

    def tasks(self, review_id: str, reviewer: str) -> Sequence[ReviewTask]:
        """Everything that this reviewer has answered or skipped, in that order."""
        with self._reading() as database:
            review = _review(database, review_id)
            return [_task(database, review, reviewer, *asked) for asked in _answered(database, review_id, reviewer)]

    def save_verdict(
        self,
        review_id: str,
        reviewer: str,
        item: str,
        round: int = 0,
        *,
        ranks: Sequence[int] = (),
        all_bad: bool = False,
        skipped: str = "",
        spans: Sequence[ErrorSpan] = (),
        comment: str = "",
        seconds: float = 0.0,
    ) -> Verdict:
        """Store a verdict on an item that the reviewer was asked (`next_task`), or a revision of it. It is on disk when
        this returns. The same answer again is not stored twice.

        ranks: one per displayed card, 1 is best, equal ranks are ties; instead of ranks, `all_bad` or a reason to skip.
        seconds: how long the item was displayed, all revisions together. Raises InputError for an invalid answer, for
        an item that was not asked, and for a verdict after the names were revealed.
        """
        with self._writing() as database:
            task = _task(database, _review(database, review_id), reviewer, item, round)
            if task.revealed:
                raise InputError("The systems of this item have been revealed; its verdict can no longer be changed.")
            skipped, comment = _clean(skipped).strip(), _clean(comment).strip()
            if (bool(ranks) + bool(all_bad) + bool(skipped)) != 1:
                raise InputError("Give one of: a rank for each summary, all bad, or a reason to skip.")
            if max(len(skipped), len(comment)) > LONGEST_COMMENT:
                raise InputError(f"The comment has more than {LONGEST_COMMENT:,} characters; shorten it.")
            if not (math.isfinite(seconds) and seconds >= 0):
                raise InputError(f"seconds is {seconds!r}; give a number from 0.")
            before = task.verdict
            verdict = Verdict(
                id=secrets.token_hex(8),
                item=item,
                reviewer=reviewer,
                round=round,
                revision=before.revision + 1 if before else 0,
                order=tuple(card.systems for card in task.cards),
                ranks=_by_system(ranks, task.cards) if ranks else {},
                all_bad=bool(all_bad),
                skipped=skipped,
                spans=() if skipped else check_spans(spans, task.item),
                comment=comment,
                seconds=min(float(seconds), LONGEST_SECONDS),
                created=max(_now(), before.created) if before else _now(),  # a clock can be set back
                version=__version__,
            )
            if before and before.same_answer(verdict):
                return before
            _insert(database, review_id, verdict)
        self._saved(review_id)
        return verdict

    def reveal(self, review_id: str, reviewer: str, item: str = "", round: int = 0) -> None:
        """Record that the reviewer sees the systems' names of one answered item, or without an item of all answered
        ones. Their verdicts can no longer be revised. Raises InputError for an item without a verdict, and if items
        remain although the review reveals the names at the end.
        """
        with self._writing() as database:
            review = _review(database, review_id)
            if review.settings.reveal == "end" and (left := _progress(database, review, reviewer).remaining):
                raise InputError(f"The names are revealed at the end; {left} items remain.")
            if item and _task(database, review, reviewer, item, round).verdict is None:
                raise InputError("The names are revealed after a verdict; answer or skip the item first.")
            answered = [(item, round)] if item else _answered(database, review_id, reviewer)
            database.executemany(
                "UPDATE assignments SET revealed = ? WHERE review = ? AND item = ? AND reviewer = ? AND round = ? "
                "AND revealed = ''",
                [(_now(), review_id, one, reviewer, number) for one, number in answered],
            )

    def progress(self, review_id: str, reviewer: str) -> ReviewProgress:
        """One reviewer's progress. Raises InputError for an unknown review."""
        with self._reading() as database:
            return _progress(database, _review(database, review_id), reviewer)

    def reviewers(self, review_id: str) -> dict[str, int]:
        """The number of items that each reviewer has answered or skipped, by reviewer."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT reviewer, COUNT(DISTINCT item || char(0) || round) FROM verdicts WHERE review = ? "
                "GROUP BY reviewer ORDER BY reviewer",
                (review_id,),
            )
            return dict(rows.fetchall())

    def asked(self, review_id: str) -> set[str]:
        """The reviewers who were shown an item."""
        with self._reading() as database:
            rows = database.execute("SELECT DISTINCT reviewer FROM assignments WHERE review = ?", (review_id,))
            return {row[0] for row in rows}

    def verdicts(self, review_id: str, reviewer: str | None = None, *, history: bool = False) -> Sequence[Verdict]:
        """The last revision of each verdict, oldest first; with `history` all revisions. Skipped items are included.

        reviewer: only this reviewer's. The caller must not show other reviewers' verdicts to a reviewer whose
        `progress` is not finished.
        """
        with self._reading() as database:
            _review(database, review_id)
            return _verdicts(database, review_id, reviewer, history=history)

    def merge(self, review_id: str, verdicts: Iterable[Verdict]) -> int:
        """Add verdicts from another file and return how many were new. A verdict with a stored id is not added again;
        of different verdicts of one reviewer on the same item and round the latest counts. Raises InputError for a
        verdict that does not fit the review; then none is added.
        """
        with self._writing() as database:
            review = _review(database, review_id)
            items = {item.id: item for item in _items(database, review)}
            known = {row[0] for row in database.execute("SELECT id FROM verdicts WHERE review = ?", (review_id,))}
            new = 0
            for verdict in verdicts:
                _check(verdict, items)
                if verdict.id in known:
                    continue
                known.add(verdict.id)
                database.execute(
                    f"INSERT OR IGNORE INTO assignments ({ASSIGNED_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
                    (review_id, verdict.item, verdict.reviewer, verdict.round, _dump(verdict.order), time.time()),
                )
                _insert(database, review_id, verdict)
                new += 1
            return new

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as database:
            database.execute("BEGIN")
            yield database
            database.execute("COMMIT")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on disk at the end, or rolled back after an error."""
        with self._connected() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(self._connect()) as database:
                yield database
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{self.file} cannot be used: {error}. Check the folder and its free space.") from error

    def _connect(self) -> sqlite3.Connection:
        if not self.file.exists():
            self.file.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.file, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            database.execute("PRAGMA foreign_keys = ON")
            database.execute("PRAGMA synchronous = FULL")
            if _schema(database) != len(MIGRATIONS):
                self._migrate(database)
        except BaseException:
            database.close()
            raise
        return database

    def _migrate(self, database: sqlite3.Connection) -> None:
        # A change of the journal mode fails immediately if another process uses the file, whatever the timeout.
        wait = StorageError(f"{self.file} is being prepared by another process; try again.")
        with locked(self.file.with_name(f".{self.file.name}.lock"), BUSY_SECONDS, wait):
            version = _schema(database)
            if version > len(MIGRATIONS):
                raise StorageError(
                    f"{self.file} has format {version}, and this version of dsum reads up to {len(MIGRATIONS)}; "
                    "update dsum."
                )
            database.execute("PRAGMA journal_mode = WAL")
            for number, script in enumerate(MIGRATIONS[version:], version + 1):
                database.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")


def _schema(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _review(database: sqlite3.Connection, review_id: str) -> Review:
    row = database.execute(
        "SELECT id, token, name, source, systems, decode, settings, identical, without_dialogue, simulated, owner, "
        "created, version, (SELECT COUNT(*) FROM items WHERE review = reviews.id) FROM reviews WHERE id = ?",
        (review_id,),
    ).fetchone()
    if row is None:
        raise InputError(f"There is no review {review_id!r}; `dsum review list` shows those that are stored.")
    id_, token, name, source, systems, decode, settings, identical, without_dialogue, simulated, *rest = row
    owner, created, version, items = rest
    return Review(
        id=id_,
        token=token,
        name=name,
        source=source,
        systems=tuple(SystemInfo(**system) for system in json.loads(systems)),
        decode=json.loads(decode),
        settings=ReviewSettings(**json.loads(settings)),
        identical=identical,
        without_dialogue=without_dialogue,
        simulated=bool(simulated),
        owner=owner,
        created=created,
        version=version,
        items=items,
    )


def _items(database: sqlite3.Connection, review: Review, only: str | None = None) -> tuple[ReviewItem, ...]:
    values = (review.id,) if only is None else (review.id, only)
    one_item, one_text = ("", "") if only is None else (" AND id = ?", " AND item = ?")
    rows = database.execute(
        f"SELECT id, dialogue, reference_texts FROM items WHERE review = ?{one_item} ORDER BY place", values
    ).fetchall()
    texts: dict[str, dict[str, ReviewText]] = {}
    for item, system, *text in database.execute(
        f"SELECT item, system, text, tokens, seconds FROM texts WHERE review = ?{one_text}", values
    ):
        texts.setdefault(item, {})[system] = ReviewText(*text)
    return tuple(
        ReviewItem(id_, dialogue, tuple(json.loads(references)), {s.name: texts[id_][s.name] for s in review.systems})
        for id_, dialogue, references in rows
    )


def _item(database: sqlite3.Connection, review: Review, item: str) -> ReviewItem:
    found = _items(database, review, item)
    if not found:
        raise InputError(f"The review {review.name!r} has no item {item!r}.")
    return found[0]


def _task(database: sqlite3.Connection, review: Review, reviewer: str, item: str, round: int) -> ReviewTask:
    row = database.execute(
        "SELECT cards, revealed FROM assignments WHERE review = ? AND item = ? AND reviewer = ? AND round = ?",
        (review.id, item, reviewer, round),
    ).fetchone()
    if row is None:
        raise InputError(f"{reviewer} was not asked for item {item!r} of {review.name!r}; open the next item first.")
    found = _item(database, review, item)
    cards = tuple(Card(found.texts[systems[0]].text, tuple(systems)) for systems in json.loads(row[0]))
    answers = _verdicts(database, review.id, reviewer, item=item, round=round)
    return ReviewTask(review.id, reviewer, found, round, cards, answers[0] if answers else None, bool(row[1]))


def _verdicts(
    database: sqlite3.Connection,
    review_id: str,
    reviewer: str | None = None,
    *,
    item: str | None = None,
    round: int | None = None,
    history: bool = False,
) -> list[Verdict]:
    wanted = {"reviewer": reviewer, "item": item, "round": round}
    given = {name: value for name, value in wanted.items() if value is not None}
    where = "".join(f" AND {name} = ?" for name in given)
    rows = database.execute(
        f"SELECT {VERDICT_COLUMNS} FROM verdicts WHERE review = ?{where} ORDER BY created, number",
        (review_id, *given.values()),
    )
    revisions: dict[tuple[str, str, int], int] = {}
    found: dict[Any, Verdict] = {}
    for id_, item_, who, number, cards, ranks, all_bad, skipped, spans, *rest in rows:
        key = (item_, who, number)
        revisions[key] = revisions.get(key, -1) + 1
        verdict = Verdict(
            id_, item_, who, number, revisions[key], tuple(map(tuple, json.loads(cards))), json.loads(ranks),
            bool(all_bad), skipped, tuple(ErrorSpan(**span) for span in json.loads(spans)), *rest,
        )  # fmt: skip
        found[id_ if history else key] = verdict
    return list(found.values())


def _insert(database: sqlite3.Connection, review_id: str, verdict: Verdict) -> None:
    row = (
        verdict.id, verdict.item, verdict.reviewer, verdict.round, _dump(verdict.order), _dump(dict(verdict.ranks)),
        verdict.all_bad, _clean(verdict.skipped), _dump([asdict(span) for span in verdict.spans]),
        _clean(verdict.comment),
        verdict.seconds, verdict.created, verdict.version,
    )  # fmt: skip
    database.execute(
        f"INSERT INTO verdicts (review, {VERDICT_COLUMNS}) VALUES ({', '.join('?' * (len(row) + 1))})",
        (review_id, *row),
    )


def _answered(database: sqlite3.Connection, review_id: str, reviewer: str) -> list[Asked]:
    """What a reviewer has answered or skipped, in order of the first revision."""
    rows = database.execute(
        "SELECT item, round FROM verdicts WHERE review = ? AND reviewer = ? GROUP BY item, round ORDER BY MIN(number)",
        (review_id, reviewer),
    )
    return [(item, round) for item, round in rows]


def _skipped(database: sqlite3.Connection, review_id: str) -> dict[str, set[str]]:
    """The items that each reviewer skipped in the first round."""
    # Beside MAX, SQLite returns the other columns of the row that has the maximum: the last revision.
    rows = database.execute(
        "SELECT reviewer, item, skipped, MAX(created || printf('%012d', number)) FROM verdicts "
        "WHERE review = ? AND round = 0 GROUP BY reviewer, item",
        (review_id,),
    )
    found: dict[str, set[str]] = {}
    for reviewer, item, skipped, _ in rows:
        if skipped:
            found.setdefault(reviewer, set()).add(item)
    return found


def _counts(database: sqlite3.Connection, review_id: str, reviewer: str) -> dict[str, int]:
    """Verdicts of others per item, with items that they are answering now and without skipped ones."""
    skipped = _skipped(database, review_id)
    rows = database.execute(
        "SELECT item, reviewer FROM assignments a WHERE review = ? AND reviewer != ? AND round = 0 AND (assigned > ? "
        "OR EXISTS (SELECT 1 FROM verdicts v WHERE v.review = a.review AND v.item = a.item AND "
        "v.reviewer = a.reviewer AND v.round = 0))",
        (review_id, reviewer, time.time() - ABANDONED_SECONDS),
    )
    counts: dict[str, int] = {}
    for item, who in rows:
        if item not in skipped.get(who, ()):
            counts[item] = counts.get(item, 0) + 1
    return counts


def _choose(database: sqlite3.Connection, review: Review, reviewer: str) -> Asked | None:
    if review.settings.reveal == "end" and _progress(database, review, reviewer).revealed:
        return None
    return next_item(
        [row[0] for row in database.execute("SELECT id FROM items WHERE review = ? ORDER BY place", (review.id,))],
        _counts(database, review.id, reviewer),
        _answered(database, review.id, reviewer),
        reviewer,
        review.settings,
        frozenset(_skipped(database, review.id).get(reviewer, ())),
    )


def _progress(database: sqlite3.Connection, review: Review, reviewer: str) -> ReviewProgress:
    answered = _answered(database, review.id, reviewer)
    (revealed,) = database.execute(
        "SELECT COUNT(*) FROM assignments WHERE review = ? AND reviewer = ? AND revealed != ''", (review.id, reviewer)
    ).fetchone()
    if revealed and review.settings.reveal == "end":
        return ReviewProgress(len(answered), 0, revealed)
    items = [row[0] for row in database.execute("SELECT id FROM items WHERE review = ?", (review.id,))]
    left = remaining(
        items,
        _counts(database, review.id, reviewer),
        answered,
        review.settings,
        frozenset(_skipped(database, review.id).get(reviewer, ())),
    )
    return ReviewProgress(len(answered), left, revealed)


def _by_system(ranks: Sequence[int], cards: Sequence[Card]) -> dict[str, int]:
    """Ranks of cards as ranks of systems, without gaps: 1, 1, 3 becomes 1, 1, 2."""
    numbers = list(ranks)
    if len(numbers) != len(cards) or not all(type(n) is int and 1 <= n <= len(LABELS) for n in numbers):
        raise InputError(
            f"The ranks are {numbers}; give {len(cards)} whole numbers from 1 to {len(LABELS)}, one per summary."
        )
    dense = {number: place for place, number in enumerate(sorted(set(numbers)), 1)}
    return {name: dense[number] for number, card in zip(numbers, cards, strict=True) for name in card.systems}


def _check(verdict: Verdict, items: dict[str, ReviewItem]) -> None:
    """Raises InputError for an imported verdict that does not fit the review."""
    item = items.get(verdict.item)
    if item is None:
        raise InputError(f"The verdict {verdict.id!r} is on item {verdict.item!r}, which the review does not have.")
    check_name(verdict.reviewer, "The reviewer")
    check_spans(verdict.spans, item)
    shown = sorted(sorted(systems) for systems in verdict.order)
    if shown != sorted(sorted(card.systems) for card in item.cards):
        raise InputError(f"The verdict {verdict.id!r} is on the cards {shown}, which the item does not have.")
    if (bool(verdict.ranks) + verdict.all_bad + bool(verdict.skipped)) != 1:
        raise InputError(f"The verdict {verdict.id!r} needs one of: ranks, all bad, or a reason to skip.")
    if verdict.ranks:
        card_ranks = [{verdict.ranks.get(name, 0) for name in systems} for systems in verdict.order]
        if set(verdict.ranks) != set(item.texts) or any(len(ranks) > 1 for ranks in card_ranks):
            raise InputError(f"The verdict {verdict.id!r} needs one rank per card for: {', '.join(item.texts)}.")
        if set(verdict.ranks.values()) != set(range(1, len(set(verdict.ranks.values())) + 1)):
            raise InputError(f"The verdict {verdict.id!r} has the ranks {verdict.ranks}; give 1, 2, … without a gap.")
    if verdict.round not in (0, 1) or not (math.isfinite(verdict.seconds) and verdict.seconds >= 0):
        raise InputError(f"The verdict {verdict.id!r} has an invalid round or time; give round 0 or 1, and seconds.")
    try:
        utc = datetime.fromisoformat(verdict.created).astimezone(UTC)
    except ValueError:
        utc = None
    if utc is None or utc.isoformat(timespec="microseconds") != verdict.created:
        raise InputError(f"The verdict {verdict.id!r} was created {verdict.created!r}; give a time such as {_now()}.")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _dump(value: Any) -> str:
    return json.dumps(value)


def _clean(text: str) -> str:
    """The text without lone surrogates, which SQLite cannot store."""
    return text.encode("utf-8", "replace").decode("utf-8")
