// A number of a review's results leads to the verdicts that it is computed from: only they and their items remain in the list.
document.addEventListener('click', (event) => {
  const button = event.target.closest('.number[data-verdicts], .all-items, .to-number');
  const list = button && document.querySelector('.review-items');
  if (!list) return;
  const shown = list.querySelector('.items-shown'), items = [...list.querySelectorAll(':scope > details')];
  const source = document.querySelector('.number[aria-current]');
  if (button.matches('.to-number')) {
    source?.focus();
    return source?.scrollIntoView({block: 'center'});
  }
  const wanted = button.dataset.verdicts?.split(' ');
  for (const item of items) {
    const verdicts = [...item.querySelectorAll('[data-verdict]')];
    for (const verdict of verdicts) verdict.hidden = Boolean(wanted) && !wanted.includes(verdict.dataset.verdict);
    item.hidden = Boolean(wanted) && verdicts.every((verdict) => verdict.hidden);
    item.open = false;
  }
  source?.removeAttribute('aria-current');
  shown.hidden = !wanted;
  if (!wanted) return items[0]?.querySelector('summary').focus();
  button.setAttribute('aria-current', 'true');
  const left = items.filter((item) => !item.hidden), count = (number, what) => `${number} ${what}${number === 1 ? '' : 's'}`;
  shown.querySelector('b').textContent = `${button.dataset.what}: ${count(wanted.length, 'verdict')} on ${count(left.length, 'item')}`;
  left[0].open = true;
  shown.focus({preventScroll: true});
  shown.scrollIntoView({block: 'start'});
});
