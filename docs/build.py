"""Regenerate the pages and pictures of docs/ from the code they describe.

python docs/build.py
"""

import findings
import laws

if __name__ == "__main__":
    laws.main()
    findings.main()
