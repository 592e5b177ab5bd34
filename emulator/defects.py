"""The defects of the real system, as data: where each is documented, in which builds it was, and what it changes.

A lock-order defect changes the order in which a path enters its sections. The others change one thing where the real
one had it: a path that returns early without leaving its sections, a decoder that goes round without moving on, a call
made inside a section, a counter of 16 bits, a pool with too few threads, a line end that is lost. Builds are numbers of
Store.exe (Msexcimc.exe where the article says so); (0, 0) to (0, 0) marks what only older versions had, what is a
matter of configuration, or what no article names a fix of: no build of 5.5 brings it along, `--defect` is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.ports import NoSuchMessage

SECTION_IMAIL = "imail"
SECTION_DIRECTORY = "directory"
SECTION_GATEWAY = "gateway"

NEVER = (0, 0)
RTM = (1960, 0)


@dataclass(frozen=True, slots=True)
class Poison:
    """A message that a path cannot stomach: which one, and what the conversion does with it (emulator.poison)."""

    path: str
    trigger: str
    """Name of a test in `emulator.poison.TRIGGERS`."""
    reaction: str
    """`rewind`: start again, and again; `recurse`: go deeper without end; `crash`: the process ends."""
    actor: str = ""
    """Only for actors of this kind."""


@dataclass(frozen=True, slots=True)
class Defect:
    """One defect of the real system: where it is documented, in which builds, and what it changes."""

    name: str
    kb: str
    title: str
    first: tuple[int, int]
    fixed: tuple[int, int]
    """Builds with first <= (major, minor) < fixed have the defect: the last two numbers of 5.5.major.minor."""
    orders: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Paths that enter their sections in another order."""
    leaks: tuple[tuple[str, type[Exception]], ...] = ()
    """(path, error): on this error the path returns without leaving its sections."""
    poisons: tuple[Poison, ...] = ()
    """Messages that the conversion cannot stomach."""
    held_over_calls: tuple[str, ...] = ()
    """Paths that still hold their sections while they call somebody else."""
    never_frees: tuple[str, ...] = ()
    """Kinds of resources that are taken and not given back (`logon`)."""
    counters_bits: tuple[tuple[str, int], ...] = ()
    """(counter, bits): a signed counter that is too small."""
    fatal: tuple[str, ...] = ()
    """Errors of one message that stop the whole Internet Mail Service."""
    pools: tuple[tuple[str, int], ...] = ()
    """(work, threads): work that shares so many threads (emulator.thread_pool)."""
    quirks: tuple[str, ...] = ()
    """What a front-end or the relay does in its own way (emulator.quirks)."""


