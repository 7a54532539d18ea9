// Accuracies that a click is answered with go to its board here, before the rest of the page is drawn; those of an older
// click than the board's last one come too late.

export default function ({data}) {
  const host = window.selvizBoards?.boards?.get(data.name), {clicks, silent, ...accuracies} = data;
  if (!host?.board || clicks !== null && clicks !== host.clicks) return;
  host.board.answer(accuracies, silent);
}
