"""`python -m conceptlab`."""

from conceptlab.cli.entry import main

main()
