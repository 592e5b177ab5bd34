"""ESEARCH over several mailboxes (MULTISEARCH, RFC 7377)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protocols.reply import Reply

from .context import Context, begin, check_tag
from .errors import Bad, No
from .listing import in_order, visible
from .names import SEPARATOR, quote
from .scanner import Scanner
from .search import Options, read_options, result_items, run, to_save
from .search_keys import KeyReader, charset_codec
from .states import AUTHENTICATED, COMMANDS
from .view import View

if TYPE_CHECKING:
    from .session import ImapSession

MAILBOXES_MAX = 5000

_BARE = frozenset({"SELECTED", "SELECTED-DELAYED", "INBOXES", "PERSONAL", "SUBSCRIBED"})
_NAMED = frozenset({"SUBTREE", "SUBTREE-ONE", "MAILBOXES"})

Filter = tuple[str, tuple[bytes, ...]]
"""What mailboxes are meant (RFC 5465 section 6, RFC 7377 section 2.2): a word, and names where it takes some."""


def read_filter(scanner: Scanner) -> Filter:
    """`personal`, `subtree (a b)` and the like. Raises Bad."""
    word = scanner.word().decode("ascii")
    if word in _BARE:
        return word, ()
    if word not in _NAMED:
        raise Bad("unknown mailbox filter")
    scanner.space()
    names = []
    if scanner.try_take(b"("):
        while True:
            names.append(scanner.astring())
            if scanner.try_take(b")"):
                break
            scanner.space()
    else:
        names.append(scanner.astring())
    return word, tuple(names)


def matches(session: ImapSession, filter_: Filter, name: str, folder: Any) -> bool:
    """Whether the filter means the mailbox. SELECTED is decided by the caller."""
    word, octets = filter_
    if word == "INBOXES":
        return name == "INBOX"
    if word == "PERSONAL":
        return folder is not None and folder.owner is session.mailbox
    if word == "SUBSCRIBED":
        return name in session.mailbox.subscriptions
    names = [session.name_text(one) for one in octets]
    if word == "MAILBOXES":
        return name in names
    for top in names:
        below = name.removeprefix(top + SEPARATOR)
        if name == top or (below != name and (word == "SUBTREE" or SEPARATOR not in below)):
            return True
    return False


@dataclass(slots=True)
class MultiSearch:
    """The arguments of ESEARCH."""

    filters: tuple[Filter, ...]
    options: Options
    charset: bytes | None
    scanner: Scanner


def esearch_syntax(scanner: Scanner) -> MultiSearch:
    """`[IN (filters)] [RETURN (…)] [CHARSET x] keys`."""
    scanner.space()
    filters: list[Filter] = []
    if scanner.try_word(b"IN"):
        scanner.space()
        scanner.take(b"(")
        while True:
            filters.append(read_filter(scanner))
            if scanner.try_take(b")"):
                break
            scanner.space()
        scanner.space()
    options = read_options(scanner)
    if not options.extended:
        options.extended = True
        options.wanted.add("ALL")
    charset = None
    if scanner.try_word(b"CHARSET"):
        scanner.space()
        charset = scanner.astring()
        scanner.space()
    return MultiSearch(tuple(filters) or (("SELECTED", ()),), options, charset, scanner)


@COMMANDS.command("ESEARCH", states=AUTHENTICATED, syntax=esearch_syntax, capability="MULTISEARCH")
async def esearch(session: ImapSession, search: MultiSearch) -> Reply:
    """RFC 7377 section 2.1: one ESEARCH response for each mailbox with a result, none without; numbers are UIDs."""
    options = search.options
    only_selected = all(word == "SELECTED" for word, _ in search.filters)
    if options.save and not only_selected:
        raise Bad("SAVE is for the selected mailbox alone")
    folders = _folders(session, search)
    own = session.view.folder if session.view is not None else None
    if options.update:
        if session.view is None or any(folder is not own for _, folder in folders):
            raise Bad("UPDATE is for the selected mailbox")
        check_tag(session, session.view)
    codec = charset_codec(search.charset) if search.charset is not None else "utf-8"
    start = search.scanner.mark()
    for name, folder in folders:
        search.scanner.reset(start)
        if session.view is not None and folder is own:
            await _search_one(session, session.view, name, search, codec, saved=only_selected)
            continue
        view = View(session, folder, read_only=True)
        try:
            await _search_one(session, view, name, search, codec, saved=False)
        finally:
            view.close()
    return session.ok(session.verb + b" completed")


# the examples of RFC 7377 have this spelling once; the answer has UIDs in any case
COMMANDS.command("UID ESEARCH", states=AUTHENTICATED, syntax=esearch_syntax, capability="MULTISEARCH")(esearch)


async def _search_one(
    session: ImapSession, view: View, name: str, search: MultiSearch, codec: str, *, saved: bool
) -> None:
    options = search.options
    now = session.services.clock.time()
    program = KeyReader(search.scanner, view, now, codec, saved=saved, pinned=options.update).program()
    found = await run(session, view, program)
    place = b" MAILBOX %b UIDVALIDITY %d" % (session.name_octets(name), view.folder.uid_validity)
    if options.save:
        view.saved = to_save(found, options)
    if options.update:
        begin(session, view, Context(session.tag, program, found.uids(), by_uid=True, place=place, plan=options.plan))
    if found and (options.wanted or options.update or options.partial is not None):
        items = result_items(found, options, by_uid=True, with_modseq=program.uses_modseq)
        line = b"* ESEARCH (TAG %b%b) UID" % (quote(session.tag), place)
        session.send(b" ".join([line, *items]) + b"\r\n")
        await session.flush_when_large()


def _folders(session: ImapSession, search: MultiSearch) -> list[tuple[str, Any]]:
    """The mailboxes to search, each once. Raises No, Bad."""
    chosen: dict[str, Any] = {}
    view = session.view
    names: dict[str, Any] = {}
    for filter_ in search.filters:
        word = filter_[0]
        if word == "SELECTED-DELAYED":
            raise Bad("that filter is for NOTIFY")
        if word == "SELECTED":
            if view is None:
                raise Bad("no mailbox is selected")
            chosen[session.folder_name(view.folder)] = view.folder
            continue
        names = names or visible(session)
        for name in in_order(names):
            folder = names[name]
            if folder is None or not folder.selectable or not matches(session, filter_, name, folder):
                continue
            if "r" in session.rights(folder):
                chosen[name] = folder
    if len(chosen) > MAILBOXES_MAX:
        raise No(f"no more than {MAILBOXES_MAX} mailboxes are searched at once", code=b"LIMIT")
    return list(chosen.items())
