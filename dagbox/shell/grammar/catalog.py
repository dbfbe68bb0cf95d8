"""The rows of the command table. A new command is a row here and a function in `handlers/`."""

from __future__ import annotations

from dagbox.shell.grammar.command_spec import Catalog, CommandSpec, Kind, Option, Param

_IF_VERSION = Option("if-version", "only if the record is at this version (0: does not exist)", Kind.NUMBER, "N")
_PLAIN = Option("plain", "after `use`: the names as they are, not keys of the bucket")
_FENCE = Option("fence", "carry the token of this held lock", Kind.LOCK, "KEY")
_TIMEOUT = Option("timeout", "give up after this long, such as 500ms, 10s, 2m", Kind.DURATION, "TIME")
_REFS = Param("refs", Kind.REF, "BUCKET/KEY", many=True)

RECORDS = (
    CommandSpec(
        "get",
        "Records",
        "show records, with the records they lead to",
        "records:get",
        (_REFS, Param("relations", Kind.RELATIONS, "{ RELATIONS }", optional=True)),
        details=(
            "In braces stand relations, each with a name: keys (`posts: post/p1, post/p2`), a path into the data "
            "that leads to a "
            "ref or a list of refs (`team: via team`), or a query (`fans: where follows(X, $key) in user`). `$key` "
            "is the key of the "
            "record above. Relations may have `limit N`, and relations of their own in braces, to any depth. The "
            "command ends "
            "with the closing brace. The JSON of the wire form is accepted as well: `help relations`."
        ),
        examples=(
            ("get user/ada", "one record"),
            ("get user/ada user/bob --format table", "two records as a table"),
            (
                "get user/ada { team: via team  posts: post/p1, post/p2 { author: via author } }",
                "a record and its relations",
            ),
            (
                "get user/ada { fans: where follows(X, $key) in user limit 10 } | jq .relations.fans",
                "into another program",
            ),
        ),
    ),
    CommandSpec(
        "put",
        "Records",
        "write a record",
        "records:put",
        (Param("target", Kind.TARGET, "BUCKET/[KEY]"), Param("value", Kind.VALUE, "JSON|@./FILE", optional=True)),
        (
            Option("new", "only if there is no such record yet"),
            _IF_VERSION,
            Option("ttl", "how long the record lives, such as 30s, 10m, 2h, 7d", Kind.DURATION, "TIME"),
            _FENCE,
        ),
        details=(
            "`BUCKET/` without a key creates a key. The value is JSON, which may go over several lines, or `@./FILE`, "
            "a file that holds JSON; its path begins with `./`, `../`, `/` or `~`. "
            'Without a value the editor opens, as with `edit`. A ref is written `@post/p1` or `{"$ref": "post/p1"}`. A '
            "record that carries the same name as a lock you hold is written with the token of that lock."
        ),
        examples=(
            ('put user/ada {"name": "Ada", "team": @team/core}', "write, with a ref to team/core"),
            ('put note/ {"text": "hello"} --ttl 10m', "a new key, gone after ten minutes"),
            ("put user/ada @./ada.json --if-version 12", "from a file, if nobody else has written"),
        ),
        writes=True,
        batches=True,
    ),
    CommandSpec(
        "edit",
        "Records",
        "edit a record in $EDITOR and write it back if nobody else has",
        "edit:edit",
        (Param("target", Kind.TARGET, "BUCKET/KEY"),),
        (_FENCE,),
        details=(
            "Opens $VISUAL or $EDITOR. If somebody else wrote meanwhile, nothing is overwritten: your text is kept "
            "and you choose."
        ),
        examples=(("edit user/ada", "open the record in the editor"),),
        writes=True,
    ),
    CommandSpec(
        "del",
        "Records",
        "delete records",
        "records:delete",
        (_REFS,),
        (_IF_VERSION, _FENCE),
        examples=(
            ("del user/ada", "delete one record, after asking"),
            ("del user/a user/b --yes", "two, without asking"),
        ),
        aliases=("delete", "rm"),
        writes=True,
        danger="records:danger_of_delete",
        batches=True,
    ),
    CommandSpec(
        "del-prefix",
        "Records",
        "delete all records of a bucket whose keys begin with a prefix",
        "records:delete_prefix",
        (Param("prefix", Kind.PREFIX, "BUCKET[/PREFIX]"),),
        details=(
            "Says how many there are and asks. Records are deleted a thousand at a time, each thousand together; "
            "Ctrl-C stops between them. Without a prefix: all records of the bucket."
        ),
        examples=(("del-prefix session/2024-", "after asking"), ("del-prefix session --yes", "the whole bucket")),
        writes=True,
        danger="records:danger_of_delete_prefix",
    ),
    CommandSpec(
        "scan",
        "Records",
        "show the records of a bucket in the order of their keys",
        "records:scan",
        (Param("prefix", Kind.PREFIX, "BUCKET[/PREFIX]"),),
        (
            Option("limit", "at most so many; the result says if there are more", Kind.COUNT, "N"),
            Option("start", "begin with this key", Kind.TEXT, "KEY"),
            Option("stop", "end before this key", Kind.TEXT, "KEY"),
            Option("reverse", "from the last key to the first"),
            Option("fields", "these fields as columns, such as name,team", Kind.FIELDS, "A,B"),
        ),
        details="Records stream: a bucket of any size can be scanned. Ctrl-C stops.",
        examples=(
            ("scan user", "all records of the bucket"),
            ("scan user/a --limit 20", "the first 20 whose key begins with a"),
            ("scan user --fields name,team > users.jsonl", "into a file, one JSON document a line"),
        ),
    ),
    CommandSpec(
        "ls",
        "Records",
        "list buckets, or the keys of a bucket",
        "records:list_keys",
        (Param("prefix", Kind.PREFIX, "BUCKET[/PREFIX]", optional=True),),
        (Option("limit", "at most so many; the result says if there are more", Kind.COUNT, "N"),),
        examples=(("ls", "the buckets"), ("ls user/a", "the keys of user that begin with a")),
    ),
    CommandSpec("buckets", "Records", "list buckets with their number of records", "records:buckets"),
    CommandSpec(
        "peek",
        "Records",
        "show what a record is: size, version, type, fields, refs",
        "records:peek",
        (Param("ref", Kind.REF, "BUCKET/KEY"),),
        examples=(("peek user/ada", "without printing its data"),),
    ),
)

