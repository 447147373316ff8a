/* Small interactions; the page says everything without them. No name from a table is ever made markup here. */
"use strict";
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const make = (name, text) => { const node = document.createElement(name); node.textContent = text || ""; return node; };

  /* Print opens what is folded, and folds it again. */
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    opened.forEach((node) => { node.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((node) => { node.open = false; }));

  /* A link into a folded part opens it. */
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  };
  addEventListener("hashchange", reveal);
  reveal();

  /* Values on touch and keyboard: what a mouse sees as a title. */
  const tip = make("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");
  document.body.append(tip);
  const words = (node) => {
    const titled = node.closest("[title]");
    if (titled) return titled.title;
    const own = node.querySelector(":scope > title");
    return own ? own.textContent : "";
  };
  const show = (node, x, y) => {
    const text = node instanceof Element ? words(node) : "";
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    tip.style.left = `${Math.max(4, Math.min(x, innerWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(4, y - tip.offsetHeight - 10)}px`;
  };
  addEventListener("click", (event) => show(event.target, event.clientX, event.clientY));
  addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
  addEventListener("scroll", () => { tip.hidden = true; }, true);
  all("table.matrix").forEach((table) => {
    const cells = all("td[title]", table);
    if (!cells.length) return;
    cells.forEach((cell, i) => { cell.tabIndex = i ? -1 : 0; });
    const width = all("tbody tr:first-child td[title]", table).length;
    table.addEventListener("keydown", (event) => {
      const at = cells.indexOf(event.target);
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: width, ArrowUp: -width }[event.key];
      if (at < 0 || !step || !cells[at + step]) return;
      event.preventDefault();
      cells[at].tabIndex = -1;
      cells[at + step].tabIndex = 0;
      cells[at + step].focus();
    });
    table.addEventListener("focusin", (event) => {
      const box = event.target.getBoundingClientRect();
      show(event.target, box.left, box.top);
    });
    table.addEventListener("focusout", () => { tip.hidden = true; });
  });

  /* Groups that are told apart by words, such as the true class and the predicted one: a list of each chooses. */
  all("section").forEach((section) => {
    const groups = all("[data-filter]", section).map((node) => ({ node, facets: JSON.parse(node.dataset.filter) }));
    const place = make("p");
    place.className = "filter small";
    const lists = [...new Set(groups.flatMap((group) => Object.keys(group.facets)))].flatMap((name) => {
      const values = [...new Set(groups.map((group) => group.facets[name]))].filter((value) => value !== undefined);
      if (values.length < 2) return [];
      const label = make("label", `${name} `);
      const select = make("select");
      ["all", ...values].forEach((value) => select.append(make("option", value)));
      label.append(select);
      place.append(label, " ");
      return [{ name, select, values }];
    });
    if (!lists.length) return;
    section.insertBefore(place, section.querySelector("h2").nextSibling);
    place.addEventListener("change", () => {
      const chosen = lists.filter((list) => list.select.selectedIndex > 0);
      groups.forEach(({ node, facets }) => {
        node.hidden = chosen.some((list) => facets[list.name] !== list.values[list.select.selectedIndex - 1]);
        if (chosen.length && !node.hidden) node.open = true;
      });
    });
  });

  /* A field that can be enlarged. */
  all(".field").forEach((field) => {
    const frame = field.parentElement;
    const marks = all(".p", field);
    frame.tabIndex = 0;
    frame.setAttribute("role", "group");
    frame.setAttribute("aria-label", "Map: plus and minus zoom, arrows move, n and p step through the marks");
    let zoom = 1;
    let current = -1;
    const set = (value) => {
      const x = (frame.scrollLeft + frame.clientWidth / 2) / field.offsetWidth;
      const y = (frame.scrollTop + frame.clientHeight / 2) / field.offsetHeight;
      zoom = Math.max(1, Math.min(8, value));
      field.style.width = `${100 * zoom}%`;
      field.classList.toggle("enlarged", field.offsetWidth > 1000);
      frame.scrollLeft = x * field.offsetWidth - frame.clientWidth / 2;
      frame.scrollTop = y * field.offsetHeight - frame.clientHeight / 2;
    };
    const buttons = make("p");
    buttons.className = "zoom small";
    [["Zoom in", 1.6], ["Zoom out", 1 / 1.6], ["Whole map", 0]].forEach(([name, factor]) => {
      const button = make("button", name);
      button.type = "button";
      button.addEventListener("click", () => set(factor ? zoom * factor : 1));
      buttons.append(button);
    });
    frame.before(buttons);
    frame.addEventListener("keydown", (event) => {
      if (event.key === "+" || event.key === "-") set(zoom * (event.key === "+" ? 1.6 : 1 / 1.6));
      if ((event.key !== "n" && event.key !== "p") || !marks.length) return;
      current = (current + (event.key === "n" ? 1 : marks.length - 1 + (current < 0))) % marks.length;
      marks[current].tabIndex = -1;
      marks[current].focus();
    });
  });
})();