DEFECTS: tuple[Defect, ...] = (
    Defect(
        "A",
        "Q274403",
        "the directory-notification thread and a conversion enter the two sections in opposite order",
        (2653, 7),
        (2653, 19),
        orders=(("notification", (SECTION_DIRECTORY, SECTION_IMAIL)),),
    ),
    Defect(
        "B",
        "Q279798",
        "inbound and outbound conversion enter the two sections in opposite order",
        RTM,  # the article lists 5.5 and all its service packs
        (2654, 29),
        orders=(("outbound", (SECTION_DIRECTORY, SECTION_IMAIL)),),
    ),
    Defect(
        "C",
        "Q295969",
        "a delivery report and a gateway's conversion enter their two sections in opposite order",
        RTM,  # the article lists SP4 alone; that it came with an older build is our reading, as for B
        (2654, 94),
        orders=(("report", (SECTION_GATEWAY, SECTION_IMAIL)),),
    ),
    Defect(
        "leaked-section",
        "Q259541",
        "a check that finds its message gone returns without leaving the critical sections",
        RTM,
        (2653, 0),
        leaks=(("outbound", NoSuchMessage),),
    ),
    Defect(
        "logon-leak",
        "Q216259",
        "each logon takes a critical section which the logoff does not give back",
        (2365, 0),
        (2448, 8),
        never_frees=("logon",),
    ),
    Defect(
        "silent-peer",
        "Q263064",
        "a call to another server is made inside the critical sections, so that its silence is everybody's",
        NEVER,
        NEVER,
        held_over_calls=("gateway",),
    ),
    Defect(
        "rewind-loop",
        "Q178344",
        "a badly formed multipart asks for a rewind (0x80040C11), and after the rewind for the next one",
        NEVER,
        NEVER,
        poisons=(Poison("inbound", "unterminated multipart", "rewind"),),
    ),
    Defect(
        "uudecode-overflow",
        "Q195971",
        "a uuencoded attachment without its end is decoded deeper and deeper until the stack is full; "
        "the thread dies inside its sections",
        RTM,
        (2446, 0),
        leaks=(("inbound", RecursionError),),
        poisons=(Poison("inbound", "uuencode without end", "recurse"),),
    ),
    Defect(
        "same-name-loop",
        "Q195970",
        "two attachments with the same name in a double-byte character set: the name never becomes unique",
        RTM,
        (2505, 0),
        poisons=(Poison("outbound", "same double-byte name", "rewind"),),
    ),
    Defect(
        "long-subject-loop",
        "Q197491",
        "a newsreader's article with a Subject beyond the buffer of 20 KB is read on and on",
        RTM,
        (2650, 0),
        poisons=(Poison("outbound", "subject beyond 20 KB", "rewind", actor="nntp"),),
    ),
    Defect(
        "binhex-loop",
        "Q155036",
        "a BinHex body part is converted in a loop",
        NEVER,
        NEVER,
        poisons=(Poison("inbound", "binhex", "rewind"),),
    ),
    Defect(
        "postscript-loop",
        "Q182827",
        "a PostScript attachment cannot be made quoted-printable, and is tried for ever",
        NEVER,
        NEVER,
        poisons=(Poison("inbound", "postscript", "rewind"), Poison("outbound", "postscript", "rewind")),
    ),
    Defect(
        "poison-spool",
        "Q193782",
        "a corrupt encapsulated address stops the Internet Mail Service, and again after each restart",
        RTM,
        (2417, 0),
        fatal=("corrupt encapsulated address",),
    ),
    Defect(
        "blank-charset",
        "Q278320",
        "an empty charset parameter ends the information store",
        RTM,
        (2653, 22),
        poisons=(Poison("inbound", "blank charset", "crash"),),
    ),
    Defect(
        "address-comment",
        "Q231748",
        "a comment with a comma in an address ends the information store",
        RTM,
        (2607, 0),
        poisons=(Poison("inbound", "comma in an address comment", "crash"),),
    ),
    Defect(
        "recipient-counter",
        "Q272672",
        "recipients are counted in 16 bits with a sign: beyond 32,766 nobody gets the message, which stays in In",
        RTM,
        (2654, 14),
        counters_bits=(("recipients", 16),),
    ),
    Defect(
        "rtf-loop",
        "Q192940",
        "a corrupt compressed RTF body is synchronised with the text body again and again",
        RTM,
        (2402, 0),
        poisons=(Poison("inbound", "corrupt compressed RTF", "rewind"),),
    ),
    Defect(
        "thread-pool",
        "Q169686",
        "five threads serve all clients of the store, and each stays with its client until the reply is taken",
        NEVER,
        NEVER,
        pools=(("store", 5),),
    ),
    Defect(
        "connector-threads",
        "Q282115",
        "each thread of a connector needs a second one for a transfer, from a pool of nine (four of them have eight)",
        NEVER,
        NEVER,
        pools=(("gateway", 9),),
    ),
    Defect(
        "append-line-end",
        "Q239082",
        "under TLS the line end that comes in one read with the end of an appended message is lost",
        RTM,
        (2650, 4),
        quirks=("literal takes the line end along",),
    ),
    Defect(
        "fetch-empty-field",
        "Q195171",
        "a space before the closing parenthesis of HEADER.FIELDS makes a field without a name, and ends the store",
        RTM,
        (2398, 0),
        quirks=("field names between single spaces",),
    ),
    Defect(
        "percent-message-id",
        "Q261135",
        "the reply to STAT, LAST and NEXT is used as a format string: a percent sign in a Message-ID ends the store",
        RTM,
        (2653, 0),
        quirks=("replies are format strings",),
    ),
    Defect(
        "unterminated-body",
        "Q146993",
        "the last line of a quoted-printable body is sent without its end: the peer waits for the end of the message",
        NEVER,
        NEVER,
        quirks=("quoted-printable without its last line end",),
    ),
)

BY_NAME: dict[str, Defect] = {defect.name: defect for defect in DEFECTS}
LOCK_ORDER: frozenset[str] = frozenset(defect.name for defect in DEFECTS if defect.orders)
"""The deadlock family: defects that only change the order of sections."""


def find_defect(text: str) -> Defect | None:
    """By name or KB number, in any case."""
    wanted = text.strip().lower()
    for defect in DEFECTS:
        if wanted in (defect.name.lower(), defect.kb.lower()):
            return defect
    return None
