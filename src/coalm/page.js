// The browser of records. Everything is set as text, never as markup.
"use strict";
(() => {
  const source = document.getElementById("records");
  if (!source) return;
  const { texts, records } = JSON.parse(source.textContent);
  const byId = (id) => document.getElementById(id);
  const [form, search, found, list, more] = ["filters", "search", "found", "list", "more"].map(byId);
  const filters = [...form.querySelectorAll("select")];
  const STEP = 50;
  let matches = [];
  let shown = 0;
  let wanted = null; // the one record that a link asks for

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function block(text) {
    if (text === "") return element("p", "(empty)", "empty");
    const made = element("pre", text);
    made.tabIndex = 0; // long texts scroll; the keyboard has to reach them
    return made;
  }

  function content(value) {
    if (typeof value === "number") return block(texts[value]);
    if (value.pieces) {
      const whole = block(" ");
      whole.replaceChildren(...value.pieces.map(([text, marked]) =>
        element(marked ? "mark" : "span", texts[text])));
      return whole;
    }
    const made = element("dl");
    for (const [who, text] of value) {
      const said = element("dd");
      said.append(block(texts[text]));
      made.append(element("dt", who), said);
    }
    return made;
  }

  function fold(summary, open, fill) {
    const made = element("details");
    let filled = false;
    made.append(summary);
    made.addEventListener("toggle", () => {
      if (!made.open || filled) return;
      filled = true;
      fill(made);
    });
    made.open = open;
    return made;
  }

  function entry(record, open) {
    const summary = element("summary", `${record.id} `);
    summary.append(element("span", record.note, "note"));
    return fold(summary, open, (made) => {
      for (const [title, value, unfolded] of record.parts) {
        made.append(fold(element("summary", title), unfolded, (part) => part.append(content(value))));
      }
    });
  }

  function textsOf(record) {
    const places = record.parts.flatMap(([, value]) =>
      typeof value === "number" ? [value]
        : value.pieces ? value.pieces.map(([text]) => text) : value.map(([, text]) => text));
    return [record.id, record.note, ...places.map((place) => texts[place])];
  }

  function fits(record) {
    if (wanted !== null) return record.id === wanted;
    const word = search.value.toLowerCase();
    return filters.every((filter, at) => !filter.value || record.tags[at].includes(filter.value)) &&
      (!word || textsOf(record).some((text) => text.toLowerCase().includes(word)));
  }

  function showMore() {
    const next = matches.slice(shown, shown + STEP).map((record) => entry(record, wanted !== null));
    list.append(...next);
    shown += next.length;
    more.hidden = shown >= matches.length;
    found.textContent = `${matches.length} of ${records.length} samples` +
      (shown < matches.length ? `, the first ${shown} are shown` : "");
    return next;
  }

  function refresh() {
    matches = records.filter(fits);
    shown = 0;
    list.replaceChildren();
    showMore();
  }

  function follow() {
    const mark = "#record=";
    if (!location.hash.startsWith(mark)) return;
    wanted = decodeURIComponent(location.hash.slice(mark.length));
    form.reset();
    refresh();
    byId("browser-heading").scrollIntoView();
    list.querySelector("summary")?.focus({ preventScroll: true });
  }

  function change() {
    wanted = null;
    refresh();
  }

  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(change, 200);
  });
  form.addEventListener("change", change);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => showMore()[0]?.querySelector("summary").focus());
  window.addEventListener("hashchange", follow);
  form.hidden = false;
  refresh();
  follow();
})();
