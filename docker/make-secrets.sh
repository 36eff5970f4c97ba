#!/bin/sh
# Makes the secrets that the services share, on their first start; what is there stays. None is ever printed.
#   db/password  PostgreSQL's password, for its own container (readable by the group that compose adds there)
#   db/pgpass    the same for the server, in the form libpq reads
#   ray/token    whoever holds it may run code on the Ray cluster
set -eu
umask 077
folder="${SECRETS_FOLDER:-/secrets}"

draw() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# A file appears whole or not at all: a first start that was cut off leaves no half secret behind.
keep() {
    cat > "$folder/$1.new"
    chmod "$2" "$folder/$1.new"
    mv "$folder/$1.new" "$folder/$1"
}

[ -s "$folder/db/password" ] || draw | keep db/password 0440
printf 'db:5432:bmtas:bmtas:%s\n' "$(cat "$folder/db/password")" | keep db/pgpass 0600
[ -s "$folder/ray/token" ] || draw | keep ray/token 0600
