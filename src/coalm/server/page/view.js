// Parts of the page. Whatever a model, a tool or a user wrote is set as text, never as markup.

/** A new element with text, class and children. */
export function element(name, { text, className, children = [], ...rest } = {}) {
  const made = Object.assign(document.createElement(name), rest);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** JSON with line breaks; other text as it is. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 1);
  } catch {
    return text;
  }
}

function fold(title, className, content, open) {
  const summary = element("summary", { text: title });
  return element("details", { className, children: [summary, content], open });
}

function block(text) {
  return element("pre", { text, tabIndex: 0 }); // long texts scroll; the keyboard has to reach them
}

/** A message of the log: a list item, and `update` to show what has come to the message since. */
export function entry(message) {
  const item = element("li", { className: message.role });
  if (message.role === "user") {
    item.append(element("h3", { text: "You" }), element("p", { text: message.content }));
    return { item, update() {} };
  }
  if (message.role === "tool") {
    item.append(fold(`Observation from ${message.name}`, "observation", block(pretty(message.content)), false));
    return { item, update() {} };
  }
  const thought = element("p");
  const thinking = fold("Thought", "thought", thought, true);
  const text = element("p");
  const calls = [];
  item.append(element("h3", { text: "CoALM" }));
  function update() {
    if (message.thought !== null && !thinking.isConnected) item.querySelector("h3").after(thinking);
    thought.textContent = message.thought ?? "";
    text.textContent = message.content;
    if (message.content && !text.isConnected) item.append(text);
    message.tool_calls.forEach((call, at) => {
      if (!calls[at]) {
        calls[at] = fold("", "call", block(""), true);
        item.append(calls[at]);
      }
      calls[at].querySelector("summary").textContent = `Calls ${call.name}`;
      calls[at].querySelector("pre").textContent = pretty(call.arguments);
    });
  }
  update();
  return { item, update };
}

/** Asks the reader for the result of a call of a tool that is theirs. */
export function resultForm(call, signal) {
  const id = `result-${call.id}`;
  const field = element("textarea", { id, rows: 3, required: true });
  const form = element("form", { children: [
    element("label", { htmlFor: id, text: `Result of ${call.name} ${call.arguments}` }),
    field,
    element("button", { text: "Give the result" }),
  ] });
  const item = element("li", { className: "tool", children: [form] });
  const result = new Promise((resolve, reject) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      resolve(field.value);
    });
    signal.addEventListener("abort", () => reject(signal.reason));
  });
  return { item, field, result };
}

/** The tables of the world; `show` marks what is new since the last time and says it in words. */
export class Tables {
  #place;
  #known = new Map();

  constructor(place) {
    this.#place = place;
  }

  reset(tables) {
    this.#known.clear();
    this.#place.replaceChildren();
    this.show(tables);
  }

  show(tables) {
    const news = [];
    for (const table of tables) {
      const before = this.#known.get(table.name);
      if (before && JSON.stringify(before.table) === JSON.stringify(table)) {
        before.body.querySelectorAll(".new").forEach((row) => this.#unmark(row));
        continue;
      }
      const body = before?.body ?? this.#fold(table.name);
      const added = before ? changes(before.table, table) : { rows: new Set(), words: "" };
      body.querySelector(".note").textContent = `${table.count} rows`;
      body.querySelector(".scroll").replaceChildren(sheet(table, added.rows));
      if (before) {
        body.open = true;
        news.push(`${table.name}: ${added.words}`);
      }
      this.#known.set(table.name, { table, body });
    }
    return news.join("; ");
  }

  #unmark(row) {
    row.classList.remove("new");
    row.querySelector(".hidden")?.remove();
  }

  #fold(name) {
    const summary = element("summary", { text: `${name} ` });
    summary.append(element("span", { className: "note" }));
    const scroll = element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: name });
    const made = element("details", { children: [summary, scroll] });
    made.dataset.table = name;
    this.#place.append(made);
    return made;
  }
}

function changes(before, table) {
  const more = table.count - before.count;
  if (more > 0) {
    const rows = new Set([...Array(more).keys()]);
    return { rows, words: `${more} new ${more === 1 ? "row" : "rows"}` };
  }
  if (more < 0) return { rows: new Set(), words: `${-more} fewer ${more === -1 ? "row" : "rows"}` };
  const old = new Set(before.rows.map((row) => JSON.stringify(row)));
  const rows = table.rows.map((row, at) => (old.has(JSON.stringify(row)) ? -1 : at));
  return { rows: new Set(rows.filter((at) => at >= 0)), words: "changed" };
}

function sheet(table, added) {
  const head = table.columns.map((name) => element("th", { text: name.replaceAll("_", " "), scope: "col" }));
  const body = table.rows.map((row, at) => {
    const cells = row.map((text) => element("td", { text }));
    if (!added.has(at)) return element("tr", { children: cells });
    cells[0].prepend(element("span", { className: "hidden", text: "new: " }));
    return element("tr", { className: "new", children: cells });
  });
  const shown = table.rows.length < table.count ? `the newest ${table.rows.length}` : "all rows";
  return element("table", { children: [
    element("caption", { text: shown }),
    element("thead", { children: [element("tr", { children: head })] }),
    element("tbody", { children: body }),
  ] });
}
