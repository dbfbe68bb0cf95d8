"""The topics of `help TOPIC`, beside the commands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    """A page of help: one line for the overview, and the page; examples are indented by four spaces."""

    summary: str
    text: str


TOPICS = {
    "start": Topic(
        "the first five minutes",
        """\
Records live in buckets. A record is named `bucket/key`.

    put user/ada {"name": "Ada"}          write a record
    get user/ada                          read it
    ls                                    the buckets
    ls user                               the keys of a bucket
    scan user --limit 10                  the records of a bucket

A record can point to others with refs, and a read can follow these:

    put post/p1 {"title": "Hello", "author": @user/ada}
    get post/p1 { author: via author }

While you type, the line below shows what comes next. Tab proposes names, also those of your records.
`help relations`, `help logic` and `help locks` go on from here.
""",
    ),
    "relations": Topic(
        "nested reads: one request for a whole tree of records",
        """\
After the record, braces hold relations. Each has a name and one of these:

    posts: post/p1, post/p2                 records by their keys
    posts: (post/p1, post/p2) limit 1       the same, with one limit and one block for all
    team: via team                          the refs at that field of the record
    home: via address.city in city          the keys at a path, in a bucket
    fans: where follows(X, $key) in user    the keys that a query finds; $key is the key of the record above

Any of them may have relations of its own, to any depth, over as many lines as you like:

    get user/ada {
      posts: post/p1, post/p2 { author: via author }
      fans: where follows(X, $key) in user limit 10 { team: via team }
    }

`limit N` cuts, and the result says how many were cut; a record that is not there is shown as missing.
The first variable of a query is the wanted one; `var Y` names another. The JSON of the wire form works too:

    get user/ada {"posts": [{"bucket": "post", "key": "p1"}], "team": {"path": "team"}}
    get {"bucket": "user", "key": "ada", "relations": {"team": {"path": "team"}}}
""",
    ),
    "values": Topic(
        "what a record can hold, and how it is written",
        """\
Values are JSON. What JSON has no form for is written as an object with one member:

    {"$ref": "post/p1"}                   a ref to a record; while typing also @post/p1
    {"$ref": ["post/p1", 7]}              a ref that names the version of its record
    {"$bytes": "aGk="}                    bytes, in base64
    {"$time": "2026-01-31T12:00:00+00:00"}
    {"$float": "nan"}                     also "inf", "-inf"
    {"$map": [[1, "one"]]}                a map whose keys are not all text
    {"$ext": [5, "aGk="]}                 a MessagePack extension that is no ref and no time

After `@`, a path that begins with ./, ../, / or ~ is a file with the value, all else a ref:

    put user/ada @./ada.json              the value that a file holds
    put user/ada @post/p1                 a ref

Results in JSON use the same forms, so that they can be written back as they are.
Keys with spaces, commas, brackets or quotes stand in quotes: `get "user/ada lovelace"`.
""",
    ),
    "logic": Topic(
        "facts, rules and queries",
        """\
Facts say how keys belong together; rules say what follows from them; queries ask.

    assert follows(bob, ada), follows(eve, bob)
    rule reaches(X, Y) :- follows(X, Y).
    rule reaches(X, Z) :- reaches(X, Y), follows(Y, Z).
    query reaches(eve, X)
    query reaches(eve, X) fetch X in user { team: via team }
    why reaches(eve, ada)

Names that begin with a capital are variables, all others are constants. Text with other characters stands in quotes.
""",
    ),
    "locks": Topic(
        "locks, and writes that only their holder may do",
        """\
A lock has a lease: it ends by itself if its holder dies. The shell renews the leases it holds and gives them
back when it ends; the line below the prompt shows how long each still runs.

    lock user/ada --wait 5s                  wait up to five seconds for it
    put user/ada {"name": "Ada"}             carries the token of the lock of the same name
    put stock/7 {"n": 1} --fence user/ada    carries the token of a lock of another name
    unlock user/ada

The store refuses a write whose token is not the last one granted: a holder that was too slow cannot overwrite.
""",
    ),
    "output": Topic(
        "trees, tables, JSON; pipes and files",
        """\
    get user/ada --format json            for one command: tree, table, json or raw
    set format json                       from now on
    scan user | jq .data.name             into a program
    scan user > users.jsonl               into a file; >> adds to it

People get trees and tables; programs and files get JSON, one document a line. `raw` is the bare data.
Long results go through the pager ($DAGBOX_PAGER or $PAGER; `set pager off`). What does not fit is marked, and said.
""",
    ),
    "scripts": Topic(
        "the shell without a terminal",
        """\
    dagbox shell data -c 'get user/ada' -c 'locks'
    dagbox shell data < commands.txt
    dagbox shell data -c 'source commands.txt'

The first command that fails ends it with exit status 1, unless --keep-going is given. 2 is wrong usage, 3 means that
nothing could be connected to, 130 that Ctrl-C ended it. Destructive commands need --yes. Data is on standard output,
everything else on standard error.
""",
    ),
    "keys": Topic(
        "keys of the keyboard",
        """\
    Tab, Shift-Tab    propose, and go through the proposals
    Right, Ctrl-E     take the suggestion from history
    Ctrl-R            search the history
    Enter             run the command; a new line while a bracket is open
    Alt-Enter         a new line in any case
    Ctrl-X Ctrl-E     write the command in $EDITOR
    Ctrl-C            empty the line; while a command runs: cancel it
    Ctrl-L            clear the screen
    Ctrl-Z            suspend the shell; fg goes on
    Ctrl-D            leave

`set editing vi` has the keys of vi.
""",
    ),
}
