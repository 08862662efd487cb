// What the page asks of the server. Nothing here touches the document.

/** An answer of the server that is no success; `status` is that of HTTP. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(path, key, body, signal) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers.Authorization = `Bearer ${key}`;
  const response = await fetch(path, {
    method: body === undefined ? "GET" : "POST",
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
  });
  if (response.ok) return response;
  const text = await response.text();
  let message = text;
  try {
    const said = JSON.parse(text);
    message = said.error?.message ?? said.detail ?? text;
  } catch { /* not JSON: the text itself */ }
  throw new ApiError(typeof message === "string" ? message : JSON.stringify(message), response.status);
}

/** The name of the model that is served. */
export async function modelName(key) {
  return (await (await ask("/v1/models", key)).json()).data[0].id;
}

/** A world of this visitor's own: `{id, system, tools, tables}`. */
export async function openWorld(key) {
  return (await ask("/page/sessions", key, {})).json();
}

/** Runs a call in the world: `{content, tables}`. */
export async function callTool(key, world, call, signal) {
  const body = { name: call.name, arguments: call.arguments };
  return (await ask(`/page/sessions/${world}/calls`, key, body, signal)).json();
}

/** The pieces of one answer as they come: OpenAI's deltas. */
export async function* answer(key, request, signal) {
  const response = await ask("/v1/chat/completions", key, { ...request, stream: true }, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new ApiError("the connection broke off", 0);
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new ApiError(event.error.message, 0);
      const choice = event.choices?.[0];
      if (choice) yield choice;
    }
  }
}

/** Adds a delta to the message that it is a piece of. */
export function extend(message, delta) {
  const thought = delta.reasoning_content ?? delta.reasoning;
  if (thought) message.thought = (message.thought ?? "") + thought;
  if (delta.content) message.content += delta.content;
  for (const part of delta.tool_calls ?? []) {
    const call = (message.tool_calls[part.index] ??= { id: "", name: "", arguments: "" });
    if (part.id) call.id = part.id;
    call.name += part.function?.name ?? "";
    call.arguments += part.function?.arguments ?? "";
  }
}

/** Our messages in OpenAI's form. */
export function toWire(messages) {
  return messages.flatMap((message) => {
    if (message.role !== "assistant") {
      const { role, content, tool_call_id: id } = message;
      return [role === "tool" ? { role, content, tool_call_id: id } : { role, content }];
    }
    const wire = { role: "assistant", content: message.content || null };
    if (message.thought !== null) wire.reasoning_content = message.thought;
    // a call that broke off cannot be said again; the observation tells the model of it
    const calls = message.tool_calls.filter((call) => !callRecord(call).error);
    if (calls.length) {
      wire.tool_calls = calls.map(({ id, name, arguments: text }) => (
        { id, type: "function", function: { name, arguments: text || "{}" } }));
    }
    return calls.length || message.content || !message.tool_calls.length ? [wire] : [];
  });
}

/** Our message as coalm keeps it in files: arguments are an object, what is empty is left out. */
export function toRecord(message) {
  const record = { role: message.role };
  if (message.content) record.content = message.content;
  if (message.thought !== null && message.role === "assistant") record.thought = message.thought;
  if (message.tool_calls?.length) record.tool_calls = message.tool_calls.map(callRecord);
  if (message.tool_call_id) record.tool_call_id = message.tool_call_id;
  if (message.name) record.name = message.name;
  return record;
}

function callRecord({ id, name, arguments: text }) {
  try {
    return { id, name, arguments: JSON.parse(text || "{}") };
  } catch (error) {
    return { id, raw: `${name} ${text}`, error: error.message };
  }
}
