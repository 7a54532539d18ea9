// Counts the presses of keys that step through something, and tells the server their sum, which no redrawing loses.

// What has a use of its own for letters while it has the focus, and for arrows.
const FIELDS = "input:not([type=radio], [type=checkbox], [type=range]), textarea, select, [contenteditable=true]";
const CHOICES = "input, canvas, [role=radio], [role=radiogroup], [role=slider], [role=tab], [role=option], " +
  "[role=listbox], [role=menu], [role=grid]";

export default function ({data, parentElement, setStateValue}) {
  const host = parentElement;
  if (host.visit !== data.visit) Object.assign(host, {visit: data.visit, steps: data.steps});
  host.send = () => setStateValue("pressed", {visit: host.visit, steps: host.steps});
  host.keys = data.keys;
  if (!host.listen) {
    host.listen = event => {
      const step = host.keys[event.key] ?? host.keys[event.key.toLowerCase()];
      if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
      event.stopPropagation(); // Streamlit listens on the document, for the button of the same key
      const owners = event.key.length > 1 ? `${FIELDS}, ${CHOICES}` : FIELDS;
      if (event.defaultPrevented || event.composedPath().some(one => one.matches?.(owners))) return;
      event.preventDefault();
      host.steps += step;
      host.send();
    };
    document.body.addEventListener("keydown", host.listen);
  }
  return () => {
    document.body.removeEventListener("keydown", host.listen);
    host.listen = null;
  };
}
