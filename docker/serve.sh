#!/bin/sh
# `bmtas serve`, without its announcement: the first one holds the admin token, which Docker would keep in its logs. The
# token stands in /data/admin-token as well; everything else is said on stderr.
exec bmtas serve "$@" > /dev/null
