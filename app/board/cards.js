// Cards of units: a picture, a name, how it is tuned. The whole card is a link; a plain click stays in the page.

const label = (tag, name, parent, text) => {
  const made = document.createElement(tag);
  made.className = name;
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
};

function card(about, data, pictures, open) {
  const link = document.createElement("a");
  link.className = "card";
  link.href = about.href;
  link.style.setProperty("--hue", about.hue);
  link.addEventListener("click", event => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    open(about.unit);
  });
  const picture = label("span", "card-picture", link);
  if (pictures && about.picture >= 0) {
    const side = 72, x = about.picture % pictures.across, y = Math.floor(about.picture / pictures.across);
    picture.style.backgroundImage = `url(${pictures.uri})`;
    picture.style.backgroundSize = `${pictures.across * side}px auto`;
    picture.style.backgroundPosition = `${-x * side}px ${-y * side}px`;
  }
  const words = label("span", "card-words", link);
  label("b", "", words, about.unit);
  label("span", "card-prefers", words, about.prefers);
  label("span", "", words, about.measure);
  const bars = label("span", "card-bars", link);
  bars.setAttribute("role", "img");
  bars.setAttribute("aria-label", about.tuning);
  bars.title = about.tuning;
  for (const [height, hue] of about.bars) {
    const bar = label("i", "", bars);
    bar.style.height = `${Math.max(4, 100 * height)}%`;
    bar.style.background = hue;
  }
  return link;
}

export default function ({data, parentElement, setTriggerValue}) {
  const shared = window.selvizBoards ??= {models: new Map(), waiting: new Set()};
  const host = parentElement.querySelector(".cards-host");
  const draw = () => {
    const model = shared.models.get(data.model);
    if (data.model && !model) return shared.waiting.add(draw);
    shared.waiting.delete(draw);
    host.open = unit => setTriggerValue("open", unit);
    const content = JSON.stringify(data);
    if (host.content === content) return; // drawn again, the cards would lose the focus
    host.content = content;
    const focused = host.getRootNode().activeElement?.closest?.(".card")?.getAttribute("href");
    host.classList.toggle("cards-dark", data.dark);
    host.replaceChildren(...data.groups.flatMap(group => {
      const head = document.createElement("h4");
      head.textContent = group.title;
      const grid = document.createElement("div");
      grid.className = "cards";
      const open = unit => host.open(unit);
      grid.append(...group.cards.map(about => card(about, data, data.pictures ?? model?.pictures, open)));
      return group.title ? [head, grid] : [grid];
    }));
    if (focused) [...host.querySelectorAll(".card")].find(one => one.getAttribute("href") === focused)?.focus();
  };
  draw();
  return () => shared.waiting.delete(draw);
}
