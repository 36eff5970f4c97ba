"""How fast the service is: `python benchmarks/service.py [--database URL] [--jobs N] [--json]` prints one table.

The real `bmtas serve --no-worker` on a free port, over HTTP, on SQLite or on the empty PostgreSQL database of the URL;
it exits with 1 if an aim is missed. Only the queue's 10,000 jobs and architectures come from the store directly, since
submitting them would take minutes. All is in `service_load.py`: nothing can be imported beside a file of this name.
"""

import sys

from service_load import main

if __name__ == "__main__":
    sys.exit(main())
