// The list of tools: which are on offer, and the form that changes one.
import { element } from "./view.js";

const EXAMPLE = {
  name: "FindBook",
  description: "Find a book in the library",
  parameters: {
    type: "object",
    properties: { title: { type: "string", description: "Title of the book" } },
    required: ["title"],
  },
};

const byId = (id) => document.getElementById(id);

export class ToolList {
  #entries = []; // {schema, offered, ours}: ours are those that the world runs
  #edited = null;

  constructor() {
    byId("add").addEventListener("click", () => this.#open(null));
    byId("cancel").addEventListener("click", () => byId("editor").close());
    byId("remove").addEventListener("click", () => this.#remove());
    byId("edit").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
  }

  reset(schemas) {
    this.#entries = schemas.map((schema) => ({ schema, offered: true, ours: true }));
    this.#show();
  }

  /** The schemas on offer. */
  get offered() {
    return this.#entries.filter((one) => one.offered).map((one) => one.schema);
  }

  /** Whether the reader has to give the results of this tool. */
  isReaders(name) {
    return this.#entries.some((one) => one.schema.name === name && !one.ours);
  }

  #show() {
    byId("tools").replaceChildren(...this.#entries.map((one) => {
      const box = element("input", { type: "checkbox", checked: one.offered });
      box.addEventListener("change", () => {
        one.offered = box.checked;
        this.#count();
      });
      const label = element("label", { className: "inline", title: one.schema.description ?? "" });
      label.append(box, one.schema.name);
      const edit = element("button", { type: "button", text: "Edit", ariaLabel: `Edit ${one.schema.name}` });
      edit.addEventListener("click", () => this.#open(one));
      return element("li", { children: [label, edit] });
    }));
    this.#count();
  }

  #count() {
    byId("offered").textContent = `${this.offered.length} of ${this.#entries.length} tools are on offer`;
  }

  #open(one) {
    this.#edited = one;
    byId("editor-heading").textContent = one ? one.schema.name : "New tool";
    byId("schema").value = JSON.stringify(one ? one.schema : EXAMPLE, null, 2);
    byId("schema-fault").textContent = "";
    byId("remove").hidden = !one;
    byId("editor").showModal();
    byId("schema").focus();
  }

  #save() {
    const fault = byId("schema-fault");
    let schema;
    try {
      schema = JSON.parse(byId("schema").value);
    } catch (error) {
      fault.textContent = `This is not JSON: ${error.message}`;
      return;
    }
    if (typeof schema?.name !== "string" || !schema.name) {
      fault.textContent = 'A tool needs a "name".';
      return;
    }
    if (this.#entries.some((one) => one !== this.#edited && one.schema.name === schema.name)) {
      fault.textContent = `There is a tool ${schema.name} already.`;
      return;
    }
    const renamed = this.#edited && this.#edited.schema.name !== schema.name;
    if (this.#edited) Object.assign(this.#edited, { schema, ours: this.#edited.ours && !renamed });
    else this.#entries.push({ schema, offered: true, ours: false });
    this.#done();
  }

  #remove() {
    this.#entries = this.#entries.filter((one) => one !== this.#edited);
    this.#done();
  }

  #done() {
    this.#show();
    byId("editor").close();
  }
}
