"""`python -m hanhtrinh` is the program `hanhtrinh`."""

from hanhtrinh.cli import main

main()
