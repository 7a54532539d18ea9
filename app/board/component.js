// A board in a page: draws `data.model` when it is there, tells Streamlit what its visitor did.
//
// The silent units go to the server as a whole and with a number, so that a click which overtakes another loses nothing,
// and an answer to an older click does not take back a newer one.

export default function ({data, parentElement, setStateValue, setTriggerValue}) {
  const shared = window.selvizBoards ??= {models: new Map(), waiting: new Set()};
  const host = parentElement.querySelector(".board-host");
  const emit = (event, value) => {
    if (event !== "silent") return setTriggerValue(event, value);
    host.clicks = (host.clicks ?? 0) + 1;
    setStateValue("silent", {clicks: host.clicks, units: value});
  };
  shared.boards ??= new Map();
  shared.boards.set(data.name, host);
  const draw = () => {
    const model = shared.models.get(host.data.model);
    if (!shared.Board || !model) return shared.waiting.add(draw);
    shared.waiting.delete(draw);
    const {clicks, ...view} = host.data;
    if (clicks < (host.clicks ?? 0)) view.silent = host.board.text(host.board.silent);
    host.clicks = Math.max(clicks, host.clicks ?? 0);
    host.board ??= new shared.Board(host, (...event) => host.emit(...event));
    host.board.findPeer = () => shared.boards.get(host.data.peer)?.board ?? null;
    host.board.show(model);
    host.board.update(view);
  };
  host.data = data;
  host.emit = emit;
  host.style.height = `${host.clientWidth < 640 ? data.narrow_height : data.height}px`;
  draw();
  return () => {
    shared.waiting.delete(draw);
    host.board?.remove();
    host.board = null;
    if (shared.boards.get(data.name) === host) shared.boards.delete(data.name);
  };
}