BATCHES = (
    CommandSpec(
        "batch",
        "Batches",
        "begin to collect writes, or show what is collected",
        "batches:batch",
        details=(
            "Until `commit`, the commands put, del, assert, retract, rule and drop-rule are collected and not done. "
            "`commit` does all of them "
            "together or none. `abort` forgets them. Reads show what is stored, not what is collected."
        ),
        examples=(("batch", "open a batch; the toolbar shows how much it holds"),),
        writes=True,
    ),
    CommandSpec(
        "commit",
        "Batches",
        "do what the batch collected, all or nothing",
        "batches:commit",
        writes=True,
        danger="batches:danger_of_commit",
    ),
    CommandSpec("abort", "Batches", "forget what the batch collected", "batches:abort"),
)

LOCKS = (
    CommandSpec(
        "lock",
        "Locks",
        "take a lock and keep it while the shell lives",
        "locks:lock",
        (Param("keys", Kind.LOCK, "KEY", many=True),),
        (
            Option("ttl", "time to live of the lease (10s)", Kind.DURATION, "TIME"),
            Option("wait", "how long to wait for it (0: not at all)", Kind.DURATION, "TIME"),
            Option("shared", "together with other shared holders"),
            _PLAIN,
        ),
        writes=True,
        details=(
            "Several keys are had all or none. After `use user`, `lock ada` locks the record user/ada; with --plain a "
            "lock that is called ada. The lease is renewed by itself until `unlock` or the end of the "
            "shell. Writes to "
            "a record of the same name, and writes with `--fence KEY`, carry the token: the store refuses them if "
            "somebody else took the lock since."
        ),
        examples=(("lock user/ada --wait 5s", "wait up to five seconds"), ("lock a b", "two keys, all or none")),
    ),
    CommandSpec(
        "unlock",
        "Locks",
        "give back locks that the shell holds",
        "locks:unlock",
        (Param("keys", Kind.LOCK, "KEY", optional=True, many=True),),
        (Option("force", "take it away from whoever holds it"), _PLAIN),
        details="Without a key: all that the shell holds.",
        examples=(("unlock user/ada", "give it back"), ("unlock user/ada --force", "an operator's last resort")),
        danger="locks:danger_of_unlock",
    ),
    CommandSpec(
        "locks",
        "Locks",
        "list who holds which lock, and for how long",
        "locks:list_locks",
        (Param("prefix", Kind.LOCK, "PREFIX", optional=True),),
    ),
    CommandSpec(
        "renew",
        "Locks",
        "renew held locks now",
        "locks:renew",
        (Param("keys", Kind.LOCK, "KEY", optional=True, many=True),),
        (_PLAIN,),
        details="Locks are renewed by themselves; this shows that they are still held. Without a key: all.",
    ),
)

