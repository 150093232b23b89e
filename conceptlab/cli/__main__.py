"""`python -m conceptlab.cli`."""

from conceptlab.cli.entry import main

main()
