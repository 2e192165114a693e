// What stands under an answer: how long it took, as a line, a bar and, opened, a table; buttons that copy. Texts become text nodes.

const SECONDS_SAID = 2500;

const element = (name, text = "", attributes = {}) => {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

// The clipboard needs https or this machine itself; elsewhere the older way still works.
const copy = async (text, host) => {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const field = host.appendChild(element("textarea", text, { style: "position: fixed; opacity: 0" }));
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (!copied) throw new Error("the browser refused");
};

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".foot");
  const wasOpen = root.querySelector("details")?.open ?? false;

  const bar = element("span", "", { class: "bar", "aria-hidden": "true" }); // the table says the same
  const total = data.stages.reduce((sum, stage) => sum + stage.ms, 0) || 1;
  for (const stage of data.stages) {
    const part = element("span", "", { title: `${stage.name}: ${stage.time}` });
    part.style.width = `${(100 * stage.ms) / total}%`;
    part.style.background = stage.colour;
    bar.append(part);
  }
  const summary = element("summary");
  summary.append(element("span", data.summary), bar);

  const table = element("table");
  table.append(element("caption", "Time by stage"));
  const head = table.appendChild(element("thead")).appendChild(element("tr"));
  for (const name of ["Stage", "Time", "Share"]) head.append(element("th", name, { scope: "col" }));
  const body = table.appendChild(element("tbody"));
  for (const stage of data.stages) {
    const row = body.appendChild(element("tr"));
    const name = row.appendChild(element("th", "", { scope: "row" }));
    const dot = name.appendChild(element("span", "", { class: "dot" }));
    dot.style.background = stage.colour;
    name.append(stage.name);
    row.append(element("td", stage.time), element("td", stage.share));
  }
  const details = element("details");
  details.open = wasOpen;
  details.append(summary, table);

  const said = element("span", "", { role: "status" });
  const buttons = element("div", "", { class: "buttons" });
  const offer = (label, text, done) => {
    const button = buttons.appendChild(element("button", label, { type: "button" }));
    button.addEventListener("click", async () => {
      try {
        await copy(text, root);
        said.textContent = done;
      } catch (error) {
        said.textContent = `Not copied: ${error.message}`;
      }
      setTimeout(() => (said.textContent = ""), SECONDS_SAID);
    });
  };
  offer("Copy with sources", data.copy, "Copied");
  if (data.link) offer("Copy link", new URL(data.link, document.baseURI).href, "Link copied");
  buttons.append(said);

  root.replaceChildren(details, buttons);
}
