// The conversation: what the reader says goes to the model, what it calls goes to the world, until
// it replies.
import { ApiError, answer, callTool, extend, modelName, openWorld, toRecord, toWire } from "./api.js";
import { ToolList } from "./tools.js";
import { Tables, entry, resultForm } from "./view.js";

const MOST_STEPS = 10; // times the model may speak in one turn
const byId = (id) => document.getElementById(id);
const tables = new Tables(byId("tables"));
const tools = new ToolList();
let world = null;
let model = "";
let messages = [];
let running = null; // stops the turn under way

function key() {
  return byId("key").value;
}

function say(status) {
  byId("status").textContent = status;
}

function fault(error) {
  if (error.name === "AbortError") {
    say("Stopped.");
    return;
  }
  const hint = error instanceof ApiError && error.status === 401 ? " (see Settings)" : "";
  byId("fault").textContent = `${error.message}${hint}`;
}

function show(message) {
  const shown = entry(message);
  byId("log").append(shown.item);
  shown.item.scrollIntoView({ block: "nearest" });
  return shown;
}

function add(message) {
  messages.push(message);
  return show(message);
}

/** One answer of the model, shown while it comes. */
async function speak(signal) {
  const message = { role: "assistant", content: "", thought: null, tool_calls: [] };
  const system = byId("system").value.trim();
  const past = toWire(messages);
  const request = {
    model,
    messages: system ? [{ role: "system", content: system }, ...past] : past,
  };
  const offered = tools.offered;
  if (offered.length) request.tools = offered.map((schema) => ({ type: "function", function: schema }));
  const shown = show(message);
  try {
    for await (const choice of answer(key(), request, signal)) {
      extend(message, choice.delta ?? {});
      shown.update();
      if (choice.finish_reason === "length") message.cut = true;
    }
  } catch (error) {
    // calls that were not written to their end are not run, and so not remembered
    message.tool_calls = [];
    if (message.content) messages.push(message);
    else shown.item.remove();
    throw error;
  }
  messages.push(message);
  return message;
}

/** The result of one call, and what it changed in the world. */
async function observe(call, signal) {
  if (tools.isReaders(call.name)) {
    const form = resultForm(call, signal);
    byId("log").append(form.item);
    form.field.focus();
    try {
      return await form.result;
    } finally {
      form.item.remove();
    }
  }
  const observed = await callTool(key(), world.id, call, signal);
  const news = tables.show(observed.tables);
  say(news ? `${call.name} was called. ${news}.` : `${call.name} was called.`);
  return observed.content;
}

async function act(calls, signal) {
  let problem = null;
  for (const call of calls) {
    let content;
    try {
      if (problem) throw problem;
      content = await observe(call, signal);
    } catch (error) {
      // every call has a result, or no later answer could be asked for
      problem = error;
      content = JSON.stringify({ error: "no result: the turn was interrupted" });
    }
    add({ role: "tool", content, name: call.name, tool_call_id: call.id });
  }
  if (problem) throw problem;
}

async function turn(text, signal) {
  add({ role: "user", content: text });
  for (let step = 0; step < MOST_STEPS; step += 1) {
    say("The model is writing.");
    const said = await speak(signal);
    if (!said.tool_calls.length) {
      say(said.cut ? "The answer was cut off at its limit of tokens." : "");
      // the log is no live region, or every word would be read out alone
      byId("spoken").textContent = `CoALM said: ${said.content}`;
      return;
    }
    await act(said.tool_calls, signal);
  }
  say(`The turn was ended after ${MOST_STEPS} steps.`);
}

function busy(is) {
  byId("send").disabled = is;
  byId("stop").hidden = !is;
  byId("new").disabled = is;
  byId("download").disabled = is || !messages.length;
  byId("log").ariaBusy = String(is);
}

async function send(event) {
  event?.preventDefault();
  const field = byId("say");
  const text = field.value.trim();
  if (!text || running) return;
  running = new AbortController();
  busy(true);
  byId("fault").textContent = "";
  try {
    if (!world) await start();
    field.value = "";
    await turn(text, running.signal);
  } catch (error) {
    fault(error);
  } finally {
    running = null;
    busy(false);
    field.focus();
  }
}

async function start() {
  model = await modelName(key());
  byId("model").textContent = model;
  world = await openWorld(key());
  byId("system").value = world.system;
  tools.reset(world.tools);
  tables.reset(world.tables);
}

async function anew() {
  messages = [];
  byId("log").replaceChildren();
  byId("fault").textContent = "";
  world = null;
  say("");
  busy(false);
  try {
    await start();
  } catch (error) {
    fault(error);
  }
  byId("say").focus();
}

function download() {
  const system = byId("system").value.trim();
  const records = messages.map(toRecord);
  if (system) records.unshift({ role: "system", content: system });
  const conversation = { id: world.id, messages: records, tools: tools.offered };
  const file = new Blob([`${JSON.stringify(conversation)}\n`], { type: "application/jsonl" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = "coalm-session.jsonl";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

byId("ask").addEventListener("submit", send);
byId("say").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
});
byId("stop").addEventListener("click", () => running?.abort());
byId("new").addEventListener("click", anew);
byId("download").addEventListener("click", download);
byId("key").addEventListener("change", () => { if (!world) anew(); });
byId("thoughts").addEventListener("change", (event) =>
  document.body.classList.toggle("without-thoughts", !event.target.checked));
anew();
