"use strict";
// Long tables can be searched and sorted; without this script they stand whole. Rows keep to the block they are in.
{
  const NUMBER = /^[<>≤≥≈~]?\s*\[?\s*([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:e[+-]?\d+)?)([kmbt](?![a-z]))?(?![\w.-]*\d)/i;
  const POWERS = {k: 1e3, m: 1e6, b: 1e9, t: 1e12};
  const words = new Intl.Collator("en", {numeric: true});
  const plain = text => text.replaceAll("−", "-").trim().toLowerCase();

  // A number where a cell begins with one, as an interval does (and 7m and 2.05M do, but no date); else its words.
  function value(cell) {
    const text = plain(cell?.textContent || ""), found = text.match(NUMBER);
    if (!found || !/\d/.test(found[1])) return text;
    const below = text[0] === "<" ? Number.EPSILON : 0;
    return Number(found[1].replaceAll(",", "")) * (POWERS[found[2]] || 1) - below;
  }

  // Numbers before words before nothing, whichever way the column is sorted.
  const rank = each => each === "" ? 2 : typeof each === "string" ? 1 : 0;
  const compare = (a, b, sign) =>
    rank(a) - rank(b) || sign * (typeof a === "number" ? a - b : words.compare(a, b));

  function sort(table, blocks, column) {
    const heads = [...table.tHead.rows[0].cells], head = heads[column];
    const next = {ascending: "descending", descending: null}, was = head.getAttribute("aria-sort");
    const way = was ? next[was] : "ascending";  // a third click brings back the page's own order
    for (const each of heads) each.removeAttribute("aria-sort");
    if (way) head.setAttribute("aria-sort", way);
    for (const {head, rows} of blocks) {
      const keys = new Map(rows.map(row => [row, way && value(row.cells[column])]));
      const sign = way === "descending" ? -1 : 1;
      const ordered = way ? [...rows].sort((a, b) => compare(keys.get(a), keys.get(b), sign)) : rows;
      for (const row of head ? [head, ...ordered] : ordered) table.tBodies[0].append(row);
    }
  }

  // Words that must all stand in a row or over its block; -word must not. A minus before a digit is a minus.
  function filter(blocks, texts, query, established) {
    const asked = plain(query).split(/\s+/).filter(word => word && word !== "-");
    const fits = text => asked.every(word =>
      /^-[^\d.]/.test(word) ? !text.includes(word.slice(1)) : text.includes(word));
    let shown = 0;
    for (const {head, rows} of blocks) {
      let here = 0;
      for (const row of rows) {
        row.hidden = !fits(texts.get(row)) || established && row.classList.contains("open");
        here += !row.hidden;
      }
      if (head) head.hidden = !here;
      shown += here;
    }
    return shown;
  }

  function equip(table) {
    const blocks = [{head: null, rows: []}];
    for (const row of table.tBodies[0].rows)
      if (row.classList.contains("task")) blocks.push({head: row, rows: []});
      else blocks.at(-1).rows.push(row);
    const rows = blocks.flatMap(block => block.rows);
    const read = row => row ? [...row.cells].map(cell => plain(cell.textContent)).join("\n") : "";
    const texts = new Map(blocks.flatMap(block => block.rows.map(row => [row, `${read(block.head)}\n${read(row)}`])));
    const bar = document.createElement("div"), fold = table.closest("details.rows");
    const marked = rows.some(row => row.classList.contains("open"));
    bar.className = "sift";
    bar.innerHTML = '<input type="search" placeholder="filter: words, -without" aria-label="Filter the rows by words; -word leaves rows out">'
      + (marked ? '<label><input type="checkbox"> established only</label>' : "") + '<output aria-live="polite"></output>';
    const [search, only] = bar.querySelectorAll("input"), count = bar.querySelector("output");
    bar.addEventListener("input", () => {
      const active = search.value.trim() !== "" || Boolean(only?.checked);
      const shown = filter(blocks, texts, search.value, Boolean(only?.checked));
      count.textContent = active ? `${shown} of ${rows.length} rows` : "";
      if (active && fold) fold.open = true;
    });
    (fold || table.closest(".scroll") || table).before(bar);
    for (const head of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "sort";
      button.append(...head.childNodes);
      if (!button.textContent.trim()) button.setAttribute("aria-label", `column ${head.cellIndex + 1}`);
      button.addEventListener("click", () => sort(table, blocks, head.cellIndex));
      head.append(button);
    }
  }

  for (const table of document.querySelectorAll("table.long")) equip(table);
}
