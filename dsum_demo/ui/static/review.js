// The Review tab: ranks, marks and keys of the open item. They stay in the browser until Submit sends them to the app.
// Offsets of marks count Unicode code points, as Python does; those of the page count UTF-16 units.

dsum.review = null; // the open item

dsum.reviewLink = (secret, names) => [secret, names, new URLSearchParams(window.location.search).get('review') ?? ''];

dsum.reviewShown = (secret, names) => [secret, names, document.querySelector('#review-desk section, #review-facts')?.offsetParent ? 'yes' : ''];

dsum.shownResults = (secret, names) => [secret, names, document.querySelector('#review-facts [data-token]')?.dataset.token ?? ''];

dsum.listenToReview = (element, trigger) => {
  new MutationObserver(() => dsum.openReview(element, trigger)).observe(element, {subtree: true, childList: true, attributes: true});
  dsum.openReview(element, trigger);
  element.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    const review = dsum.review;
    if (button.dataset.do) dsum.reviewAction(button, trigger);
    else if (button.dataset.mark) dsum.markSelection(button.dataset.mark, button.dataset.of);
    else if ('unmark' in button.dataset) {
      review.spans.splice(Number(button.dataset.unmark), 1);
      dsum.drawMarks();
      review.section.focus({preventScroll: true});
    } else if ('bad' in button.dataset) dsum.setAllBad(!review.bad);
  });
  element.addEventListener('change', (event) => {
    const rank = event.target.closest('[data-card] input[type=radio]');
    if (!rank) return;
    dsum.review.ranks[Number(rank.closest('[data-card]').dataset.card)] = Number(rank.value);
    dsum.review.bad = false;
    dsum.drawRanks();
  });
  element.addEventListener('input', (event) => {
    if (dsum.review && event.target.matches('#review-comment, #review-reason')) dsum.keepDraft();
  });
  // Pressing a button of the bar must not clear the selection that it is about.
  element.addEventListener('pointerdown', (event) => {
    if (event.target.closest('[data-mark]')) event.preventDefault();
  });
};

// A new view was drawn. An item gets its own state; the page's address names the review, so that a reload returns to it.
// gradio changes the elements of the old view into those of the new one, so a view is recognized by its serial number.
dsum.openReview = (element, trigger) => {
  const section = element.querySelector('section[data-view]');
  const serial = section?.dataset.serial, known = element.reviewSerial;
  if (serial === known) return;
  element.reviewSerial = serial;
  dsum.setReviewAddress(section?.dataset.token);
  dsum.review = null;
  if (!section) return;
  section.focus({preventScroll: true});
  if (known) document.querySelector('#review-desk').scrollIntoView({block: 'start'});
  if (section.dataset.view !== 'item') return;
  const sent = JSON.parse(section.dataset.draft), unsent = dsum.unsentDraft(section, sent);
  const draft = {...sent, ...unsent};
  const texts = new Map([...section.querySelectorAll('.markable')].map((text) => [text.dataset.source, text.textContent]));
  const cards = section.querySelectorAll('[data-card]').length;
  dsum.review = {
    section, trigger, texts, cards,
    ranks: draft.ranks ?? Array(cards).fill(null), bad: draft.bad ?? false, last: null, tie: false,
    spans: (draft.spans ?? []).map((span) => dsum.inUnits(span, texts)), revision: sent.revision ?? null,
    selection: null, words: null, seconds: draft.seconds ?? 0, since: document.hidden ? null : performance.now(),
  };
  section.querySelector('#review-comment').value = draft.comment ?? '';
  section.querySelector('#review-reason').value = draft.reason ?? '';
  dsum.drawRanks();
  dsum.drawMarks();
  const blank = {ranks: Array(cards).fill(null), bad: false, spans: [], comment: '', reason: ''};
  const entered = (answer) => JSON.stringify(Object.entries(blank).map(([name, value]) => answer[name] ?? value));
  if (unsent && entered(unsent) !== entered(sent)) dsum.sayInReview('Your unsent answer is restored.');
};

