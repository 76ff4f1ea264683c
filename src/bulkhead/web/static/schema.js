// What a JSON schema says, as words and as an example.

/** Follow `$ref` inside `document`; a schema without one is returned as it is. */
export function resolve(document, schema) {
  let found = schema;
  for (let step = 0; found?.$ref && step < 16; step += 1) {
    found = found.$ref
      .split("/")
      .slice(1)
      .reduce((node, key) => node?.[key.replace(/~1/g, "/").replace(/~0/g, "~")], document);
  }
  return found ?? {};
}

/** The type in a few words: `string (uuid)`, `array of Item`, `string or null`. */
export function nameOf(document, schema) {
  if (schema?.$ref) return schema.$ref.split("/").pop();
  const known = schema ?? {};
  const options = known.anyOf ?? known.oneOf;
  if (options) return options.map((option) => nameOf(document, option)).join(" or ");
  if (known.enum) return known.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in known) return JSON.stringify(known.const);
  if (known.type === "array") return `array of ${nameOf(document, known.items)}`;
  const type = Array.isArray(known.type) ? known.type.join(" or ") : known.type;
  return known.format ? `${type} (${known.format})` : (type ?? "anything");
}

/** The rules beside the type: limits, patterns, defaults. */
export function rulesOf(schema) {
  const names = {
    minimum: "at least", maximum: "at most", exclusiveMinimum: "more than", exclusiveMaximum: "less than",
    minLength: "length at least", maxLength: "length at most", minItems: "items at least",
    maxItems: "items at most", pattern: "matches", default: "default",
  };
  const parts = [schema, ...(schema?.anyOf ?? [])];
  const rules = parts.flatMap((part) =>
    Object.entries(names)
      .filter(([key]) => part?.[key] !== undefined && part[key] !== null)
      .map(([key, words]) => `${words} ${typeof part[key] === "string" ? part[key] : JSON.stringify(part[key])}`),
  );
  return [...new Set(rules)].join(", ");
}

const BY_FORMAT = {
  uuid: "01980000-0000-7000-8000-000000000000",
  date: "2026-01-31",
  "date-time": "2026-01-31T12:00:00Z",
  email: "ada@example.com",
  uri: "https://example.com",
};

/** A value that fits the schema. */
export function exampleOf(document, schema, depth = 0) {
  const found = resolve(document, schema);
  if (found.examples?.length) return found.examples[0];
  for (const key of ["example", "default", "const"]) {
    if (found[key] !== undefined) return found[key];
  }
  if (found.enum) return found.enum[0];
  const options = found.anyOf ?? found.oneOf ?? found.allOf;
  if (options) return exampleOf(document, options.find((option) => option.type !== "null"), depth);
  if (depth > 6) return null;
  switch (found.type) {
    case "object":
      return Object.fromEntries(
        Object.entries(found.properties ?? {}).map(([name, part]) => [name, exampleOf(document, part, depth + 1)]),
      );
    case "array":
      return found.items ? [exampleOf(document, found.items, depth + 1)] : [];
    case "integer":
    case "number":
      return found.minimum ?? (found.exclusiveMinimum !== undefined ? found.exclusiveMinimum + 1 : 1);
    case "boolean":
      return true;
    case "string":
      return BY_FORMAT[found.format] ?? "text".padEnd(Math.min(found.minLength ?? 0, 80), ".");
    default:
      return null;
  }
}
