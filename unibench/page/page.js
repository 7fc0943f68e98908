"use strict";
// Everything this script knows, it reads from the page: a row or heading carries the tokens of what it is about in
// data-f (t0 l3 m1 s0), a checkbox the token it stands for as its value, a number its exact value in data-value.
{
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (id) => document.getElementById(id);
  const tokens = (element) => new Set((element.dataset.f || "").split(" ").filter(Boolean));
  const facetOf = (token) => token[0];
  const collator = new Intl.Collator("en", { numeric: true });

  const boxes = all("#filters input[type=checkbox]");
  const tables = all("section.table").map((section) => {
    const rows = all("tbody tr", section).map((row, place) => ({ row, place, of: tokens(row) }));
    const heads = all("thead th", section).map((head, place) => ({ head, place, of: tokens(head) }));
    const links = all(`nav li a[href="#${section.id}"]`).map((link) => link.parentElement);
    return { section, rows, heads, links, body: section.querySelector("tbody"), sort: null, shown: rows.length };
  });
  const parts = all("details.part").map((part) => ({
    part,
    count: part.querySelector(".count"),
    tables: tables.filter(({ section }) => part.contains(section)),
    groups: all(".group", part),
    listed: one("contents").querySelector(`[data-of="${part.id}"]`),
  })).filter((part) => part.tables.length);
  const rowsOf = (some) => some.reduce((sum, { rows }) => sum + rows.length, 0);
  // as the page says it before anything is filtered
  const number = (n, of, what) =>
    `${n === of ? "" : `${n.toLocaleString("en")} of `}${of.toLocaleString("en")} ${what}${of === 1 ? "" : "s"}`;

  // ---- filters: or within a facet, and between facets; what says nothing of a facet passes it

  const passes = (of, chosen) => {
    for (const [facet, wanted] of chosen) {
      const mine = [...of].filter((token) => facetOf(token) === facet);
      if (mine.length && !mine.some((token) => wanted.has(token))) return false;
    }
    return true;
  };
  const speaksOf = (of, facet) => [...of].some((token) => facetOf(token) === facet);

  function filter() {
    const chosen = new Map();
    for (const box of boxes) {
      if (!box.checked) continue;
      const facet = facetOf(box.value);
      chosen.set(facet, (chosen.get(facet) || new Set()).add(box.value));
    }
    let rowsShown = 0, rowsAll = 0, tablesShown = 0;
    for (const table of tables) {
      const { section, rows, heads, links } = table;
      const hiddenHeads = heads.map(({ of }) => !passes(of, chosen));
      const spoken = [...chosen.keys()].filter((facet) => rows.some(({ of }) => speaksOf(of, facet)));
      const headed = [...chosen.keys()].filter((facet) => heads.some(({ of }) => speaksOf(of, facet)));
      let shown = 0, own = 0;
      for (const { row, of } of rows) {
        row.hidden = !passes(of, chosen);
        shown += !row.hidden;
        own += !row.hidden && spoken.every((facet) => speaksOf(of, facet));
      }
      heads.forEach(({ head }, place) => {
        if (head.hidden === hiddenHeads[place]) return;
        for (const cell of [head, ...rows.map(({ row }) => row.cells[place])]) cell.hidden = hiddenHeads[place];
      });
      const columnsLeft = headed.every((facet) => heads.some(({ of }, i) => !hiddenHeads[i] && speaksOf(of, facet)));
      section.hidden = chosen.size > 0 && (!own || !columnsLeft);
      for (const link of links) link.hidden = section.hidden;
      rowsAll += rows.length;
      table.shown = shown;
      if (!section.hidden) {
        rowsShown += shown;
        tablesShown += 1;
      }
    }
    const some = chosen.size > 0;
    for (const { part, tables: mine, count, groups, listed } of parts) {
      const left = mine.filter(({ section }) => !section.hidden);
      part.hidden = listed.hidden = !left.length;
      const rowsLeft = left.reduce((sum, { shown }) => sum + shown, 0);
      count.textContent = `${number(left.length, mine.length, "table")}, ${number(rowsLeft, rowsOf(mine), "row")}`;
      for (const group of groups) group.hidden = all("section.table", group).every((section) => section.hidden);
      all("p", listed).forEach((name, place) => (name.hidden = groups[place].hidden));
      for (const list of all("ul", listed)) list.hidden = [...list.children].every((item) => item.hidden);
    }
    one("nothing").hidden = !some || tablesShown > 0;
    one("clear").hidden = !some;
    say(some
      ? `${number(rowsShown, rowsAll, "row")}, in ${number(tablesShown, tables.length, "table")}. Figures show everything.`
      : `${number(rowsAll, rowsAll, "row")} in ${number(tables.length, tables.length, "table")}.`);
    for (const menu of all(".choice")) {
      const names = all("input:checked", menu).map((box) => box.dataset.name);
      menu.querySelector(".chosen").textContent =
        names.length === 0 ? "" : names.length < 3 ? `: ${names.join(", ")}` : `: ${names.length} chosen`;
    }
  }

  const say = (words, where = "said") => (one(where).textContent = words);

  // ---- sorting: numbers by value, then nan, then what has no number, in either direction; ties keep their order

  const key = (cell, numeric) => {
    if (numeric) {
      const value = cell.dataset.value;
      return value === undefined ? [2, 0] : value === "nan" ? [1, 0] : [0, Number(value)];
    }
    const words = cell.textContent.trim();
    return [words ? 0 : 1, words];
  };

  function sort(table, place, direction) {
    const head = table.heads[place].head;
    const numeric = head.classList.contains("n");
    const sign = direction === "descending" ? -1 : 1;
    const keyed = table.rows.map((entry) => ({ ...entry, key: key(entry.row.cells[place], numeric) }));
    if (direction) {
      keyed.sort((a, b) =>
        a.key[0] - b.key[0] ||
        sign * (numeric ? a.key[1] - b.key[1] : collator.compare(a.key[1], b.key[1])) ||
        a.place - b.place);
    }
    table.body.append(...keyed.map(({ row }) => row));
    for (const other of table.heads) other.head.removeAttribute("aria-sort");
    if (direction) head.setAttribute("aria-sort", direction);
    table.sort = direction ? { place, direction } : null;
  }

  function next(table, place) {
    const first = table.heads[place].head.dataset.first;
    const second = first === "ascending" ? "descending" : "ascending";
    const now = table.sort && table.sort.place === place ? table.sort.direction : null;
    const direction = now === null ? first : now === first ? second : null;
    sort(table, place, direction);
    const name = table.heads[place].head.textContent.trim();
    say(direction ? `Sorted by ${name}, ${direction}.` : "Back in the report's own order.", "sorted");
    remember();
  }

  for (const table of tables) {
    for (const { head, place } of table.heads) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => next(table, place));
    }
  }

  // ---- the view is in the address, so that it can be shared; a plain #id stays a place on the page

  const state = () => {
    const parameters = new URLSearchParams();
    for (const box of boxes) if (box.checked) parameters.append(box.dataset.facet, box.dataset.name);
    for (const { section, sort: by } of tables) if (by) parameters.append("sort", `${section.id}.${by.place}.${by.direction}`);
    return parameters;
  };

  function remember(at) {
    const parameters = state();
    if (at) parameters.append("at", at);
    history.replaceState(null, "", `#${parameters}`);
  }

  function recall() {
    const hash = location.hash.slice(1);
    if (hash && !hash.includes("=")) {
      filter();
      return go(hash);
    }
    const parameters = new URLSearchParams(hash);
    for (const box of boxes) box.checked = parameters.getAll(box.dataset.facet).includes(box.dataset.name);
    for (const table of tables) if (table.sort) sort(table, table.sort.place, null);
    for (const words of parameters.getAll("sort")) {
      const [id, place, direction] = words.split(".");
      const table = tables.find(({ section }) => section.id === id);
      if (table && table.heads[Number(place)] && ["ascending", "descending"].includes(direction)) {
        sort(table, Number(place), direction);
        reveal(table.section);
      }
    }
    filter();
    go(parameters.get("at"));
  }

  // ---- what is folded opens for whom a link leads into it

  function reveal(element) {
    for (let at = element; at; at = at.parentElement) if (at.localName === "details") at.open = true;
  }

  function go(id) {
    const target = id && one(id);
    if (!target) return;
    reveal(target);
    if (!target.hasAttribute("tabindex")) target.tabIndex = -1;
    target.focus({ preventScroll: true });
    target.scrollIntoView();
  }

  for (const link of all("a[href^='#']")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      close();
      const id = link.getAttribute("href").slice(1);
      if (state().size) remember(id);
      else history.replaceState(null, "", `#${id}`);
      go(id);
    });
  }

  // ---- menus: one open at a time; Escape and a click elsewhere close it

  const menus = all(".menu");
  const close = (but) => menus.forEach((menu) => menu !== but && (menu.open = false));
  for (const menu of menus) menu.addEventListener("toggle", () => menu.open && close(menu));
  document.addEventListener("click", (event) => close(event.target.closest(".menu")));
  document.addEventListener("keydown", (event) => {
    const open = menus.find((menu) => menu.open);
    if (event.key !== "Escape" || !open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });
  for (const find of all(".find")) {
    find.addEventListener("input", () => {
      const wanted = find.value.trim().toLocaleLowerCase("en");
      for (const item of all("li", find.parentElement)) {
        item.hidden = !item.textContent.toLocaleLowerCase("en").includes(wanted);
      }
    });
  }

  // ---- light and dark, remembered no longer than the page is open

  const themes = ["system", "light", "dark"];
  let theme = 0;
  one("theme").addEventListener("click", () => {
    theme = (theme + 1) % themes.length;
    if (theme) document.documentElement.dataset.theme = themes[theme];
    else delete document.documentElement.dataset.theme;
    one("theme").textContent = `Theme: ${themes[theme]}`;
  });

  // ---- all parts at once

  const folds = all("main details.part, main details.more");
  const unfold = () => folds.some((details) => !details.open);
  const label = () => (one("unfold").textContent = unfold() ? "Unfold all" : "Fold all");
  one("unfold").addEventListener("click", () => {
    const open = unfold();
    for (const details of folds) details.open = open;
  });
  for (const details of folds) details.addEventListener("toggle", label);
  label();

  // ---- on paper no note is folded away; a part is as the reader left it

  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = all("details.notes:not([open]), footer details:not([open])");
    for (const details of opened) details.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });

  boxes.forEach((box) => box.addEventListener("change", () => (filter(), remember())));
  one("clear").addEventListener("click", () => {
    for (const box of boxes) box.checked = false;
    filter();
    remember();
    one("filters").querySelector("summary").focus();
  });
  window.addEventListener("hashchange", recall);
  for (const id of ["filters", "unfold", "theme", "said", "hint"]) one(id).hidden = false;
  recall();
}