LOGIC = (
    CommandSpec(
        "assert",
        "Logic",
        "add facts",
        "logic:assert_facts",
        (Param("facts", Kind.FACTS, "FACT, ..."),),
        examples=(("assert follows(bob, ada), follows(eve, ada)", "two facts at once"),),
        writes=True,
        batches=True,
    ),
    CommandSpec(
        "retract",
        "Logic",
        "remove facts",
        "logic:retract_facts",
        (Param("facts", Kind.FACTS, "FACT, ..."),),
        examples=(("retract follows(bob, ada)", "one fact"),),
        writes=True,
        batches=True,
    ),
    CommandSpec(
        "facts",
        "Logic",
        "list the facts of a predicate, or all",
        "logic:list_facts",
        (Param("predicate", Kind.PREDICATE, "PREDICATE", optional=True),),
        (Option("limit", "at most so many; the result says if there are more", Kind.COUNT, "N"),),
        examples=(("facts follows", "all facts of follows"),),
    ),
    CommandSpec(
        "rule",
        "Logic",
        "add a rule or declaration",
        "logic:add_rule",
        (Param("text", Kind.RULE, "HEAD :- BODY."),),
        details=(
            "The whole program is checked first: syntax, safety, negation, arity. A rule may go over several lines."
        ),
        examples=(
            ("rule needs(X, Y) :- depends(X, Y).", "one rule"),
            ("rule needs(X, Z) :- needs(X, Y), depends(Y, Z).", "recursive"),
        ),
        writes=True,
        batches=True,
    ),
    CommandSpec("rules", "Logic", "list the rules with their ids", "logic:list_rules"),
    CommandSpec(
        "drop-rule",
        "Logic",
        "remove a rule",
        "logic:drop_rule",
        (Param("rule_id", Kind.RULE_ID, "ID"),),
        writes=True,
        danger="logic:danger_of_drop",
        batches=True,
    ),
    CommandSpec(
        "query",
        "Logic",
        "ask which values make a query true",
        "logic:query",
        (Param("query", Kind.QUERY, "QUERY [fetch X in BUCKET { RELATIONS }]"),),
        (
            Option("limit", "at most so many rows; the result says if there are more", Kind.COUNT, "N"),
            Option(
                "order",
                "sort by these variables, such as N,X; -N is from high to low; any: as they are found, which ends the "
                "query at the limit",
                Kind.TEXT,
                "VARIABLES",
            ),
            _TIMEOUT,
        ),
        details=(
            "`fetch X in BUCKET` puts the records of the keys in the place of the keys, with relations if there are "
            "any in braces. "
            "A full stop ends the query where `> FILE` could be taken for a comparison."
        ),
        examples=(
            ("query needs(a, X)", "one column, X"),
            ("query needs(a, X), not broken(X) --limit 10", "conditions joined by commas"),
            ("query needs(a, X) fetch X in package { author: via author }", "with the records"),
        ),
    ),
    CommandSpec(
        "why",
        "Logic",
        "show the proof of an answer",
        "logic:why",
        (Param("goal", Kind.GOAL, "FACT"),),
        examples=(("why needs(a, c)", "the rules and facts it follows from"),),
    ),
    CommandSpec("queries", "Logic", "list the queries that run now", "logic:queries"),
    CommandSpec(
        "stop",
        "Logic",
        "end a query that runs",
        "logic:stop_query",
        (Param("query_id", Kind.QUERY_ID, "ID"),),
    ),
    CommandSpec(
        "explain",
        "Logic",
        "show how a query would be done",
        "logic:explain",
        (Param("goal", Kind.GOAL, "QUERY"),),
        examples=(("explain needs(a, X)", "strata, order of joins, sizes"),),
    ),
)

