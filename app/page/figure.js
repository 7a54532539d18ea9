// A figure as a picture to take away: `await save(Plotly, figure, facts, "svg")`.
//
// facts: {stem, title, about, desc, ink, background, font}. The title stands over the figure, what `about` says under
// it; the same text is the SVG's description and the PNG's "Description".

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000, SIDE = 24, HEAD = 52, LINE = 16, LETTERS = 150;

async function save(Plotly, figure, facts, format) {
  const drawing = await draw(Plotly, figure, facts);
  const blob = format === "svg" ? new Blob([drawing.text], {type: "image/svg+xml"}) : await paint(drawing, facts.desc);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = facts.stem + "." + format;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

async function draw(Plotly, figure, facts) {
  const height = figure.layout.height || 450, lines = facts.about.flatMap(broken);
  const address = await Plotly.toImage({data: figure.data, layout: figure.layout},
    {format: "svg", width: WIDTH - 2 * SIDE, height});
  const plot = new DOMParser().parseFromString(decodeURIComponent(address.replace(/^[^,]*,/, "")), "image/svg+xml");
  const whole = HEAD + height + 12 + LINE * lines.length + 12;
  const root = element("svg", {xmlns: SVG, width: WIDTH, height: whole, viewBox: `0 0 ${WIDTH} ${whole}`});
  root.append(element("title", {}, facts.title), element("desc", {}, facts.desc));
  root.append(element("rect", {width: WIDTH, height: whole, fill: facts.background}));
  root.append(words(facts.title, 34, 22, facts, {"font-weight": 600}));
  const inner = document.importNode(plot.documentElement, true);
  inner.setAttribute("x", SIDE);
  inner.setAttribute("y", HEAD);
  root.append(inner);
  lines.forEach((line, row) =>
    root.append(words(line, HEAD + height + 24 + LINE * row, 11, facts, {"fill-opacity": 0.7})));
  return {text: new XMLSerializer().serializeToString(root), width: WIDTH, height: whole};
}

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (key !== "xmlns") made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function words(text, y, size, facts, more) {
  return element("text", {x: SIDE, y, "font-size": size, "font-family": facts.font, fill: facts.ink, ...more}, text);
}

function broken(text) {  // into lines, at a space where there is one
  const lines = [];
  while (text.length > LETTERS) {
    const space = text.lastIndexOf(" ", LETTERS), end = space > LETTERS / 2 ? space : LETTERS;
    lines.push(text.slice(0, end));
    text = text.slice(end).trimStart();
  }
  return [...lines, text];
}

async function paint(drawing, description) {  // twice the size, for a projector
  const address = URL.createObjectURL(new Blob([drawing.text], {type: "image/svg+xml"}));
  const picture = new Image();
  picture.src = address;
  await picture.decode();
  const canvas = document.createElement("canvas");
  canvas.width = 2 * drawing.width;
  canvas.height = 2 * drawing.height;
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(address);
  const plain = await new Promise(done => canvas.toBlob(done, "image/png"));
  return described(new Uint8Array(await plain.arrayBuffer()), description);
}

function described(png, text) {  // with a chunk of international text (PNG specification, 11.3.3.4) after the head
  const letters = new TextEncoder();
  const body = [...letters.encode("iTXtDescription"), 0, 0, 0, 0, 0, ...letters.encode(text)];
  const number = value => [24, 16, 8, 0].map(shift => (value >>> shift) & 255);
  let check = ~0;
  for (const byte of body) {
    check ^= byte;
    for (let bit = 0; bit < 8; bit++) check = (check >>> 1) ^ (check & 1 ? 0xedb88320 : 0);
  }
  const chunk = new Uint8Array([...number(body.length - 4), ...body, ...number(~check)]);
  const head = 33;  // the signature, 8 bytes, and the first chunk, 25
  return new Blob([png.slice(0, head), chunk, png.slice(head)], {type: "image/png"});
}
