// A list of thousands of names of which only the rows in sight are elements; searched by typing.

const ROW = 28;

/** Indices of the names that have the text in them: those that begin with it first. */
export function search(names, text) {
  const wanted = text.trim().toUpperCase();
  const all = names.map((_, i) => i);
  if (wanted === "") return all;
  const upper = names.map((name) => name.toUpperCase());
  const first = all.filter((i) => upper[i].startsWith(wanted));
  return [...first, ...all.filter((i) => upper[i].includes(wanted) && !upper[i].startsWith(wanted))];
}

export class GeneList {
  constructor(input, list, choose) {
    this.input = input;
    this.list = list;
    this.choose = choose;
    this.spacer = list.querySelector(".spacer");
    this.names = [];
    this.found = [];
    this.active = 0;
    this.chosen = -1;
    input.addEventListener("input", () => this.filter());
    input.addEventListener("keydown", (event) => this.key(event));
    list.addEventListener("scroll", () => this.draw());
    list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.take(Number(option.dataset.row));
    });
  }

  setNames(names) {
    this.names = names;
    this.filter();
  }

  filter() {
    this.found = search(this.names, this.input.value);
    this.active = 0;
    this.list.scrollTop = 0;
    this.draw();
  }

  key(event) {
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    if (event.key in moves) {
      this.active = Math.min(this.found.length - 1, Math.max(0, this.active + moves[event.key]));
      const top = this.active * ROW;
      if (top < this.list.scrollTop) this.list.scrollTop = top;
      else if (top + ROW > this.list.scrollTop + this.list.clientHeight) this.list.scrollTop = top + ROW - this.list.clientHeight;
      this.draw();
    } else if (event.key === "Enter" && this.found.length > 0) this.take(this.active);
    else if (event.key === "Escape") this.input.blur();
    else return;
    event.preventDefault();
  }

  take(row) {
    this.active = row;
    this.chosen = this.found[row];
    this.draw();
    this.choose(this.chosen);
  }

  draw() {
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW) - 4);
    const last = Math.min(this.found.length, first + Math.ceil(this.list.clientHeight / ROW) + 9);
    this.spacer.style.height = `${Math.max(1, this.found.length) * ROW}px`;
    const rows = [];
    for (let row = first; row < last; ++row) {
      const option = document.createElement("div");
      option.id = `gene-${row}`;
      option.setAttribute("role", "option");
      option.dataset.row = String(row);
      option.style.top = `${row * ROW}px`;
      option.textContent = this.names[this.found[row]];
      option.setAttribute("aria-selected", String(this.found[row] === this.chosen));
      option.setAttribute("aria-posinset", String(row + 1));
      option.setAttribute("aria-setsize", String(this.found.length));
      if (row === this.active) option.classList.add("active");
      rows.push(option);
    }
    if (this.found.length === 0) {
      const none = document.createElement("div");
      none.className = "none";
      none.textContent = "No gene of that name";
      rows.push(none);
    }
    this.spacer.replaceChildren(...rows);
    this.input.setAttribute("aria-activedescendant", this.found.length > 0 ? `gene-${this.active}` : "");
  }
}
