// The run tables: one click event, whose data contains the heading, run or box that was pressed.
dsum.listenToRuns = (element, trigger) => {
  element.addEventListener('click', (event) => {
    const pressed = event.target.closest('[data-sort], [data-show], [data-remove], [data-choose], [data-use]');
    if (pressed) trigger('click', {...pressed.dataset});
  });
};

// Later, because what an event returned is not drawn yet.
dsum.scrollTo = (...selectors) => {
  setTimeout(() => {
    const found = selectors.map((one) => document.querySelector(one)).find(Boolean);
    found?.scrollIntoView({behavior: 'smooth', block: 'nearest'});
  }, 100);
};

// Nothing is saved before the saved form has been restored; what was typed meanwhile is saved then.
dsum.saveForm = (names, saved, ...values) =>
  [dsum.formRestored ? Object.fromEntries(names.map((name, index) => [name, values[index]])) : saved];

dsum.saveFormFromNowOn = (...given) => {
  dsum.formRestored = true;
  return dsum.saveForm(...given);
};

// Each source's own component is shown if it is chosen.
dsum.showSource = (sources, chosen) => sources.map((source) => ({__type__: 'update', visible: source === chosen}));
