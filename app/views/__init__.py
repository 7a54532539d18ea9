"""One page each; every file opens with the question that the page answers."""