// Unsent answers survive a reload. One that another tab or a later revision has overtaken is ignored.
const DRAFTS = 'dsum-review-drafts', MOST_DRAFTS = 30;

dsum.readDrafts = () => {
  try { return JSON.parse(localStorage.getItem(DRAFTS)) ?? {}; } catch { return {}; }
};

dsum.placeOf = ({token, item, round}) => [token, item, round].join(' ');

dsum.unsentDraft = (section, sent) => {
  const found = dsum.readDrafts()[dsum.placeOf(section.dataset)];
  return found?.revision === (sent.revision ?? null) ? found.answer : null;
};

dsum.answerInPage = () => {
  const {section, ranks, bad, spans} = dsum.review;
  return {
    ranks, bad,
    spans: spans.map((span) => dsum.inCodePoints(span)),
    comment: section.querySelector('#review-comment').value,
    reason: section.querySelector('#review-reason').value,
    seconds: dsum.reviewSeconds(),
  };
};

dsum.keepDraft = () => {
  const drafts = dsum.readDrafts();
  drafts[dsum.placeOf(dsum.review.section.dataset)] = {
    revision: dsum.review.revision, answer: dsum.answerInPage(), kept: Date.now(),
  };
  const newest = Object.entries(drafts).sort(([, one], [, other]) => other.kept - one.kept).slice(0, MOST_DRAFTS);
  try { localStorage.setItem(DRAFTS, JSON.stringify(Object.fromEntries(newest))); } catch { /* the browser keeps nothing */ }
};

window.addEventListener('pagehide', () => { if (dsum.review) dsum.keepDraft(); });

dsum.setReviewAddress = (token) => {
  const address = new URL(window.location);
  if ((address.searchParams.get('review') ?? undefined) === token) return;
  if (token) address.searchParams.set('review', token);
  else address.searchParams.delete('review');
  history.replaceState(history.state, '', address);
};

dsum.reviewAction = async (button, trigger) => {
  const section = button.closest('[data-view]'), review = dsum.review;
  const data = {...section.dataset, ...button.dataset};
  for (const name of ['draft', 'serial', 'view']) delete data[name];
  if (data.do === 'link') return dsum.copyReviewLink(button, data.token);
  if (data.do === 'page') return document.querySelector('#review-page').click();
  if (data.do === 'delete' && !window.confirm('Delete this review and all its verdicts? This cannot be undone.')) return;
  if (section.getAttribute('aria-busy') === 'true') return;
  if (data.do === 'join') data.name = section.querySelector('#review-name').value;
  if (data.do === 'submit' || data.do === 'skip') {
    if (data.do === 'submit' && !review.bad && review.ranks.includes(null)) {
      return dsum.sayInReview('Rank every summary, or press 0 if all are bad.');
    }
    Object.assign(data, dsum.answerInPage());
    if (data.do === 'skip' && !data.reason.trim()) return dsum.sayInReview('Give a reason to skip this item.');
    dsum.sayInReview('Saving…');
  }
  section.setAttribute('aria-busy', 'true');
  trigger('click', data);
};

// The app has answered. After an error the item is still open, with everything that was entered.
dsum.reviewAnswered = () => {
  for (const section of document.querySelectorAll('[data-view][aria-busy=true]')) {
    section.setAttribute('aria-busy', 'false');
    dsum.sayInReview('');
  }
};

// What the form's button caused, an error or the progress of a run, is above the form.
dsum.showReviewStart = () => {
  const shown = [...document.querySelectorAll('#review-notice .notice, #review-run')].find((one) => one.offsetParent);
  shown?.scrollIntoView({block: 'center'});
};

dsum.sayInReview = (text) => {
  const status = dsum.review?.section.querySelector('.review-status');
  if (status) status.textContent = text;
};

dsum.copyReviewLink = async (button, token) => {
  const address = new URL(window.location.pathname, window.location);
  address.searchParams.set('review', token);
  await dsum.copyText(address.href);
  const before = button.textContent;
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = before; }, 1500);
};

