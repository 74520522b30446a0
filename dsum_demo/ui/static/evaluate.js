// The table of examples: one click event for headings, pages and rows; its data contains which of them was meant.
dsum.listenToExamples = (element, trigger) => {
  const meant = (target) => {
    const sort = target.closest('[data-sort]'), page = target.closest('[data-page]');
    const row = target.closest('[data-example]');
    if (sort) return {sort: sort.dataset.sort};
    if (page) return {page: Number(page.dataset.page)};
    if (row) { dsum.exampleOpens = true; return {example: row.dataset.example}; }
    return null;
  };
  element.addEventListener('click', (event) => {
    const what = meant(event.target);
    if (what) trigger('click', what);
  });
  element.addEventListener('keydown', (event) => {
    const row = event.target.closest('tr[data-example]');
    if (!row) return;
    if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); trigger('click', meant(row)); }
    const other = {ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling}[event.key];
    if (other) { event.preventDefault(); other.focus(); }
  });
};

dsum.showExample = () => {
  if (!dsum.exampleOpens) return;
  dsum.exampleOpens = false;
  document.querySelector('#example .example')?.focus({preventScroll: true});
  document.querySelector('#example-open')?.scrollIntoView({behavior: 'smooth', block: 'start'});
};

// Left and right open the previous and the next example. In a form the arrow keys belong to the form.
document.addEventListener('keydown', (event) => {
  const button = {ArrowLeft: '#example-previous', ArrowRight: '#example-next'}[event.key];
  if (!button || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.target.closest('input, textarea, select, [role=tab], [role=slider], [role=listbox]')) return;
  if (!document.querySelector('#example .example')?.offsetParent) return;
  event.preventDefault();
  document.querySelector(button).click();
});
