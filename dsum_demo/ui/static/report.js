// Sorting moves each example with what is folded under it; a row unfolds by click, Enter or space.
const table = document.querySelector('table.examples');
const value = (body, column) => body.rows[0].cells[column].dataset.value;
const compare = (a, b) => a === '' || b === '' ? (a === '') - (b === '')
  : isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
table?.tHead.addEventListener('click', (event) => {
  const heading = event.target.closest('th');
  if (!heading) return;
  const up = heading.getAttribute('aria-sort') === 'descending' || heading.getAttribute('aria-sort') === 'none';
  const sign = heading.getAttribute('aria-sort') === 'ascending' ? -1 : 1;
  for (const other of table.tHead.rows[0].cells) other.setAttribute('aria-sort', 'none');
  heading.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const bodies = [...table.tBodies].sort((a, b) => {
    const [x, y] = [value(a, heading.cellIndex), value(b, heading.cellIndex)];
    return x === '' || y === '' ? compare(x, y) : sign * compare(x, y);
  });
  table.append(...bodies);
});
const unfold = (row) => {
  const folded = row.parentElement.rows[1];
  folded.hidden = !folded.hidden;
  row.setAttribute('aria-expanded', String(!folded.hidden));
};
table?.addEventListener('click', (event) => {
  const row = event.target.closest('tr[data-example]');
  if (row) unfold(row);
});
table?.addEventListener('keydown', (event) => {
  const row = event.target.closest('tr[data-example]');
  if (row && (event.key === 'Enter' || event.key === ' ')) { event.preventDefault(); unfold(row); }
});