// Only time in which the page is visible counts.
dsum.reviewSeconds = () => {
  const review = dsum.review;
  return review.seconds + (review.since === null ? 0 : (performance.now() - review.since) / 1000);
};

document.addEventListener('visibilitychange', () => {
  if (!dsum.review) return;
  dsum.review.seconds = dsum.reviewSeconds();
  dsum.review.since = document.hidden ? null : performance.now();
});

// Ranks. A number key gives its card the next rank; after "=" the rank of the card before. A card that has a rank starts a new ranking.
dsum.rankNext = (card) => {
  const review = dsum.review;
  if (card >= review.cards) return;
  if (review.bad || review.ranks[card] !== null) dsum.clearRanks();
  const given = review.ranks.filter((rank) => rank !== null);
  const last = given.length ? Math.max(...given) : 0;
  review.ranks[card] = review.tie && last ? last : last + 1;
  review.tie = false;
  dsum.drawRanks();
};

dsum.clearRanks = () => {
  Object.assign(dsum.review, {ranks: Array(dsum.review.cards).fill(null), bad: false, tie: false});
  dsum.sayInReview('No ranks.');
  dsum.drawRanks();
};

dsum.setAllBad = (bad) => {
  dsum.clearRanks();
  dsum.review.bad = bad;
  dsum.drawRanks();
};

dsum.drawRanks = () => {
  const {section, ranks, bad} = dsum.review;
  for (const card of section.querySelectorAll('[data-card]')) {
    const rank = ranks[Number(card.dataset.card)];
    for (const input of card.querySelectorAll('input[type=radio]')) input.checked = Number(input.value) === rank;
    card.classList.toggle('best', rank === 1);
    card.classList.toggle('bad', bad);
  }
  section.querySelector('[data-bad]').setAttribute('aria-pressed', String(bad));
  const listed = ranks.map((rank, card) => (rank === null ? '' : `${'ABCD'[card]} ${rank}`)).filter(Boolean).join(', ');
  if (bad || listed) dsum.sayInReview(bad ? 'All are bad.' : `Ranks: ${listed}.`);
  dsum.keepDraft();
};

// Marks.
dsum.sourceOf = (span) => (span.kind === 'missing' ? 'dialogue' : String(span.card));

dsum.inCodePoints = (span) => {
  const text = dsum.review.texts.get(dsum.sourceOf(span));
  const count = (end) => [...text.slice(0, end)].length;
  return {...span, start: count(span.start), end: count(span.end)};
};

dsum.inUnits = (span, texts) => {
  const points = [...texts.get(dsum.sourceOf(span))];
  const length = (end) => points.slice(0, end).join('').length;
  return {...span, start: length(span.start), end: length(span.end)};
};

dsum.markSelection = (kind, of) => {
  const review = dsum.review, chosen = review?.selection;
  if (!chosen || (kind === 'missing') !== (chosen.source === 'dialogue')) return;
  const card = kind === 'missing' ? (of === undefined ? null : Number(of)) : Number(chosen.source);
  const span = {kind, card, start: chosen.start, end: chosen.end};
  if (!review.spans.some((other) => JSON.stringify(other) === JSON.stringify(span))) review.spans.push(span);
  window.getSelection().removeAllRanges();
  dsum.select(null);
  dsum.drawMarks();
  dsum.sayInReview(`Marked: ${kind}.`);
  const text = review.section.querySelector(`.markable[data-source="${chosen.source}"]`);
  if (document.activeElement?.closest('.review-marking')) text.focus({preventScroll: true});
};