NODE = (
    CommandSpec("status", "Node", "show the node: broker, services, workers, store, locks", "node:status"),
    CommandSpec("services", "Node", "list services with their queues and times", "node:services"),
    CommandSpec("workers", "Node", "list workers with their state and load", "node:workers"),
    CommandSpec(
        "traces",
        "Node",
        "list recent requests",
        "node:traces",
        (),
        (
            Option("slowest", "the slowest ones that are kept"),
            Option("service", "only of this service", Kind.SERVICE, "NAME"),
            Option("parent", "only what the handler of this request asked for", Kind.TRACE, "ID"),
            Option("limit", "at most so many (20)", Kind.COUNT, "N"),
        ),
    ),
    CommandSpec(
        "trace", "Node", "show the timeline of one request", "node:trace", (Param("trace_id", Kind.TRACE, "ID"),)
    ),
    CommandSpec(
        "events",
        "Node",
        "list what happened: joined, late, dead, refused, slow",
        "node:events",
        (),
        (Option("limit", "at most so many (20)", Kind.COUNT, "N"),),
    ),
    CommandSpec(
        "call",
        "Node",
        "send a request to any service",
        "node:call",
        (Param("service", Kind.SERVICE), Param("payload", Kind.VALUE, "JSON|@./FILE", optional=True)),
        (_TIMEOUT,),
        examples=(('call thumbnail {"key": "p1"} --timeout 5s', "a worker of your own"),),
        writes=True,
    ),
    CommandSpec(
        "pause",
        "Node",
        "have the requests of a service wait",
        "node:pause",
        (Param("service", Kind.SERVICE),),
        writes=True,
        danger="node:danger_of_pause",
    ),
    CommandSpec(
        "resume", "Node", "let a paused service go on", "node:resume", (Param("service", Kind.SERVICE),), writes=True
    ),
    CommandSpec(
        "drain",
        "Node",
        "have a worker finish what it holds and leave",
        "node:drain",
        (Param("worker", Kind.WORKER),),
        writes=True,
        danger="node:danger_of_drain",
    ),
    CommandSpec(
        "restart",
        "Node",
        "start the process of a worker anew",
        "node:restart",
        (Param("worker", Kind.WORKER),),
        writes=True,
        danger="node:danger_of_restart",
    ),
    CommandSpec(
        "add",
        "Node",
        "start one more reader, or a worker that was drained",
        "node:add",
        (Param("worker", Kind.WORKER),),
        examples=(("add reader", "one more reader"), ("add writer", "after it was drained")),
        writes=True,
    ),
    CommandSpec(
        "dead-letters", "Node", "list requests that were given up since their workers died", "node:dead_letters"
    ),
    CommandSpec(
        "retry", "Node", "try a dead letter again", "node:retry", (Param("number", Kind.NUMBER, "N"),), writes=True
    ),
    CommandSpec(
        "drop",
        "Node",
        "throw a dead letter away, or all of them",
        "node:drop",
        (Param("number", Kind.NUMBER, "N", optional=True),),
        writes=True,
        danger="node:danger_of_drop",
    ),
    CommandSpec(
        "backup",
        "Node",
        "write a copy of the store while work goes on",
        "transfer:backup",
        (Param("path", Kind.FILE, "DIRECTORY"),),
    ),
    CommandSpec(
        "connect",
        "Node",
        "go to another node or directory",
        "session:connect",
        (Param("target", Kind.FILE, "DIR|URL", optional=True),),
        details="Gives back held locks and forgets an open batch, after asking. Without a target: connect again.",
        danger="session:danger_of_connect",
    ),
)

