"""One module per kernel family: what is measured, against what, and how accurate it is."""
