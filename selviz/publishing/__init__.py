"""Networks as pictures to look at and to give away: the board's data, and a static site of a run."""
