"""What a visitor of the Review tab may do. Everything that a browser sends can be anything: gradio's private endpoints
answer direct HTTP requests.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dsum_demo.errors import InputError
from dsum_demo.review.records import Review, check_name
from dsum_demo.review.storage import ReviewStore
from dsum_demo.utils.ownership import digest

LONGEST_REVIEWER = 60  # characters; the storage's limit leaves room for the suffix


@dataclass(frozen=True)
class Visitor:
    """One browser. secret: of the browser or its account, "" if it keeps none. names: the name given in each review, ""
    for none, by the review's token; of these reviews the browser has the link. account: the account's user name, "" if
    the visitor has not signed in.
    """

    secret: str
    names: Mapping[str, str]
    account: str = ""

    @classmethod
    def read(cls, secret: Any, names: Any, account: str = "") -> Visitor:
        """The visitor of the values in the browser; other types count as empty."""
        kept = names if isinstance(names, dict) else {}
        return cls(
            secret if isinstance(secret, str) else "",
            {k: v for k, v in kept.items() if isinstance(k, str) and isinstance(v, str)},
            account,
        )

    def reviewer(self, review: Review) -> str:
        """The reviewer's id, as in exports: the name and a suffix that only this browser gets, so that
        another browser cannot change the verdicts by giving the same name. "" if the visitor has not joined.
        """
        if not self.secret or review.token not in self.names:
            return ""
        name, suffix = self.names[review.token], self._suffix(review)
        return f"{name} ({suffix})" if name else f"reviewer-{suffix}"

    def _suffix(self, review: Review) -> str:
        return digest(f"{review.owner}\n{review.id}\n{self.secret}")[:6]

    def asked_as(self, store: ReviewStore, review: Review) -> list[str]:
        """The ids of this browser's reviewer, one for each name under which it was shown an item."""
        if not self.secret:
            return []
        ends = (f"reviewer-{self._suffix(review)}", f" ({self._suffix(review)})")
        return sorted(name for name in store.asked(review.id) if name.endswith(ends))

    def check_secret(self) -> None:
        """Raises InputError if the browser keeps none: its reviewer could not be found again."""
        if not self.secret:
            raise InputError("This browser keeps no data of this page; allow it to, or leave its private mode.")

    def joined(self, review: Review, name: Any) -> Visitor:
        """The visitor as a reviewer. A name that was given before stays. Raises InputError for an invalid name."""
        self.check_secret()
        if review.token in self.names:
            return self
        return replace(self, names={**self.names, review.token: check_reviewer(name)})

    def owns(self, review: Review) -> bool:
        """Whether this browser started the review, and may therefore delete it."""
        return bool(self.secret and review.owner) and hmac.compare_digest(review.owner, digest(self.secret))

    def may_judge(self, review: Review) -> bool:
        """False for a creator who chose to see the results instead."""
        return review.settings.owner_reviews or not self.owns(review)

    def check_judge(self, review: Review) -> None:
        """Raises InputError if the visitor may not judge."""
        if not self.may_judge(review):
            raise InputError("You chose to see the results of this review, so you cannot judge it blind.")

    def check_owner(self, review: Review) -> None:
        """Raises InputError if the visitor may not delete the review."""
        if not self.owns(review):
            raise InputError("Only the browser that started a review can delete it.")

    def may_see_results(self, store: ReviewStore, review: Review) -> bool:
        """The creator, and the other reviewers if the creator shares the results: in both cases not before having
        answered everything and revealed the systems, under every name that this browser has used.
        """
        if self.owns(review) and not review.settings.owner_reviews:
            return True
        if not self.secret or not (self.owns(review) or review.settings.share_results):
            return False
        progress = [store.progress(review.id, name) for name in self.asked_as(store, review)]
        return bool(progress) and all(one.finished and one.revealed >= one.answered for one in progress)

    def reviews_with_results(self, store: ReviewStore) -> list[Review]:
        """Those of `reviews` whose results the visitor may see."""
        return [review for review in self.reviews(store) if self.may_see_results(store, review)]

    def reviews(self, store: ReviewStore) -> list[Review]:
        """Those that the visitor started or joined, newest first."""
        found = {review.id: review for review in store.list(self.secret)}
        for token in self.names:
            try:
                review = store.by_token(token)
            except InputError:
                continue  # deleted
            found[review.id] = review
        return sorted(found.values(), key=lambda review: review.created, reverse=True)


def check_reviewer(name: Any) -> str:
    """The name of a reviewer, "" for none. Raises InputError for an invalid one."""
    given = name.strip() if isinstance(name, str) else ""
    if len(given) > LONGEST_REVIEWER:
        raise InputError(f"The name has {len(given)} characters; give at most {LONGEST_REVIEWER}.")
    return check_name(given, "The reviewer") if given else ""
