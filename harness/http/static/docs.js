// The OpenAPI document for people.
const description = await (await fetch("/api/openapi.json")).json();
const make = (tag, text = "", ...children) => {
  const element = document.createElement(tag);
  element.append(text, ...children);
  return element;
};
const groups = new Map();
for (const [path, methods] of Object.entries(description.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    const group = groups.get(operation.tags[0]) || [];
    group.push([method.toUpperCase(), path, operation]);
    groups.set(operation.tags[0], group);
  }
}
const target = document.getElementById("endpoints");
const prose = (text) => text.split("`").map((part, index) => (index % 2 ? make("code", part) : part));
target.append(make("p", "", ...prose(description.info.description)));
target.append(make("p", "", ...prose("Every path takes `?tenant=NAME` (or the header `X-Mailjam-Tenant`): the system of that tenant.")));
for (const [name, operations] of groups) {
  const body = make("tbody");
  for (const [method, path, operation] of operations) {
    const cell = make("td", operation.summary);
    const queries = operation.parameters.filter((one) => one.in === "query" && one.name !== "tenant");
    if (queries.length) cell.append(make("ul", "", ...queries.map((one) => make("li", `${one.name}: ${one.description}`))));
    body.append(make("tr", "", make("td", `${method} ${path}`), cell));
  }
  target.append(make("h2", name), make("table", "", body));
}
