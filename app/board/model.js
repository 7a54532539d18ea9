// What a board shows of one network, sent once: the class Board and its models wait here for the boards of the page.

export default function ({data}) {
  const shared = window.selvizBoards ??= {models: new Map(), waiting: new Set()};
  shared.Board = Board;
  shared.models.set(data.id, data);
  while (shared.models.size > 12) shared.models.delete(shared.models.keys().next().value);
  for (const start of [...shared.waiting]) start();
}
