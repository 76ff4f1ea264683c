// The page: loads the description, lists the operations, filters them, keeps the token.

import { element, prose } from "./element.js";
import { renderOperation } from "./operation.js";

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];
const main = document.getElementById("main");
const index = document.getElementById("index");

async function fetchJson(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

/** All operations in the order of the description, each with its group. */
function operationsOf(api) {
  return Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({
      ...item[method],
      method,
      path,
      id: `${method}${path.replace(/[^A-Za-z0-9]+/g, "-")}`,
      parameters: [...(item.parameters ?? []), ...(item[method].parameters ?? [])],
      group: item[method].tags?.[0] ?? "other",
      part: item[method].tags?.[1] ?? "",
    })),
  );
}

function groupBy(items, key) {
  const groups = new Map();
  for (const item of items) groups.set(item[key], [...(groups.get(item[key]) ?? []), item]);
  return groups;
}

function titlesOf(api) {
  return new Map((api.tags ?? []).map((tag) => [tag.name, tag.description]));
}

function renderIndex(api, operations) {
  const titles = titlesOf(api);
  return [...groupBy(operations, "group")].flatMap(([group, members]) => [
    element("h3", {}, titles.get(group) ?? group),
    ...[...groupBy(members, "part")].flatMap(([part, inner]) => [
      ...(part ? [element("h4", {}, part)] : []),
      ...inner.map((operation) =>
        element(
          "a",
          { href: `#${operation.id}`, title: operation.path },
          element("span", { class: `verb ${operation.method}` }, operation.method === "delete" ? "del" : operation.method),
          element("span", {}, (operation.summary ?? operation.path).replaceAll("`", "")),
        ),
      ),
    ]),
  ]);
}

function renderGroups(api, operations) {
  const titles = titlesOf(api);
  return [...groupBy(operations, "group")].flatMap(([group, members]) => [
    element("h2", { id: `group-${group}` }, titles.get(group) ?? group),
    ...[...groupBy(members, "part")].flatMap(([part, inner]) => [
      ...(part ? [element("h3", {}, part)] : []),
      ...inner.map((operation) => renderOperation(api, operation)),
    ]),
  ]);
}

function showOperations(api) {
  const operations = operationsOf(api);
  main.replaceChildren(
    element("h1", {}, `${api.info.title} API`),
    ...prose(api.info.description),
    ...renderGroups(api, operations),
  );
  index.replaceChildren(...renderIndex(api, operations));
  listenToFilter((words) => {
    const matching = operations.filter((operation) => {
      const text = `${operation.method} ${operation.path} ${operation.summary} ${operation.tags}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    index.replaceChildren(...renderIndex(api, matching));
  });
  window.addEventListener("hashchange", openTarget);
  openTarget();
}

/** Calls `show` with the words in the filter whenever they change. */
function listenToFilter(show) {
  const filter = document.getElementById("filter");
  filter.addEventListener("input", () => show(filter.value.toLowerCase().split(/\s+/).filter(Boolean)));
}

function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
  target?.scrollIntoView();
}

function showErrors(errors) {
  main.replaceChildren(
    element("h1", {}, "Errors"),
    element("p", {}, "Every refusal and failure has a stable code. Words in braces are filled in with the details of the case."),
    ...[...groupBy(errors, "status")].flatMap(([status, members]) => [
      element("h2", {}, String(status)),
      ...members.map((error) =>
        element(
          "section",
          { class: "error", id: error.code },
          element("code", {}, error.code),
          element("p", {}, error.message),
          error.hint && element("p", { class: "quiet" }, error.hint),
        ),
      ),
    ]),
  );
  const list = (words) =>
    index.replaceChildren(
      ...errors
        .filter((error) => words.every((word) => `${error.code} ${error.message} ${error.hint}`.toLowerCase().includes(word)))
        .map((error) => element("a", { href: `#${error.code}` }, element("span", {}, error.code))),
    );
  list([]);
  listenToFilter(list);
  openTarget();
}

function keepToken() {
  const token = document.getElementById("token");
  token.value = sessionStorage.getItem("token") ?? "";
  token.addEventListener("input", () => sessionStorage.setItem("token", token.value.trim()));
}

function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/INPUT|TEXTAREA/.test(document.activeElement?.tagName ?? "")) {
      event.preventDefault();
      document.getElementById("filter").focus();
    }
  });
}

async function start() {
  keepToken();
  listenToKeys();
  try {
    const api = await fetchJson("/openapi.json");
    document.getElementById("title").textContent = api.info.title;
    document.getElementById("version").textContent = api.info.version;
    if (location.pathname === "/docs/errors") showErrors(await fetchJson("/docs/errors.json"));
    else showOperations(api);
  } catch (error) {
    main.replaceChildren(element("p", { class: "notice" }, `The description could not be loaded: ${error.message}`));
  }
}

start();
