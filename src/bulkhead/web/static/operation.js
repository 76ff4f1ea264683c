// One operation: what it takes, what it answers, and a form to try it.

import { element, line, prose } from "./element.js";
import { exampleOf, nameOf, resolve, rulesOf } from "./schema.js";

/** The operation as a `<details>` whose inside is made when it is first opened. */
export function renderOperation(api, operation) {
  const box = element(
    "details",
    { class: operation.deprecated ? "operation deprecated" : "operation", id: operation.id },
    element(
      "summary",
      {},
      element("span", { class: `verb ${operation.method}` }, operation.method),
      element("span", { class: "path" }, operation.path),
      operation.security && element("span", { class: "pill" }, "needs a token"),
      operation.deprecated && element("span", { class: "pill" }, "deprecated"),
      element("span", { class: "what" }, ...line(operation.summary)),
    ),
  );
  box.addEventListener("toggle", () => {
    if (box.open && box.children.length === 1) box.append(renderInside(api, operation));
  });
  return box;
}

function renderInside(api, operation) {
  const body = bodyOf(operation);
  return element(
    "div",
    { class: "inside" },
    ...prose(operation.description === `${operation.summary}.` ? "" : operation.description),
    ...(operation.parameters.length ? [element("h3", {}, "Parameters"), renderParameters(api, operation)] : []),
    ...(body ? [element("h3", {}, `Body, ${body.type}`), ...renderSchema(api, body.schema)] : []),
    element("h3", {}, "Answers"),
    renderAnswers(api, operation),
    element("h3", {}, "Try it"),
    renderForm(api, operation, body),
  );
}

function renderParameters(api, operation) {
  const rows = operation.parameters.map((parameter) => [
    element("code", { class: parameter.required ? "required" : "" }, parameter.name),
    parameter.in,
    describe(api, parameter.schema),
    parameter.description ?? "",
  ]);
  return renderTable(["Name", "In", "Type", ""], rows);
}

/** The properties of an object as a table, anything else as its name; nested schemas below. */
function renderSchema(api, schema, seen = new Set()) {
  const found = resolve(api, schema);
  if (!found.properties) return [element("p", {}, element("code", {}, describe(api, schema)))];
  const required = new Set(found.required ?? []);
  const rows = Object.entries(found.properties).map(([name, part]) => [
    element("code", { class: required.has(name) ? "required" : "" }, name),
    describe(api, part),
    part.description ?? "",
  ]);
  const nested = Object.values(found.properties)
    .flatMap((part) => [part, part.items, ...(part.anyOf ?? [])])
    .filter((part) => part?.$ref && !seen.has(part.$ref) && resolve(api, part).properties);
  for (const part of nested) seen.add(part.$ref);
  return [
    renderTable(["Name", "Type", ""], rows),
    ...nested.flatMap((part) => [element("h4", {}, nameOf(api, part)), ...renderSchema(api, part, seen)]),
  ];
}

function describe(api, schema) {
  return [nameOf(api, schema), rulesOf(schema)].filter(Boolean).join(", ");
}

function renderAnswers(api, operation) {
  const rows = Object.entries(operation.responses).map(([status, answer]) => {
    const schema = Object.values(answer.content ?? {})[0]?.schema;
    const type = schema ? nameOf(api, schema) : "";
    const shown = schema && status !== "default"
      ? element("details", {}, element("summary", {}, type), ...renderSchema(api, schema))
      : type;
    return [element("code", {}, status === "default" ? "4xx, 5xx" : status), answer.description ?? "", shown];
  });
  return renderTable(["Status", "Meaning", "Body"], rows);
}

function renderTable(heads, rows) {
  return element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", {}, head)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))))),
  );
}

function bodyOf(operation) {
  const content = Object.entries(operation.requestBody?.content ?? {})[0];
  return content && { type: content[0], schema: content[1].schema };
}

function renderForm(api, operation, body) {
  const inputs = operation.parameters
    .filter((parameter) => parameter.in !== "cookie" && parameter.name.toLowerCase() !== "authorization")
    .map((parameter) => ({ parameter, input: element("input", { name: parameter.name, spellcheck: "false" }) }));
  const text = body && element("textarea", { "aria-label": "Body", spellcheck: "false" });
  if (text) text.value = JSON.stringify(exampleOf(api, body.schema), null, 2);
  const button = element("button", { type: "submit" }, "Send request");
  const answer = element("div", { class: "answer", "aria-live": "polite" });
  const fields = inputs.flatMap(({ parameter, input }) => {
    input.id = `${operation.id}-${parameter.name}`;
    input.placeholder = nameOf(api, parameter.schema);
    return [
      element("label", { for: input.id, class: parameter.required ? "required" : "" }, parameter.name),
      input,
    ];
  });
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    answer.replaceChildren(...(await send(operation, inputs, body?.type, text?.value)));
    button.disabled = false;
  };
  return element(
    "form",
    { onsubmit: submit },
    fields.length > 0 && element("div", { class: "fields" }, ...fields),
    text,
    text && element("p", {}, ""),
    button,
    answer,
  );
}

async function send(operation, inputs, type, text) {
  const { url, headers } = requestOf(operation, inputs);
  const token = sessionStorage.getItem("token");
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const started = performance.now();
  try {
    if (type && text.trim()) headers.set("Content-Type", type);
    const answer = await fetch(url, {
      method: operation.method.toUpperCase(),
      headers,
      body: type && text.trim() ? text : undefined,
    });
    return renderAnswer(url, answer, await answer.text(), performance.now() - started);
  } catch (error) {
    return [element("p", { class: "notice" }, `The request could not be sent: ${error.message}`)];
  }
}

function requestOf(operation, inputs) {
  let path = operation.path;
  const query = new URLSearchParams();
  const headers = new Headers();
  for (const { parameter, input } of inputs) {
    const value = input.value;
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value && parameter.in === "query") query.append(parameter.name, value);
    else if (value && parameter.in === "header") headers.set(parameter.name, value);
  }
  return { url: query.size ? `${path}?${query}` : path, headers };
}

function renderAnswer(url, answer, text, elapsed) {
  const headers = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  return [
    element(
      "div",
      { class: "line" },
      element("span", { class: `status ${answer.ok ? "good" : "bad"}` }, `${answer.status} ${answer.statusText}`),
      element("span", { class: "quiet" }, `${elapsed.toFixed(0)} ms`),
      element("code", {}, url),
    ),
    element("pre", { tabindex: "0" }, pretty(text) || "(no body)"),
    element("details", {}, element("summary", { class: "quiet" }, "Headers"), element("pre", {}, headers)),
  ];
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
