// A pad to draw on: white on black, as handwritten digits are stored. What is drawn goes to the server as one draws.

const SIDE = 224, SENT = 112, EVERY = 180;  // pixels on the pad and sent; milliseconds between two pictures

export default function ({data, parentElement, setStateValue}) {
  const host = parentElement.querySelector(".pad-host");
  if (host.pad) return;
  const canvas = host.querySelector("canvas"), clear = host.querySelector("button");
  const pen = canvas.getContext("2d"), small = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  small.width = small.height = SENT;
  host.pad = {drawing: null, count: 0, timer: null};
  const {pad} = host;
  const blank = () => { pen.fillStyle = data.background; pen.fillRect(0, 0, SIDE, SIDE); };
  const send = () => {
    pad.timer = null;
    const copy = small.getContext("2d");
    copy.drawImage(canvas, 0, 0, SENT, SENT);
    setStateValue("picture", {count: ++pad.count, uri: pad.count ? small.toDataURL("image/png") : ""});
  };
  const soon = () => { pad.timer ??= setTimeout(send, EVERY); };
  const at = event => {
    const frame = canvas.getBoundingClientRect();
    return [(event.clientX - frame.left) * SIDE / frame.width, (event.clientY - frame.top) * SIDE / frame.height];
  };
  const line = (from, to) => {
    pen.strokeStyle = pen.fillStyle = data.ink;
    pen.lineWidth = data.brush;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(to[0] + 0.01, to[1]);
    pen.stroke();
    soon();
  };
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    pad.drawing = at(event);
    line(pad.drawing, pad.drawing);
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", event => {
    if (!pad.drawing) return;
    const to = at(event);
    line(pad.drawing, to);
    pad.drawing = to;
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { pad.drawing = null; });
  clear.addEventListener("click", () => { blank(); soon(); });
  blank();
}