dsum.drawMarks = () => {
  const {section, spans, texts} = dsum.review;
  for (const element of section.querySelectorAll('.markable')) {
    const source = element.dataset.source, text = texts.get(source);
    const here = spans.filter((span) => dsum.sourceOf(span) === source);
    const names = source === 'dialogue' ? [...text.matchAll(/^[^:\n]{1,40}:/gm)].map((found) => [found.index, found.index + found[0].length]) : [];
    const cuts = [0, text.length, ...here.flatMap((span) => [span.start, span.end]), ...names.flat()];
    const places = [...new Set(cuts)].sort((one, other) => one - other);
    const pieces = places.slice(1).map((end, index) => {
      const start = places[index], part = text.slice(start, end);
      const mark = here.find((span) => span.start <= start && end <= span.end);
      const name = names.some(([from, to]) => from <= start && end <= to);
      if (!mark && !name) return document.createTextNode(part);
      const piece = document.createElement(mark ? 'mark' : 'b');
      if (mark) { piece.className = 'error'; piece.title = mark.kind; }
      piece.textContent = part;
      return piece;
    });
    element.replaceChildren(...pieces);
  }
  for (const list of section.querySelectorAll('.marks')) {
    const items = spans.map((span, index) => [span, index]).filter(([span]) => dsum.sourceOf(span) === list.dataset.marks);
    list.replaceChildren(...items.map(([span, index]) => {
      const item = document.createElement('li'), kind = document.createElement('b'), remove = document.createElement('button');
      const quoted = `“${texts.get(dsum.sourceOf(span)).slice(span.start, span.end)}”`;
      kind.textContent = span.kind === 'missing' ? `missing in ${span.card === null ? 'all' : 'ABCD'[span.card]}` : span.kind;
      Object.assign(remove, {type: 'button', textContent: '×'});
      remove.dataset.unmark = index;
      remove.setAttribute('aria-label', `Remove the mark ${kind.textContent} ${quoted}`);
      item.append(kind, ` ${quoted} `, remove);
      return item;
    }));
  }
  dsum.keepDraft();
};

// The selection: what can be marked, and the bar with the kinds.
dsum.select = (chosen) => {
  const review = dsum.review;
  review.selection = chosen;
  const bar = review.section.querySelector('.review-marking');
  bar.hidden = !chosen;
  if (!chosen) { review.words = null; return; }
  const text = review.texts.get(chosen.source).slice(chosen.start, chosen.end);
  bar.querySelector('.selected').textContent = `“${text.length > 80 ? `${text.slice(0, 79)}…` : text}”`;
  for (const part of bar.querySelectorAll('[data-for]')) part.hidden = (part.dataset.for === 'dialogue') !== (chosen.source === 'dialogue');
};

document.addEventListener('selectionchange', () => {
  const review = dsum.review, selection = window.getSelection();
  if (!review || !selection.rangeCount || selection.isCollapsed) return;
  const range = selection.getRangeAt(0);
  const inside = (node) => (node.nodeType === Node.TEXT_NODE ? node.parentElement : node).closest('.markable');
  const text = inside(range.startContainer);
  if (!text || !review.section.contains(text)) return;
  const before = document.createRange();
  before.selectNodeContents(text);
  before.setEnd(range.startContainer, range.startOffset);
  if (inside(range.endContainer) !== text) range.setEnd(text, text.childNodes.length);
  const all = review.texts.get(text.dataset.source), raw = range.toString();
  const start = before.toString().length + raw.length - raw.trimStart().length;
  const end = Math.min(start + raw.trim().length, all.length);
  if (start < end) dsum.select({source: text.dataset.source, start, end});
});

document.addEventListener('click', (event) => {
  if (dsum.review?.selection && !event.target.closest('.review-marking') && window.getSelection().isCollapsed) dsum.select(null);
});

// In a text the arrow keys select words: left and right the next one, up and down that of the next line.
dsum.moveWord = (text, key, more) => {
  const review = dsum.review, source = text.dataset.source, all = review.texts.get(source);
  const words = [...all.matchAll(/\S+/g)].map((found) => ({start: found.index, end: found.index + found[0].length}));
  if (!words.length) return;
  const last = words.length - 1, old = review.words?.source === source ? review.words : null;
  const lineOf = (word) => all.slice(0, words[word].start).split('\n').length;
  const inLine = (word, step) => {
    let other = word;
    while (other + step >= 0 && other + step <= last && lineOf(other) === lineOf(word)) other += step;
    while (step < 0 && other > 0 && lineOf(other - 1) === lineOf(other)) other -= 1;
    return other;
  };
  const from = old ? old.to : -1;
  const to = {
    ArrowRight: () => Math.min(from + 1, last), ArrowLeft: () => Math.max(from - 1, 0),
    ArrowDown: () => (old ? inLine(from, 1) : 0), ArrowUp: () => (old ? inLine(from, -1) : 0),
    Home: () => 0, End: () => last,
  }[key]();
  const anchor = more && old ? old.anchor : to;
  const [first, end] = [words[Math.min(anchor, to)].start, words[Math.max(anchor, to)].end];
  dsum.selectText(text, first, end);
  dsum.select({source, start: first, end});
  review.words = {source, anchor, to};
  dsum.sayInReview(`Selected: ${all.slice(first, end)}`);
};

