"""How fast the service is: `python benchmarks/service.py [--database postgresql|URL] [--jobs N]` prints one table.

The real `bmtas serve --no-worker` on a free port, over HTTP, on SQLite, on a PostgreSQL started for it, or on an empty
one by its URL; each aim stands beside its figure, and it exits with 1 if one is missed. Only the first 10,000 jobs come
from the store directly, which saves minutes. All is in `service_load.py`: nothing is imported beside this file's name.
"""

import sys

from service_load import main

if __name__ == "__main__":
    sys.exit(main())
