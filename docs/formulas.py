"""The demonstrations of docs/formulas.md, from a shell: `python docs/formulas.py --list`. They are in
the folder `formulas/` beside this file.
"""

from formulas.command import main

if __name__ == "__main__":
    main()