dsum.selectText = (element, start, end) => {
  const place = (offset, atEnd) => {
    const nodes = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    let passed = 0, node = nodes.nextNode();
    while (node && (passed + node.length < offset || (!atEnd && passed + node.length === offset))) {
      passed += node.length;
      node = nodes.nextNode();
    }
    return [node, offset - passed];
  };
  window.getSelection().setBaseAndExtent(...place(start, false), ...place(end, true));
  const shown = window.getSelection().getRangeAt(0).getBoundingClientRect(), box = element.getBoundingClientRect();
  if (shown.bottom > box.bottom) element.scrollTop += shown.bottom - box.bottom + 8;
  if (shown.top < box.top) element.scrollTop -= box.top - shown.top + 8;
};

document.addEventListener('keydown', (event) => {
  const section = document.querySelector('#review-desk section[data-view]');
  if (!section?.offsetParent || event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
  const target = event.target, review = dsum.review;
  if (target !== document.body && !section.contains(target)) return;
  const enter = () => { event.preventDefault(); section.querySelector('[data-enter]')?.click(); };
  if (target.matches('textarea, input:not([type=radio])')) {
    if (event.key === 'Escape') section.focus({preventScroll: true});
    if (event.key !== 'Enter' || event.shiftKey) return;
    if (target.id !== 'review-reason') return enter();
    event.preventDefault();
    return section.querySelector('[data-do=skip]').click();
  }
  if (target.matches('button, summary') && (event.key === 'Enter' || event.key === ' ')) return;
  const text = target.closest('.markable');
  if (review && text && ['ArrowRight', 'ArrowLeft', 'ArrowDown', 'ArrowUp', 'Home', 'End'].includes(event.key)) {
    event.preventDefault();
    return dsum.moveWord(text, event.key, event.shiftKey);
  }
  if (event.key === 'Enter') return enter();
  if (event.key === '[' || event.key === ']') return dsum.neighbouringVerdict(section, event.key === ']' ? 1 : -1);
  if (!review) return;
  const key = event.key.toLowerCase();
  const marks = {w: 'wrong speaker', i: 'invented', n: 'wrong number', u: 'unclear', m: 'missing'};
  if (/^[1-4]$/.test(key)) dsum.rankNext(Number(key) - 1);
  else if (key === '0') dsum.setAllBad(!review.bad);
  else if (key === '=') { review.tie = true; dsum.sayInReview('The next summary shares the rank.'); }
  else if (key === 'backspace') dsum.clearRanks();
  else if (key === 'c') section.querySelector('#review-comment').focus();
  else if (key === 's') { section.querySelector('.review-skip').open = true; section.querySelector('#review-reason').focus(); }
  else if (key === 'escape') { window.getSelection().removeAllRanges(); dsum.select(null); }
  else if (marks[key] && review.selection) dsum.markSelection(marks[key]);
  else return;
  event.preventDefault();
});

dsum.neighbouringVerdict = (section, step) => {
  const buttons = [...section.querySelectorAll('.review-verdicts [data-do=open]')];
  const here = buttons.findIndex((button) => button.getAttribute('aria-current'));
  const other = here < 0 ? (step < 0 ? buttons.at(-1) : null) : buttons[here + step];
  (other ?? (step > 0 && section.querySelector('.review-verdicts [data-do=next]')) ?? null)?.click?.();
};