TRANSFER = (
    CommandSpec(
        "export",
        "Files",
        "write records, facts and rules to a file, one JSON document a line",
        "transfer:export",
        (Param("path", Kind.FILE, "FILE"), Param("buckets", Kind.BUCKET, "BUCKET", optional=True, many=True)),
        details=(
            "The same lines as `dagbox export` and `dagbox import`. Facts and rules go along if no bucket is named."
        ),
        examples=(("export all.jsonl", "everything"), ("export users.jsonl user team", "two buckets")),
    ),
    CommandSpec(
        "import",
        "Files",
        "read the records, facts and rules that `export` wrote",
        "transfer:import_file",
        (Param("path", Kind.FILE, "FILE"),),
        writes=True,
        danger="transfer:danger_of_import",
    ),
    CommandSpec(
        "source",
        "Files",
        "run the commands of a file",
        "session:source",
        (Param("path", Kind.FILE, "FILE"),),
        details=(
            "Lines that begin with # are comments. The first command that fails ends it, unless --keep-going was given."
        ),
        paged=False,
    ),
)

SHELL = (
    CommandSpec(
        "watch",
        "Shell",
        "run a command again and again until Ctrl-C",
        "session:watch",
        (Param("command", Kind.COMMAND, "COMMAND"),),
        (
            Option("every", "how often (2s)", Kind.DURATION, "TIME"),
            Option("count", "so many times, then stop", Kind.COUNT, "N"),
        ),
        examples=(("watch locks", "every two seconds"), ("watch --every 500ms workers", "faster")),
        paged=False,
    ),
    CommandSpec(
        "time",
        "Shell",
        "run a command and say how long it took",
        "session:time_command",
        (Param("command", Kind.COMMAND, "COMMAND"),),
        (Option("repeat", "so many times; shows the spread", Kind.COUNT, "N"),),
        examples=(("time --repeat 100 get user/ada", "least, median, most"),),
    ),
    CommandSpec(
        "set",
        "Shell",
        "show or change a setting",
        "session:set_setting",
        (Param("name", Kind.SETTING, optional=True), Param("value", Kind.SETTING_VALUE, optional=True)),
        examples=(("set", "all settings"), ("set format json", "results as JSON from now on")),
    ),
    CommandSpec(
        "use",
        "Shell",
        "take keys without a bucket from this bucket",
        "session:use",
        (Param("bucket", Kind.BUCKET, optional=True),),
        details=(
            "After `use user`, `get ada` is `get user/ada`, `lock ada` locks user/ada, `ls a` lists its keys "
            "that begin with a; another bucket is `ls team/`. A key that holds a slash begins with one: `get /a/b`. "
            "Without a bucket: no longer."
        ),
    ),
    CommandSpec(
        "help",
        "Shell",
        "show the commands, one command, or a topic",
        "help:show_help",
        (Param("topic", Kind.TOPIC, "COMMAND|TOPIC", optional=True),),
        aliases=("?",),
    ),
    CommandSpec(
        "history",
        "Shell",
        "show the commands typed before",
        "session:history",
        (Param("text", Kind.TEXT, optional=True),),
        (Option("limit", "at most so many (50)", Kind.COUNT, "N"),),
    ),
    CommandSpec("clear", "Shell", "clear the screen", "session:clear", paged=False),
    CommandSpec("exit", "Shell", "leave the shell", "session:leave", aliases=("quit",), paged=False),
)

CATALOG = Catalog((*RECORDS, *BATCHES, *LOCKS, *LOGIC, *NODE, *TRANSFER, *SHELL))
